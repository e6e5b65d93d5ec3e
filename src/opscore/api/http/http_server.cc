#include "opscore/api/http/http_server.h"

#include <malloc.h>
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <ctime>
#include <thread>
#include <unordered_map>

#include "opscore/api/http/connection.h"
#include "opscore/base/mutex.h"
#include "opscore/base/thread.h"

namespace opscore {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Tcp = asio::ip::tcp;

constexpr Duration kSweepEvery = std::chrono::seconds(1);
constexpr size_t kSweepAtOnce = 128;
constexpr size_t kFlood = 1000;                                    // connections
constexpr Duration kAcceptAgain = std::chrono::milliseconds(100);  // no descriptors left
constexpr std::string_view kFull =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n"
    "Connection: close\r\n\r\n";

// IMF-fixdate, RFC 9110 section 5.6.7.
std::string http_date() {
  std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[40];
  size_t length = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return std::string(text, length);
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(HttpHandler& handler, Log& log, Refusals& refusals, HttpServerOptions options)
      : edge_{.handler = handler,
              .log = log,
              .refusals = refusals,
              .options = std::move(options),
              .date = http_date(),
              .idle = {}},
        acceptor_(io_),
        sweep_timer_(io_),
        accept_timer_(io_),
        work_(asio::make_work_guard(io_)) {
    edge_.options.listen_fd >= 0 ? take_over(edge_.options.listen_fd) : listen();
    acceptor_.non_blocking(true);
    port_ = acceptor_.local_endpoint().port();
  }

  void start() {
    if (stopped_ || started_.exchange(true)) return;
    asio::co_spawn(io_, accept_loop(), asio::detached);
    asio::co_spawn(io_, sweep_loop(), asio::detached);
    thread_ = std::thread([this] {
      name_thread("edge");
      io_.run();
    });
  }

  void stop_accepting() {
    asio::post(io_, [this] {
      error_code ignored;
      edge_.draining = true;
      acceptor_.close(ignored);
      accept_timer_.cancel();
      for (auto& [id, connection] : connections_) connection->close_if_idle();
    });
  }

  bool wait_idle(Deadline deadline) {
    MutexLock lock(mutex_);
    auto empty = [this]() OPSCORE_REQUIRES(mutex_) { return open_ == 0; };
    if (deadline.when() == SteadyPoint::max()) return all_closed_.wait(lock, empty), true;
    return all_closed_.wait_until(lock, deadline.when(), empty);
  }

  void stop() {
    if (stopped_.exchange(true)) return;
    stop_accepting();
    asio::post(io_, [this] {
      ending_ = true;
      sweep_timer_.cancel();
      std::vector<std::shared_ptr<Connection>> open;
      open.reserve(connections_.size());
      for (auto& [id, connection] : connections_) open.push_back(connection);
      for (auto& connection : open) connection->cut();
      work_.reset();
    });
    if (thread_.joinable())
      thread_.join();
    else
      io_.run();  // never started: nothing but the above is left to do
  }

  uint16_t port() const { return port_; }

  void reply(std::vector<Answer> answers) {
    auto tell = [](Connection& connection, Answer& answer) {
      connection.answer(std::move(answer.response));
    };
    asio::post(io_, [this, tell, answers = std::move(answers)]() mutable {
      for (auto& answer : answers)
        if (auto connection = find(answer.to)) tell(*connection, answer);
    });
  }

  void open_stream(ExchangeId id, std::string content_type) {
    asio::post(io_, [this, id, type = std::move(content_type)]() mutable {
      auto connection = find(id);
      connection ? connection->open_stream(std::move(type)) : edge_.handler.gone(id);
    });
  }

  void push(ExchangeId id, std::string bytes, bool last) {
    asio::post(io_, [this, id, last, bytes = std::move(bytes)] {
      auto connection = find(id);
      connection ? connection->push(bytes, last) : edge_.handler.gone(id);
    });
  }

 private:
  void listen() {
    const auto& options = edge_.options;
    std::string place = fmt::format("listen on {}:{}", options.address, options.port);
    error_code code;
    Tcp::resolver resolver(io_);
    auto found = resolver.resolve(options.address, std::to_string(options.port),
                                  Tcp::resolver::passive, code);
    if (code || found.empty())
      throw Error(Errc::unavailable, fmt::format("{}: no such address: {}", place, code.message()));
    Tcp::endpoint endpoint = found.begin()->endpoint();
    acceptor_.open(endpoint.protocol(), code);
    if (!code) acceptor_.set_option(Tcp::acceptor::reuse_address(true), code);
    if (!code) acceptor_.bind(endpoint, code);
    if (!code) acceptor_.listen(asio::socket_base::max_listen_connections, code);
    if (code)
      throw Error(Errc::unavailable,
                  fmt::format("{}: {}; is another server running there?", place, code.message()));
  }

  void take_over(int fd) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    error_code code;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0)
      code.assign(errno, boost::system::system_category());
    else
      acceptor_.assign(address.ss_family == AF_INET6 ? Tcp::v6() : Tcp::v4(), fd, code);
    if (code)
      throw Error(Errc::unavailable,
                  fmt::format("take over listening socket {}: {}", fd, code.message()));
  }

  std::shared_ptr<Connection> find(ExchangeId id) {
    auto found = connections_.find(id);
    return found == connections_.end() ? nullptr : found->second;
  }

  asio::awaitable<void> accept_loop() {
    while (acceptor_.is_open()) {
      error_code code;
      auto token = asio::redirect_error(asio::use_awaitable, code);
      Tcp::socket socket = co_await acceptor_.async_accept(token);
      if (!acceptor_.is_open()) break;
      if (code) {
        edge_.refusals.note(Refusal::connection_limit, "accept: " + code.message());
        if (close_oldest_idle()) continue;
        accept_timer_.expires_after(kAcceptAgain);
        co_await accept_timer_.async_wait(token);
      } else if (connections_.size() < edge_.options.connections_max || close_oldest_idle()) {
        adopt(std::move(socket));
      } else {
        turn_away(socket);
      }
    }
  }

  // Who has been quiet for longest makes room for who wants something now.
  bool close_oldest_idle() {
    if (edge_.idle.empty()) return false;
    edge_.refusals.note(Refusal::connection_limit, "closed the connection that was idle longest");
    edge_.idle.front()->make_room();
    return true;
  }

  void turn_away(Tcp::socket& socket) {
    edge_.refusals.note(Refusal::connection_limit,
                        fmt::format("{} connections are open, and none of them is idle",
                                    edge_.options.connections_max));
    // What the client has sent already has to be read, or closing would take the answer back.
    char unread[4096];
    (void)::recv(socket.native_handle(), unread, sizeof unread, MSG_DONTWAIT);
    (void)::send(socket.native_handle(), kFull.data(), kFull.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)::shutdown(socket.native_handle(), SHUT_WR);
  }

  void adopt(Tcp::socket socket) {
    error_code ignored;
    socket.set_option(Tcp::no_delay(true), ignored);
    ExchangeId id{++last_id_};
    auto connection = std::make_shared<Connection>(edge_, std::move(socket), id);
    connections_.emplace(id, connection);
    count(+1);
    auto closed = [this, id, connection](std::exception_ptr) {
      connections_.erase(id);
      count(-1);
    };
    asio::co_spawn(io_, connection->run(), closed);
  }

  void count(int change) {
    MutexLock lock(mutex_);
    open_ += change;
    if (open_ == 0) all_closed_.notify_all();
  }

  asio::awaitable<void> sweep_loop() {
    const auto& options = edge_.options;
    Duration shortest =
        std::min({options.header_timeout, options.body_timeout, options.write_timeout,
                  options.idle_timeout, options.linger_timeout});
    Duration every = std::clamp(shortest / 4, Duration(10), kSweepEvery);
    std::vector<std::shared_ptr<Connection>> open;
    while (!ending_) {
      error_code code;
      auto token = asio::redirect_error(asio::use_awaitable, code);
      sweep_timer_.expires_after(every);
      co_await sweep_timer_.async_wait(token);
      edge_.date = http_date();
      options.on_progress();
      SteadyPoint now = std::chrono::steady_clock::now();
      open.clear();
      for (auto& [id, connection] : connections_) open.push_back(connection);
      for (size_t i = 0; i < open.size(); ++i) {
        open[i]->sweep(now);
        // Thousands of them at once would hold up everybody else's requests.
        if (i % kSweepAtOnce == kSweepAtOnce - 1) co_await asio::post(io_, asio::use_awaitable);
      }
      open.clear();
      give_back_memory();
    }
  }

  // What a flood took would otherwise stay with the allocator for good.
  void give_back_memory() {
    connections_peak_ = std::max(connections_peak_, connections_.size());
    bool flood_is_over = connections_peak_ > kFlood && connections_.size() < connections_peak_ / 4;
    bool bodies_are_gone = edge_.had_large_bodies && *edge_.bodies_bytes == 0;
    if (!flood_is_over && !bodies_are_gone) return;
    connections_peak_ = connections_.size();
    edge_.had_large_bodies = false;
    ::malloc_trim(0);
  }

  asio::io_context io_{1};
  Edge edge_;
  Tcp::acceptor acceptor_;
  asio::steady_timer sweep_timer_;
  asio::steady_timer accept_timer_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  uint16_t port_ = 0;
  std::atomic<bool> started_{false};
  std::atomic<bool> stopped_{false};
  std::thread thread_;

  // Of the edge thread.
  std::unordered_map<ExchangeId, std::shared_ptr<Connection>> connections_;
  uint64_t last_id_ = 0;
  size_t connections_peak_ = 0;
  bool ending_ = false;

  Mutex mutex_;
  ConditionVariable all_closed_;
  int64_t open_ OPSCORE_GUARDED_BY(mutex_) = 0;
};

HttpServer::HttpServer(HttpHandler& handler, Log& log, Refusals& refusals,
                       HttpServerOptions options)
    : impl_(std::make_unique<Impl>(handler, log, refusals, std::move(options))) {}
HttpServer::~HttpServer() {
  stop();
}
void HttpServer::start() {
  impl_->start();
}
void HttpServer::stop_accepting() {
  impl_->stop_accepting();
}
bool HttpServer::wait_idle(Deadline deadline) {
  return impl_->wait_idle(deadline);
}
void HttpServer::stop() {
  impl_->stop();
}
uint16_t HttpServer::port() const {
  return impl_->port();
}
void HttpServer::reply(std::vector<Answer> answers) {
  impl_->reply(std::move(answers));
}
void HttpServer::open_stream(ExchangeId id, std::string content_type) {
  impl_->open_stream(id, std::move(content_type));
}
void HttpServer::push(ExchangeId id, std::string bytes, bool last) {
  impl_->push(id, std::move(bytes), last);
}

}  // namespace opscore
