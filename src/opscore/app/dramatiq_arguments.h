#pragma once
// `opscore dramatiq`: the arguments of the `dramatiq` command as settings of a worker that hosts
// the application.

#include <string>

#include "opscore/app/command_options.h"

namespace CLI {
class App;
}

namespace opscore {

// Adds the arguments to `command`. Parsing fills `line`, which must outlive it. What has no meaning
// here is refused by name.
void add_dramatiq_arguments(CLI::App& command, CommandLine& line);

// Held while the process runs: the file that says its process id.
class PidFile {
 public:
  // Empty: none. Throws Error{conflict} when it belongs to a process that runs, or is no such file.
  explicit PidFile(std::string path);
  ~PidFile();
  PidFile(const PidFile&) = delete;

 private:
  const std::string path_;
};

// The exit codes of the dramatiq command, for those of ours.
inline constexpr int kDramatiqKilled = 1;
inline constexpr int kDramatiqPidFile = 4;

}  // namespace opscore
