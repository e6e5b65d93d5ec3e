#include "opscore/worker/settle.h"

#include <fmt/format.h>

#include "opscore/base/json.h"
#include "opscore/engine/input_schema.h"
#include "opscore/model/error_kind.h"
#include "opscore/model/limits.h"

namespace opscore {

Stopping stopping_for(StopReason reason) {
  switch (reason) {
    case StopReason::cancel:
      return Stopping::cancel;
    case StopReason::drain:
      return Stopping::drain;
    case StopReason::session_lost:
      return Stopping::session_lost;
  }
  return Stopping::drain;
}

Outcome stopped_outcome(const ClaimedTask& task, Stopping why, const std::string& detail) {
  Outcome outcome;
  outcome.result.clear();
  if (why == Stopping::timeout) {
    outcome.kind = Outcome::Kind::timed_out;
    outcome.error = {error_kind::kTimeout,
                     fmt::format("attempt {} ran longer than its timeout of {}", task.live.attempt,
                                 to_text(task.options.timeout.value_or(limits::kTimeout))),
                     detail};
  } else if (why == Stopping::cancel) {
    outcome.kind = Outcome::Kind::stopped;
    outcome.error = {error_kind::kCancelled, "stopped because a cancel was asked for", detail};
  } else {
    outcome.kind = Outcome::Kind::handed_back;
    outcome.error = {error_kind::kHandedBack, "stopped because its worker is stopping", detail};
  }
  return outcome;
}

Outcome settle(const ClaimedTask& task, Outcome outcome, Stopping why, size_t result_bytes_max) {
  if (outcome.kind == Outcome::Kind::completed) {
    if (outcome.result.size() > result_bytes_max)
      return Outcome::fail({error_kind::kResultTooLarge,
                            fmt::format("the result is {} bytes; at most {}", outcome.result.size(),
                                        result_bytes_max),
                            {}},
                           false);
    if (auto checked = check_json(outcome.result); !checked)
      return Outcome::fail({error_kind::kBadOutput,
                            fmt::format("the result is not JSON: {}", checked.error().what()),
                            {}},
                           false);
    return outcome;
  }
  if (why == Stopping::no) return outcome;
  return stopped_outcome(
      task, why, outcome.error.detail.empty() ? outcome.error.message : outcome.error.detail);
}

Outcome no_actor_outcome(const std::string& type) {
  Outcome outcome;
  outcome.kind = Outcome::Kind::handed_back;
  outcome.result.clear();
  outcome.error = {
      error_kind::kHandedBack, fmt::format("this worker has no actor '{}' any more", type), {}};
  return outcome;
}

// The schema is compiled anew each time: only tasks submitted in SQL pay for it.
std::optional<Outcome> input_refused(const ClaimedTask& task, const CatalogueEntry& entry) {
  if (!task.options.unchecked || entry.input_schema.empty()) return std::nullopt;
  auto problem = InputSchema(entry.input_schema).check(task.input);
  if (!problem) return std::nullopt;
  std::string field = "input_data" + (problem->path.empty() ? "" : "." + problem->path);
  return Outcome::refuse({error_kind::kInvalidInput, field + ": " + problem->message, {}});
}

}  // namespace opscore
