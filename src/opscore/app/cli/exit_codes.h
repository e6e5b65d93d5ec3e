#pragma once
// What the exit code of opscore says. The table is in docs/reference/cli.md.

#include <string_view>

#include "opscore/base/error.h"

namespace opscore {

enum class CommandExit : int {
  ok = 0,
  failed = 1,       // the task failed or was cancelled; the command went wrong
  usage = 2,        // command line or configuration
  not_found = 3,    // no such task or queue
  unreachable = 4,  // no server answers, or it is not able to
  refused = 5,      // the server, or the state of things, says no
  unfinished = 6,   // the task is not done after --wait; no worker is ready
};

// Of an HTTP status that is not a success.
CommandExit exit_status_of(int http_status);
// Of what a client command threw, and of what a command that starts something threw.
CommandExit client_exit_status(Errc code);
CommandExit server_exit_status(Errc code);

// Of what backup and restore threw: a file that is not what it must be is refused.
CommandExit backup_exit_status(Errc code);

struct ExitWords {
  CommandExit status;
  std::string_view words;
};
inline constexpr ExitWords kExitWords[] = {
    {CommandExit::ok, "done"},
    {CommandExit::failed,
     "the task failed or was cancelled, the job failed or was stopped, or the command itself went "
     "wrong"},
    {CommandExit::usage, "the command line or the configuration is wrong"},
    {CommandExit::not_found, "there is no such task, queue, job or file"},
    {CommandExit::unreachable, "no server answers, or it says that it cannot work now (503)"},
    {CommandExit::refused,
     "refused: by the server (another state, a taken key, a bad field, no token), because another "
     "process holds the data file or the port, or because a file is no backup, damaged, or made by "
     "a newer "
     "opscore"},
    {CommandExit::unfinished,
     "the task or job is not done after the time given with `--wait`, or no worker is ready"},
};

}  // namespace opscore
