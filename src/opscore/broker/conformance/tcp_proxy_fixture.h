#pragma once
// A TCP proxy in this process for tests: it forwards to a port of 127.0.0.1 until it is told to
// stand still (it accepts and keeps connections, and moves no byte) or to cut all connections.

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "opscore/base/error.h"

namespace opscore {

class TcpProxy {
 public:
  explicit TcpProxy(uint16_t target) : target_(target) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof(address);
    OPSCORE_ASSERT(::bind(listener_, as_address(address), size) == 0, "a free port");
    OPSCORE_ASSERT(::listen(listener_, 64) == 0, "a listening port");
    ::getsockname(listener_, as_address(address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this](std::stop_token stop) { run(stop); });
  }
  ~TcpProxy() {
    thread_.request_stop();
    thread_.join();
    ::close(listener_);
  }
  TcpProxy(const TcpProxy&) = delete;

  uint16_t port() const { return port_; }
  // Connections of that time stay silent for ever, as after a lost route.
  void stand_still(bool still) {
    still_ = still;
    take_effect();
  }
  void cut() {
    cut_ = true;
    take_effect();
  }

 private:
  struct Pair {
    int client;
    int server;
    bool dead;
  };

  static sockaddr_in loopback(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }
  static sockaddr* as_address(sockaddr_in& address) {
    return reinterpret_cast<sockaddr*>(&address);
  }
  static void close(Pair& pair) {
    ::close(pair.client);
    if (pair.server >= 0) ::close(pair.server);
  }

  void take_effect() const {
    for (uint64_t from = turns_; turns_ < from + 2;) std::this_thread::yield();
  }
  void run(std::stop_token stop) {
    while (!stop.stop_requested()) {
      ++turns_;
      if (cut_.exchange(false)) close_all();
      std::vector<pollfd> sockets{{listener_, POLLIN, 0}};
      for (Pair& pair : pairs_) {
        pair.dead = pair.dead || still_;
        for (int fd : {pair.client, pair.server})
          sockets.push_back({pair.dead ? -1 : fd, POLLIN, 0});
      }
      ::poll(sockets.data(), sockets.size(), 2);
      size_t at = 1;
      for (auto pair = pairs_.begin(); pair != pairs_.end();) {
        bool up = sockets[at++].revents == 0 || forward(pair->client, pair->server);
        up = (sockets[at++].revents == 0 || forward(pair->server, pair->client)) && up;
        if (!up) close(*pair);
        pair = up ? std::next(pair) : pairs_.erase(pair);
      }
      if (sockets[0].revents != 0) accept();
    }
    close_all();
  }
  void close_all() {
    for (Pair& pair : pairs_) close(pair);
    pairs_.clear();
  }
  void accept() {
    Pair pair{::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC), -1, still_};
    if (!still_) {
      pair.server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in address = loopback(target_);
      if (::connect(pair.server, as_address(address), sizeof(address)) != 0) return close(pair);
    }
    pairs_.push_back(pair);
  }
  static bool forward(int from, int to) {
    std::array<char, 65536> bytes;
    ssize_t got = ::recv(from, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got <= 0) return false;
    for (ssize_t sent = 0; sent < got;) {
      ssize_t n = ::send(to, bytes.data() + sent, static_cast<size_t>(got - sent), MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += n;
    }
    return true;
  }

  const uint16_t target_;
  uint16_t port_ = 0;
  int listener_;
  std::list<Pair> pairs_;  // of the thread
  std::atomic<uint64_t> turns_{0};
  std::atomic<bool> still_{false};
  std::atomic<bool> cut_{false};
  std::jthread thread_;
};

}  // namespace opscore
