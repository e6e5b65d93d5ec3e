#include "opscore/app/listener.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>

#include "opscore/base/error.h"
#include "opscore/base/time.h"

namespace opscore {
namespace {

constexpr Duration kDyingMax{500};

int port_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET6)
    return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

// A worker whose supervisor was killed a moment ago may still have the port while it dies.
bool bind_or_outlast(int fd, const addrinfo& address) {
  Deadline deadline = Deadline::after(kDyingMax);
  while (::bind(fd, address.ai_addr, address.ai_addrlen) != 0) {
    if (errno != EADDRINUSE || deadline.passed()) return false;
    std::this_thread::sleep_for(Duration(5));
  }
  return true;
}

[[noreturn]] void fail(const std::string& address, int port, int code) {
  std::string hint =
      code == EADDRINUSE ? "another program has the port; choose another with --port or "
                           "OPSCORE_SERVER_PORT, or stop it "
                           "('ss -ltnp' shows who it is)"
      : code == EACCES
          ? "ports below 1024 need privileges; choose another with --port or OPSCORE_SERVER_PORT"
          : "choose another with --address and --port";
  throw Error(code == EADDRINUSE ? Errc::conflict : Errc::unavailable,
              fmt::format("listen on {}:{}: {}\n  {}", address, port,
                          std::generic_category().message(code), hint),
              false);
}

}  // namespace

Listener listen_on(const std::string& address, int port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  std::string host = address == "localhost" ? "127.0.0.1" : address;
  if (int code = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found))
    throw Error(Errc::invalid, fmt::format("listen on {}: {}", address, ::gai_strerror(code)));
  int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int yes = 1;
  bool ok = fd >= 0 && ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
            bind_or_outlast(fd, *found) && ::listen(fd, SOMAXCONN) == 0;
  int code = errno;
  ::freeaddrinfo(found);
  if (!ok) {
    if (fd >= 0) ::close(fd);
    fail(address, port, code);
  }
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
  return {fd, port_of(bound)};
}

}  // namespace opscore
