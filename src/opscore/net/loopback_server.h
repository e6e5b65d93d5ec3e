#pragma once
// For tests: an HTTP/1.1 server on a loopback address whose answers a test writes byte by byte, so
// that they can be cut, slow or malformed. Not a server for anything else.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace opscore {

// One thread per connection. The handler runs on it, several at once for several connections, and
// must return when its peer goes away or the server is destroyed: every wait of Reply does.
class LoopbackServer {
 public:
  struct Request {
    std::string method, target, body;
    std::map<std::string, std::string> headers;  // names in lower case
  };

  class Reply {
   public:
    explicit Reply(int fd) : fd_(fd) {}
    // A whole answer; the connection stays open.
    void send(int status, std::string_view headers, std::string_view body) {
      raw(fmt::format("HTTP/1.1 {} Status\r\n{}Content-Length: {}\r\n\r\n{}", status, headers,
                      body.size(), body));
    }
    // The head of a chunked answer; each of `headers` ends with CR LF.
    void begin(int status, std::string_view headers) {
      raw(fmt::format("HTTP/1.1 {} Status\r\n{}Transfer-Encoding: chunked\r\n\r\n", status,
                      headers));
    }
    void piece(std::string_view bytes) {
      if (!bytes.empty()) raw(fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes));
    }
    void end() { raw("0\r\n\r\n"); }
    void raw(std::string_view bytes) {
      while (!bytes.empty()) {
        const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) return;
        bytes.remove_prefix(static_cast<size_t>(sent));
      }
    }
    // Ends the connection in the middle of whatever was being sent.
    void cut() { ::shutdown(fd_, SHUT_RDWR); }
    // Says nothing more until the client hangs up.
    void hold() {
      char byte = 0;
      while (::recv(fd_, &byte, 1, 0) > 0) {
      }
    }

   private:
    int fd_;
  };
  using Handler = std::function<void(const Request&, Reply&)>;

  explicit LoopbackServer(Handler handler, std::string host = "127.0.0.1")
      : handler_(std::move(handler)), host_(std::move(host)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    ::inet_pton(AF_INET, host_.c_str(), &address.sin_addr);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, generic, size) != 0 || ::listen(listener_, 64) != 0 ||
        ::getsockname(listener_, generic, &size) != 0)
      std::abort();
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }

  ~LoopbackServer() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    {
      std::lock_guard lock(mutex_);
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : connections_) thread.join();
    ::close(listener_);
  }
  LoopbackServer(const LoopbackServer&) = delete;

  uint16_t port() const { return port_; }
  std::string url() const { return fmt::format("http://{}:{}", host_, port_); }
  std::vector<Request> requests() const {
    std::lock_guard lock(mutex_);
    return requests_;
  }
  size_t connections() const {
    std::lock_guard lock(mutex_);
    return accepted_;
  }

 private:
  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;  // small pieces leave at once, and not after 40 ms
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      std::lock_guard lock(mutex_);
      ++accepted_;
      open_.push_back(fd);
      connections_.emplace_back([this, fd] { serve(fd); });
    }
  }

  void serve(int fd) {
    std::string pending;
    while (auto request = read_request(fd, pending)) {
      {
        std::lock_guard lock(mutex_);
        requests_.push_back(*request);
      }
      Reply reply(fd);
      handler_(*request, reply);
    }
    std::lock_guard lock(mutex_);
    std::erase(open_, fd);
    ::close(fd);
  }

  static std::optional<Request> read_request(int fd, std::string& pending) {
    size_t head_end;
    while ((head_end = pending.find("\r\n\r\n")) == std::string::npos)
      if (!receive(fd, pending)) return std::nullopt;
    Request request;
    const std::string head = pending.substr(0, head_end + 2);
    pending.erase(0, head_end + 4);
    const size_t line_end = head.find("\r\n");
    const size_t space = head.find(' ');
    request.method = head.substr(0, space);
    request.target = head.substr(space + 1, head.rfind(' ', line_end) - space - 1);
    for (size_t at = line_end + 2; at < head.size();) {
      const size_t end = head.find("\r\n", at);
      const size_t colon = head.find(':', at);
      std::string name = head.substr(at, colon - at);
      std::transform(name.begin(), name.end(), name.begin(), ::tolower);
      const size_t value = head.find_first_not_of(' ', colon + 1);
      request.headers[name] = head.substr(value, end - value);
      at = end + 2;
    }
    const auto length = request.headers.find("content-length");
    const size_t size = length == request.headers.end() ? 0 : std::stoul(length->second);
    while (pending.size() < size)
      if (!receive(fd, pending)) return std::nullopt;
    request.body = pending.substr(0, size);
    pending.erase(0, size);
    return request;
  }

  static bool receive(int fd, std::string& into) {
    char buffer[4096];
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    into.append(buffer, static_cast<size_t>(got));
    return true;
  }

  const Handler handler_;
  const std::string host_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::thread acceptor_;
  mutable std::mutex mutex_;
  std::vector<int> open_;                 // guarded by mutex_
  std::vector<std::thread> connections_;  // guarded by mutex_ until the acceptor has ended
  std::vector<Request> requests_;         // guarded by mutex_
  size_t accepted_ = 0;                   // guarded by mutex_
};

}  // namespace opscore
