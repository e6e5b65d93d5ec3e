#pragma once
// What /proc knows about processes: who descends from whom, and in whose name it runs. Every answer
// may be out of date when it is returned; signal_exactly() is how to act on one without hitting a
// stranger that got the same pid. Stateless, hence safe for concurrent use.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/process/file_descriptor.h"

namespace opscore {

struct ProcessInfo {
  pid_t pid = 0;
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  char state = '?';      // as in ps: R S D Z T ...
  uint64_t started = 0;  // clock ticks since boot; with the pid it names one process for ever
  bool ended() const { return state == 'Z' || state == 'X'; }
};

// Nothing when there is no such process.
std::optional<ProcessInfo> read_process(pid_t pid);
std::vector<pid_t> children_of(pid_t pid);
// Children, their children, and so on; parents first.
std::vector<ProcessInfo> descendants_of(pid_t pid);
// The value of a variable in the environment the process was started with. Nothing when it is not
// set, cannot be read, or the process has ended.
std::optional<std::string> environment_of(pid_t pid, std::string_view name);
// A pidfd: stays with this process whatever its pid becomes, readable once it has ended. Closed
// (errno says why) when there is no such process.
FileDescriptor open_process(pid_t pid);
// Signals this very process and no later one of the same pid. False when it is gone.
bool signal_exactly(const ProcessInfo& process, int signal);

}  // namespace opscore
