#include "opscore/app/bench/load_client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <system_error>

#include "opscore/base/error.h"

namespace opscore::bench {
namespace {

using Time = std::chrono::steady_clock::time_point;

struct Connection {
  int fd = -1;
  std::string out, in;
  size_t sent = 0;
  Time began;
};

Error broken(const char* what) {
  return Error(Errc::unavailable,
               fmt::format("load: {}: {}", what, std::generic_category().message(errno)));
}

int connect_to(const std::string& host, int port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  ::inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  int yes = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (fd < 0 || ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    throw broken("connect");
  return fd;
}

// The length of the whole answer once its head is there; 0 before.
size_t answer_size(const std::string& in) {
  size_t head = in.find("\r\n\r\n");
  if (head == std::string::npos) return 0;
  size_t at = in.find("Content-Length: ");
  if (at == std::string::npos || at > head) at = in.find("content-length: ");
  size_t body = at < head ? std::strtoull(in.c_str() + at + 16, nullptr, 10) : 0;
  return head + 4 + body;
}

class Generator {
 public:
  explicit Generator(const Load& load) : load_(load), connections_(load.connections) {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < connections_.size(); ++i) {
      connections_[i].fd = connect_to(load.host, load.port);
      epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
      ::epoll_ctl(epoll_, EPOLL_CTL_ADD, connections_[i].fd, &event);
    }
    result_.latencies_ms.reserve(load.requests);
  }
  ~Generator() {
    for (Connection& connection : connections_) ::close(connection.fd);
    ::close(epoll_);
  }

  LoadResult run() {
    Time began = std::chrono::steady_clock::now();
    for (Connection& connection : connections_) send_next(connection);
    std::vector<epoll_event> events(connections_.size());
    while (done_ < load_.requests) {
      int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 10'000);
      if (count == 0) throw Error(Errc::timeout, "load: no answer within 10 s");
      for (int i = 0; i < count; ++i)
        receive(connections_[events[static_cast<size_t>(i)].data.u64]);
      load_.progress(done_);
    }
    result_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    std::sort(result_.latencies_ms.begin(), result_.latencies_ms.end());
    return std::move(result_);
  }

 private:
  void send_next(Connection& connection) {
    if (next_ == load_.requests) return;
    connection.out = load_.make(next_++);
    connection.began = std::chrono::steady_clock::now();
    for (size_t sent = 0; sent < connection.out.size();) {
      ssize_t wrote = ::send(connection.fd, connection.out.data() + sent,
                             connection.out.size() - sent, MSG_NOSIGNAL);
      if (wrote <= 0) throw broken("send");
      sent += static_cast<size_t>(wrote);
    }
  }

  void receive(Connection& connection) {
    char buffer[65536];
    ssize_t got = ::recv(connection.fd, buffer, sizeof buffer, 0);
    if (got <= 0) throw broken("the server closed a connection");
    connection.in.append(buffer, static_cast<size_t>(got));
    size_t size = answer_size(connection.in);
    if (size == 0 || connection.in.size() < size) return;
    result_.latencies_ms.push_back(std::chrono::duration<float, std::milli>(
                                       std::chrono::steady_clock::now() - connection.began)
                                       .count());
    if (connection.in.compare(9, 1, "2") != 0 && result_.refused++ == 0)
      result_.first_refusal = connection.in.substr(0, 500);
    connection.in.clear();
    ++done_;
    send_next(connection);
  }

  const Load& load_;
  std::vector<Connection> connections_;
  int epoll_ = -1;
  size_t next_ = 0;
  size_t done_ = 0;
  LoadResult result_;
};

}  // namespace

double LoadResult::percentile(double p) const {
  if (latencies_ms.empty()) return 0;
  auto place = static_cast<size_t>(p * static_cast<double>(latencies_ms.size() - 1));
  return latencies_ms[place];
}

void LoadResult::add(const LoadResult& other) {
  seconds += other.seconds;
  latencies_ms.insert(latencies_ms.end(), other.latencies_ms.begin(), other.latencies_ms.end());
  std::sort(latencies_ms.begin(), latencies_ms.end());
  if (refused == 0) first_refusal = other.first_refusal;
  refused += other.refused;
}

LoadResult run_load(const Load& load) {
  return Generator(load).run();
}

std::string post(const std::string& path, const std::string& body, const std::string& host) {
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n"
      "Content-Length: {}\r\n\r\n{}",
      path, host, body.size(), body);
}

}  // namespace opscore::bench
