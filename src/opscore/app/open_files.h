#pragma once
// How many files and connections the process may have open.

#include <optional>
#include <string>

namespace opscore {

// Raises the soft limit (RLIMIT_NOFILE) to the hard one, for this process and its children. Answers
// what the user should know when that is too little for so many connections.
std::optional<std::string> raise_open_files(int connections_max);

}  // namespace opscore
