#include "opscore/actor/exec/exec_outcome.h"

#include <fmt/format.h>

#include "opscore/actor/output_result.h"
#include "opscore/model/error_kind.h"

namespace opscore {
namespace {

Outcome result_of(const ExecOptions& options, std::string_view output, const std::string& tail) {
  if (options.output == OutputFormat::text && output.ends_with('\n')) output.remove_suffix(1);
  return output_result("stdout", output, options.output, options.result_bytes_max, tail);
}

Outcome exited(const ExecOptions& options, const ExitStatus& status, const std::string& tail) {
  auto meaning = options.exit_codes.find(status.code);
  ExitMeaning found;
  if (status.signal == 0 && meaning != options.exit_codes.end()) found = meaning->second;
  if (found.kind == ExitMeaning::Kind::snooze) {
    Outcome outcome = Outcome::snooze(found.delay, status.words());
    outcome.error.detail = tail;
    return outcome;
  }
  return Outcome::fail({error_kind::kActorError, status.words(), tail},
                       found.kind == ExitMeaning::Kind::retry);
}

}  // namespace

Outcome decide_exec(const ExecOptions& options, const ProgramEnd& end, const std::string& tail) {
  switch (end.why) {
    case ProgramEnd::Why::output_too_large:
      return too_large("stdout", options.result_bytes_max, tail);
    case ProgramEnd::Why::stopped:
      // Even when it exits with 0 then: what it had printed is not known to be whole.
      return Outcome::fail(
          {error_kind::kActorError, fmt::format("stopped: {}", end.status.words()), tail});
    case ProgramEnd::Why::timed_out: {
      Outcome outcome =
          Outcome::fail({error_kind::kTimeout,
                         fmt::format("ran longer than its timeout: {}", end.status.words()), tail});
      outcome.kind = Outcome::Kind::timed_out;
      return outcome;
    }
    case ProgramEnd::Why::exited:
      break;
  }
  return end.status.success() ? result_of(options, end.output, tail)
                              : exited(options, end.status, tail);
}

}  // namespace opscore
