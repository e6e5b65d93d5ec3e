#pragma once
// For tests: stands between a store and its database, and fails as networks do.

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <postgresql/libpq-fe.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "opscore/store/postgres/test_database.h"

namespace opscore::postgres {

class TestProxy {
 public:
  enum class Mode : uint8_t {
    pass,
    swallow_commit,  // the next answer to a COMMIT is lost, and the connection with it; then pass
    stall,           // nothing goes through, either way, and nothing is said about it
    refuse,          // connections are closed as soon as they are made
  };

  TestProxy() {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener_, 64) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw Error(Errc::internal, "the test proxy could not listen");
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~TestProxy() {
    stopping_ = true;
    acceptor_.join();
    for (std::thread& link : links_) link.join();
    ::close(listener_);
  }
  TestProxy(const TestProxy&) = delete;

  void set(Mode mode) { mode_ = mode; }
  Mode mode() const { return mode_; }
  // Cuts what is connected now.
  void cut_all() { ++cuts_; }

  std::string url(const std::string& direct) const {
    return with_option(
        direct, "host=127.0.0.1&sslmode=disable&gssencmode=disable&port=" + std::to_string(port_));
  }

 private:
  static int connect_to_database() {
    PQconninfoOption* options =
        PQconninfoParse(parse_database_url(test_url()).url.c_str(), nullptr);
    std::string host = "127.0.0.1", port = "5432";
    for (auto* option = options; option->keyword != nullptr; ++option) {
      if (option->val == nullptr) continue;
      if (std::string_view(option->keyword) == "host") host = option->val;
      if (std::string_view(option->keyword) == "port") port = option->val;
    }
    PQconninfoFree(options);
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) return -1;
    int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
      ::close(fd);
      fd = -1;
    }
    ::freeaddrinfo(found);
    return fd;
  }

  void accept_all() {
    while (!stopping_) {
      pollfd waiting{listener_, POLLIN, 0};
      if (::poll(&waiting, 1, 20) <= 0) continue;
      int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      int server = mode_ == Mode::refuse ? -1 : connect_to_database();
      if (server < 0)
        ::close(client);
      else
        links_.emplace_back([this, client, server] { link(client, server); });
    }
  }

  void link(int client, int server) {
    for (int cuts = cuts_; !stopping_ && cuts_ == cuts && mode_ != Mode::refuse;) {
      bool stalled = mode_ == Mode::stall;
      pollfd both[2] = {{stalled ? -1 : client, POLLIN, 0}, {stalled ? -1 : server, POLLIN, 0}};
      if (::poll(both, 2, 20) <= 0) continue;
      if (both[0].revents != 0 && !forward(client, server, false)) break;
      if (both[1].revents != 0 && !forward(server, client, true)) break;
    }
    ::close(client);
    ::close(server);
  }

  bool forward(int from, int to, bool answers) {
    char bytes[1 << 16];
    ssize_t got = ::recv(from, bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    std::string_view data(bytes, static_cast<size_t>(got));
    Mode swallow = Mode::swallow_commit;
    if (answers && data.find(std::string_view("COMMIT\0", 7)) != data.npos &&
        mode_.compare_exchange_strong(swallow, Mode::pass))
      return false;
    while (!data.empty()) {
      ssize_t sent = ::send(to, data.data(), data.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      data.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  int listener_ = -1;
  int port_ = 0;
  std::atomic<Mode> mode_{Mode::pass};
  std::atomic<int> cuts_{0};
  std::atomic<bool> stopping_{false};
  std::thread acceptor_;
  std::vector<std::thread> links_;  // of the acceptor, until it has ended
};

}  // namespace opscore::postgres
