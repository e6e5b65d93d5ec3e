#include "opscore/process/exit_status.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <cstring>

namespace opscore {

std::string ExitStatus::words() const {
  if (signal == 0) return fmt::format("exit code {}", code);
  return fmt::format("killed by {}{}", signal_name(signal), dumped ? " (core dumped)" : "");
}

ExitStatus ExitStatus::from_wait(int status) {
  if (WIFSIGNALED(status)) return {0, WTERMSIG(status), WCOREDUMP(status) != 0};
  return {WEXITSTATUS(status), 0, false};
}

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

}  // namespace opscore
