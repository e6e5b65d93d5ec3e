#pragma once
// An actor that is any program. The task's input is its stdin, its stdout the result, its stderr
// the log; how it exits says what comes next. See docs/howto/exec-actor.md for its author's view.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "opscore/actor/actor.h"
#include "opscore/actor/output_result.h"
#include "opscore/model/limits.h"
#include "opscore/process/cgroup.h"
#include "opscore/process/child.h"
#include "opscore/process/find_program.h"
#include "opscore/process/reaper.h"
#include "opscore/process/sandbox.h"

namespace opscore {

// What an exit code other than 0 means.
struct ExitMeaning {
  enum class Kind : uint8_t {
    retry,   // failed; try again after the backoff
    fatal,   // failed; another try would too
    snooze,  // not failed: run it again after `delay`, uncharged
  } kind = Kind::retry;
  Duration delay{0};
};

struct ExecSandbox {
  std::string bwrap;  // from find_sandbox()
  SandboxRules rules;
  Cgroups* groups = nullptr;  // null: there are none; else it must outlive the actor
  CgroupLimits limits;        // of each run as a whole, as far as `groups` can hold it to them
};

struct ExecOptions {
  std::vector<std::string> command;          // program and arguments; looked up like find_program()
  std::string cwd;                           // empty: the server's
  OutputFormat output = OutputFormat::text;  // of stdout; a text loses one trailing line end
  std::map<std::string, std::string> env;    // beside PATH, HOME, LANG, TZ of the server
  Duration stop_grace = limits::kStopGrace;
  size_t result_bytes_max = limits::kPayloadBytes;  // of stdout, and of the result
  // Codes that are not listed mean retry.
  std::map<int, ExitMeaning> exit_codes = {
      {65, {ExitMeaning::Kind::fatal, Duration(0)}},         // EX_DATAERR
      {75, {ExitMeaning::Kind::snooze, Duration(30'000)}}};  // EX_TEMPFAIL
  ResourceLimits limits;
  std::optional<ExecSandbox> sandbox;
  std::string unsandboxed;  // why it runs without the one it should have; said in every attempt
};

// `reaper` must outlive it. The program and the server's environment are looked at now, so that
// neither changes under running tasks. Throws Error{invalid} when the program cannot be found or
// run, or the options are no good.
std::unique_ptr<Actor> make_exec_actor(Reaper& reaper, ExecOptions options);

}  // namespace opscore
