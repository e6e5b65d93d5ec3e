#pragma once
// How a process ended, and the words for it.

#include <string>

namespace opscore {

struct ExitStatus {
  int code = 0;    // when it exited by itself
  int signal = 0;  // that it died of; 0: it exited
  bool dumped = false;

  bool success() const { return signal == 0 && code == 0; }
  // "exit code 3", "killed by SIGKILL", "killed by SIGSEGV (core dumped)".
  std::string words() const;
  // From the status of waitpid(2).
  static ExitStatus from_wait(int status);
};

// "SIGTERM"; "signal 40" for those without a name.
std::string signal_name(int signal);

}  // namespace opscore
