#pragma once
// Which process of this machine has a TCP connection, as /proc tells. Of other users' processes
// only root is told. Stateless, hence safe for concurrent use.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace opscore {

struct SocketOwner {
  pid_t pid = 0;
  std::string program;  // its command line, at most so much of it as fits a line
};

// Whose end of a connection on this machine has this local and this remote port. Nothing when there
// is no such connection here, or its owner may not be known.
std::optional<SocketOwner> owner_of_socket(uint16_t local_port, uint16_t remote_port);

}  // namespace opscore
