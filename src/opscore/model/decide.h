#pragma once
// Every change of state, as pure functions: what is known -> a Plan. No clock, no store: time and
// randomness come in. Each result is one of state.h's successors (asserted).

#include <expected>

#include "opscore/base/error.h"
#include "opscore/base/random.h"
#include "opscore/model/fleet.h"
#include "opscore/model/outcome.h"
#include "opscore/model/plan.h"
#include "opscore/model/task.h"

namespace opscore {

namespace event_kind {
// A person wants it run again with another input; the event's attempt is the last with the old one.
inline constexpr char kEditedRetry[] = "retried_with_edited_input";
// A program ran without the sandbox that it should have had if there were one. Data: actor, reason.
inline constexpr char kNotSandboxed[] = "not_sandboxed";
}  // namespace event_kind

// The row a new task starts with.
Live decide_submit(const TaskSpec& spec, TimePoint now);

// The row after a claim by `session`.
Live decide_claim(const Live& live, SessionId session, TimePoint now);

// The attempt ended with `outcome`. `started_at` is zero when the actor was never entered.
Plan decide_finish(const ClaimedTask& task, const Outcome& outcome, TimePoint started_at,
                   TimePoint now, Random& random);

// How a worker was lost, as far as one of its tasks is concerned.
enum class Loss : uint8_t {
  not_entered,  // claimed only: handed back, uncharged
  host,         // killed by an operator, power, a lost session: re-run uncharged, at most 3 times
  crash,        // it died of a signal or of memory while this task ran, perhaps because of it
  bystander,    // it died so, and another task is known to have been the one that crashed
};
Plan decide_loss(TaskKey key, const Live& live, const TaskOptions& options, Loss loss,
                 const std::string& words, TimePoint now, Random& random);
// The same, as the report of a lost session has it.
Plan decide_rescue(TaskKey key, Live live, const TaskOptions& options, const LostSession& lost,
                   TimePoint now, Random& random);

// Errors are Errc::conflict and say why, with the state.
std::expected<Plan, Error> decide_cancel(const Task& task, TimePoint now);
std::expected<Plan, Error> decide_retry(const Task& task, std::optional<std::string> edited_input,
                                        TimePoint now);
std::expected<void, Error> decide_remove(const Task& task);

// Its time has come / its deadline has passed, for a task that is not running.
Plan decide_promote(TaskKey key, const Live& live, TimePoint now);
Plan decide_expire(TaskKey key, const Live& live, const TaskOptions& options, TimePoint now);

// What a plan with yields_to_cancel becomes when a cancel was requested meanwhile: the task ends
// cancelled. How the attempt itself ended stays as it was; its words move to the error's detail.
Plan yield_to_cancel(Plan plan);

// Before attempt `charged + 1`, after `charged` charged attempts.
Duration backoff(const RetryPolicy& policy, int charged, Random& random);

// How long an attempt that starts now may run: min(timeout, what is left until the deadline).
Duration attempt_timeout(const TaskOptions& options, TimePoint now);

}  // namespace opscore
