#include <CLI/CLI.hpp>

#include "opscore/app/command_tree.h"
#include "opscore/app/commands.h"

namespace opscore {

void add_readiness_arguments(CLI::App& command, RunOptions& run) {
  command.add_option("--ready-fd", run.ready_fd,
                     "A file descriptor that gets the line 'ready', and is closed, once a canary "
                     "has shown that tasks get through");
  command.add_option("--ready-file", run.ready_file,
                     "A file that then holds the process id, for as long as tasks are taken");
}

}  // namespace opscore
