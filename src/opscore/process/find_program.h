#pragma once
// Which file a command means, found out before anything runs it.

#include <expected>
#include <string>

#include "opscore/base/error.h"

namespace opscore {

// The absolute path of `command`: a name is looked up in `path` (like $PATH), a path with a slash
// is taken from `cwd` (empty: the working directory). The file must be a regular one that we may
// run, and the interpreter on its #! line too. The error is Errc::invalid and says what was tried.
std::expected<std::string, Error> find_program(const std::string& command, const std::string& cwd,
                                               const std::string& path);
// The same with the server's own $PATH.
std::expected<std::string, Error> find_program(const std::string& command, const std::string& cwd);

// $PATH, or a usual one when it is not set.
std::string search_path();

}  // namespace opscore
