#pragma once
// The files of the process: how many it may have open, and the three it is started with.

#include <cstdint>
#include <optional>
#include <string>

namespace opscore {

struct OpenFiles {
  uint64_t before = 0;              // the soft limit as it was: programs that tasks run get that
  std::optional<std::string> note;  // what the user should know: too few for so many connections
};

// Raises the soft limit (RLIMIT_NOFILE) to the hard one, for this process and its children.
OpenFiles raise_open_files(int connections_max);

// Puts /dev/null where stdin, stdout or stderr are closed, so that no other file gets their number
// and what is meant for people is not written into it. Writing there still fails.
void hold_standard_files();

}  // namespace opscore
