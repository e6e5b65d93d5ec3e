#pragma once
// What the system says of the process that asks: who it is, where, and within which limits. What
// cannot be read is empty. Stateless, hence safe for concurrent use.

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

namespace opscore {

std::string host_name();
std::string user_name();  // "app", or the number when it has no name
// The one of the linker, in hexadecimal.
std::string build_id();
// Of a process; arguments as they are, so they may hold secrets.
std::vector<std::string> arguments_of(pid_t pid);
struct Ancestor {
  pid_t pid = 0;
  std::vector<std::string> arguments;
};
// Parent, its parent, and so on, as far as they can be seen.
std::vector<Ancestor> ancestors();
// "open_files" -> "1024 of 524288", "unlimited": the soft limit, of the hard one when it is
// another.
std::map<std::string, std::string> resource_limits();
// "docker", "podman", "kubernetes", "lxc", "systemd-nspawn"; empty: none is seen.
std::string container_kind();
std::string cgroup_path();
// "memory.max", "cpu.max", "pids.max" of the own cgroup and those above it, the nearest that has
// one.
std::map<std::string, std::string> cgroup_limits();
std::string process_umask();  // "0022"
std::string time_zone();      // TZ, else what /etc/localtime names
std::string locale_name();    // what LC_ALL, LC_CTYPE and LANG come to

}  // namespace opscore
