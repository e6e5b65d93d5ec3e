#pragma once
// What a process says of itself when it opens a session, so that two workers can be compared.

#include <string>

namespace opscore {

std::string session_name();  // "host:pid"
// JSON: executable, argv, pid, ppid, host, user, cwd, version, build.
std::string session_context();

}  // namespace opscore
