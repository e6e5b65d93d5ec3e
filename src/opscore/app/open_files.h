#pragma once
// The files of the process: how many it may have open, and the three it is started with.

#include <optional>
#include <string>

namespace opscore {

// Raises the soft limit (RLIMIT_NOFILE) to the hard one, for this process and its children. Answers
// what the user should know when that is too little for so many connections.
std::optional<std::string> raise_open_files(int connections_max);

// Puts /dev/null where stdin, stdout or stderr are closed, so that no other file gets their number
// and what is meant for people is not written into it. Writing there still fails.
void hold_standard_files();

}  // namespace opscore
