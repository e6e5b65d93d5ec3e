#pragma once
// What a process says of itself when it opens a session, so that two workers can be compared.

#include <string>

namespace opscore {

std::string session_name();     // "host:pid"
std::string session_context();  // JSON: executable, argv, pid, ppid, host, user, cwd, version, build

}  // namespace opscore
