#include "opscore/app/bench/crowd.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <system_error>

#include "opscore/base/error.h"

namespace opscore::bench {
namespace {

constexpr timeval kPatience{30, 0};

int connect_to(const std::string& host, int port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  ::inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  if (fd < 0 || ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    throw Error(Errc::unavailable,
                fmt::format("crowd: connect: {}", std::generic_category().message(errno)));
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  return fd;
}

}  // namespace

Crowd::~Crowd() {
  for (int fd : fds_) ::close(fd);
}

void Crowd::add(size_t count, const std::vector<std::string>& targets, const std::string& fields) {
  for (size_t i = 0; i < count; ++i) {
    int fd = connect_to(host_, port_);
    fds_.push_back(fd);
    if (targets.empty()) continue;
    asking_.push_back(fd);
    std::string request = fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\n{}Connection: close\r\n\r\n",
                                      targets[i % targets.size()], host_, fields);
    if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size()))
      throw Error(Errc::unavailable,
                  fmt::format("crowd: send: {}", std::generic_category().message(errno)));
  }
}

void Crowd::read_beginnings(size_t first, size_t count) {
  for (size_t i = first; i < first + count; ++i) {
    char begin[16] = {};
    ssize_t got = ::recv(asking_[i], begin, 12, MSG_WAITALL);
    if (got != 12 || std::string_view(begin, 12) != "HTTP/1.1 200")
      throw Error(Errc::unavailable, fmt::format("crowd: answered with '{}'", begin));
  }
}

size_t Crowd::read_ends() {
  size_t whole = 0;
  char buffer[65536];
  for (int fd : asking_) {
    ssize_t got;
    while ((got = ::recv(fd, buffer, sizeof buffer, 0)) > 0) continue;
    if (got == 0) ++whole;
  }
  return whole;
}

}  // namespace opscore::bench
