#pragma once
// The listening socket, made by the supervisor before it forks: it outlives a worker that crashes,
// so connections wait for the next one instead of being refused.

#include <string>

namespace opscore {

struct Listener {
  int fd = -1;
  int port = 0;
};

// `address` is a numeric IPv4 or IPv6 address or "localhost"; port 0 means any free one. Throws
// Error{unavailable} that says who else may have the port and how to choose another.
Listener listen_on(const std::string& address, int port);

}  // namespace opscore
