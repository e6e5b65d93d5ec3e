#pragma once
// What a process was given by whoever started it, and can only be seen at the start: afterwards it
// replaces closed files, blocks signals and raises limits. Stateless.

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace opscore {

struct Launch {
  std::array<std::string, 3> files;  // stdin, stdout, stderr: see file_words()
  std::vector<std::string> blocked;  // names of signals
  std::vector<std::string> ignored;
  bool has_terminal = false;  // that can hang up
};

// Before anything else is done.
Launch look_at_launch();

// "closed", "terminal /dev/pts/3", "pipe", "socket", "/dev/null", "file /var/log/x".
std::string file_words(int fd);
// The names in one of the masks of /proc/PID/status: "SIGPIPE".
std::vector<std::string> signals_of(std::string_view mask_hex);

}  // namespace opscore
