#include "opscore/model/decide.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "opscore/model/error_kind.h"
#include "opscore/model/event.h"
#include "opscore/model/limits.h"
#include "opscore/model/webhook.h"

namespace opscore {
namespace {

void leave_running(Live& live) {
  live.session = SessionId{};
  live.claimed_at = live.started_at = TimePoint{};
  live.cancel_requested = false;
}

}  // namespace

Plan plan_for(TaskKey key, const Live& live, TimePoint now) {
  Plan plan;
  plan.key = key;
  plan.expected = live.state;
  plan.attempt = live.attempt;
  plan.live = live;
  plan.worker = live.session;
  plan.claimed_at = live.claimed_at;
  plan.started_at = live.started_at;
  plan.at = now;
  return plan;
}

void run_again(Plan& plan, Duration delay) {
  plan.next = delay > Duration(0) ? State::scheduled : State::pending;
  plan.live.state = plan.next;
  plan.live.run_at = plan.at + delay;
  if (plan.live.external_until)
    plan.live.external_until = plan.live.run_at + limits::kExternalDoubt;
  leave_running(plan.live);
}

namespace {

// Who is to hear of it.
void address(Plan& plan, const TaskOptions& options) {
  plan.receiver = receiver_of(options);
  plan.adopted = options.adopted;
}

// Checks a plan against the table before anyone sees it.
Plan checked(Plan plan, Event event) {
  OPSCORE_ASSERT(successors(plan.expected, event).has(plan.next), "plan leaves the state table");
  return plan;
}

void end_failed(Plan& plan, ErrorInfo error) {
  plan.next = State::failed;
  plan.error = std::move(error);
}

// Whoever runs it owns its attempts, too.
void own_externally(Live& live) {
  live.external_until = live.run_at + limits::kExternalDoubt;
  live.budget = kUnlimitedAttempts;
}

Error handed_over_error(std::string_view verb, const Task& task) {
  return Error(Errc::handed_over,
               fmt::format("{}: handed_to_dramatiq: the task is {}, and Python's Dramatiq has its "
                           "message, which cannot be called back; it ends there, and "
                           "'opscore explain' says what is known of it",
                           verb, to_string(task.state())));
}

void add_event(Plan& plan, std::string kind, std::string data = {}) {
  plan.events.push_back({0, plan.at, std::move(kind), plan.attempt, std::move(data)});
}

bool budget_left(const Live& live) {
  return live.budget == kUnlimitedAttempts || live.charged < live.budget;
}

void charge_and_retry(Plan& plan, const TaskOptions& options, ErrorInfo error,
                      std::optional<Duration> delay, Random& random) {
  plan.charged = true;
  ++plan.live.charged;
  if (!budget_left(plan.live)) return end_failed(plan, std::move(error));
  Duration wait =
      delay.value_or(backoff(options.retry.value_or(RetryPolicy{}), plan.live.charged, random));
  if (options.deadline && plan.at + wait >= *options.deadline) {
    error.message += fmt::format(" (not tried again: the deadline {} comes first)",
                                 to_rfc3339(*options.deadline));
    return end_failed(plan, {error_kind::kDeadline, error.message, error.detail});
  }
  plan.error = std::move(error);
  run_again(plan, wait);
}

void snooze(Plan& plan, const TaskOptions& options, const Outcome& outcome) {
  Duration wait = std::max(outcome.delay.value_or(std::chrono::seconds(30)), Duration(1));
  plan.error = outcome.error;
  if (++plan.live.snoozes > limits::kSnoozes)
    return end_failed(plan, {error_kind::kTooManySnoozes,
                             fmt::format("snoozed {} times without an end", limits::kSnoozes),
                             outcome.error.message});
  if (options.deadline && plan.at + wait >= *options.deadline)
    return end_failed(plan,
                      {error_kind::kDeadline,
                       fmt::format("snoozed past its deadline {}", to_rfc3339(*options.deadline)),
                       outcome.error.message});
  run_again(plan, wait);
}

Event event_of(Outcome::Kind kind) {
  switch (kind) {
    case Outcome::Kind::completed:
      return Event::complete;
    case Outcome::Kind::failed:
      return Event::fail;
    case Outcome::Kind::snoozed:
      return Event::snooze;
    case Outcome::Kind::timed_out:
      return Event::time_out;
    case Outcome::Kind::stopped:
      return Event::stop;
    case Outcome::Kind::handed_back:
      return Event::hand_back;
    case Outcome::Kind::lost:
      return Event::lose;
    case Outcome::Kind::crashed:
      return Event::crash;
  }
  return Event::fail;
}

Loss loss_of(const LostSession& lost, const Lease& lease) {
  if (lost.cause == LostSession::Cause::drained) return Loss::not_entered;
  const bool is_blamed = lost.blamed == lease;
  if (lost.entered_known && !is_blamed && !lost.entered.contains(lease)) return Loss::not_entered;
  if (lost.cause == LostSession::Cause::gone) return Loss::host;
  return is_blamed || !lost.blamed ? Loss::crash : Loss::bystander;
}

void lose(Plan& plan, const TaskOptions& options, ErrorInfo error, Random& random) {
  plan.ended = AttemptEnd::lost;
  if (++plan.live.losses > limits::kLosses)
    return charge_and_retry(plan, options, std::move(error), {}, random);
  plan.error = std::move(error);
  run_again(plan, Duration(0));
}

void time_out(Plan& plan, const TaskOptions& options, const ErrorInfo& error, Random& random) {
  if (!options.deadline || plan.at < *options.deadline)
    return charge_and_retry(plan, options, error, {}, random);
  plan.charged = true;
  ++plan.live.charged;
  end_failed(plan,
             {error_kind::kDeadline,
              fmt::format("its deadline {} passed while it ran", to_rfc3339(*options.deadline)),
              error.detail});
}

void crash(Plan& plan, const TaskOptions& options, ErrorInfo error, Random& random) {
  plan.live.suspect = true;
  plan.ended = AttemptEnd::crashed;
  if (++plan.live.deaths < limits::kDeaths) {
    add_event(plan, "suspect");
    return charge_and_retry(plan, options, std::move(error), {}, random);
  }
  plan.charged = true;
  ++plan.live.charged;
  add_event(plan, "quarantined");
  end_failed(plan, {error_kind::kPoison,
                    fmt::format("quarantined: its worker died {} times while running it; the last "
                                "time: {}",
                                plan.live.deaths, error.message),
                    std::move(error.detail)});
}

}  // namespace

Live decide_submit(const TaskSpec& spec, TimePoint now) {
  Live live;
  live.run_at = spec.run_at.value_or(now);
  live.budget = spec.max_attempts;
  live.state = spec.waiting        ? State::waiting
               : live.run_at > now ? State::scheduled
                                   : State::pending;
  if (spec.options.is_external()) own_externally(live);
  return live;
}

Live decide_claim(const Live& live, SessionId session, TimePoint now) {
  OPSCORE_ASSERT(successors(live.state, Event::claim).has(State::running), "not claimable");
  Live next = live;
  next.state = State::running;
  ++next.attempt;
  next.session = session;
  next.claimed_at = now;
  next.started_at = TimePoint{};
  next.cancel_requested = false;
  return next;
}

Plan decide_finish(const ClaimedTask& task, const Outcome& outcome, TimePoint started_at,
                   TimePoint now, Random& random) {
  Plan plan = plan_for(task.key, task.live, now);
  plan.started_at = started_at;
  address(plan, task.options);
  plan.yields_to_cancel = outcome.kind != Outcome::Kind::completed;
  for (const Notice& notice : outcome.notices) add_event(plan, notice.kind, notice.data);
  switch (outcome.kind) {
    case Outcome::Kind::completed:
      plan.next = State::completed;
      plan.ended = AttemptEnd::completed;
      plan.charged = true;
      ++plan.live.charged;
      plan.result = outcome.result;
      break;
    case Outcome::Kind::failed:
      plan.ended = outcome.retryable ? AttemptEnd::error : AttemptEnd::fatal;
      if (outcome.retryable) {
        charge_and_retry(plan, task.options, outcome.error, outcome.delay, random);
      } else {
        plan.charged = outcome.charged;
        plan.live.charged += outcome.charged;
        end_failed(plan, outcome.error);
      }
      break;
    case Outcome::Kind::timed_out:
      plan.ended = AttemptEnd::timeout;
      time_out(plan, task.options, outcome.error, random);
      break;
    case Outcome::Kind::snoozed:
      plan.ended = AttemptEnd::snoozed;
      snooze(plan, task.options, outcome);
      break;
    case Outcome::Kind::stopped:
      plan.ended = AttemptEnd::cancelled;
      plan.next = State::cancelled;
      plan.error = outcome.error;
      break;
    case Outcome::Kind::handed_back:
      plan.ended = AttemptEnd::handed_back;
      plan.error = outcome.error;
      run_again(plan, Duration(0));
      break;
    case Outcome::Kind::lost:
      lose(plan, task.options, outcome.error, random);
      break;
    case Outcome::Kind::crashed:
      crash(plan, task.options, outcome.error, random);
      break;
  }
  return checked(std::move(plan), event_of(outcome.kind));
}

Plan decide_loss(TaskKey key, const Live& live, const TaskOptions& options, Loss loss,
                 const std::string& words, TimePoint now, Random& random) {
  Plan plan = plan_for(key, live, now);
  address(plan, options);
  plan.yields_to_cancel = true;
  if (loss == Loss::not_entered) {
    plan.ended = AttemptEnd::handed_back;
    plan.started_at = TimePoint{};
    plan.error = {error_kind::kHandedBack, "claimed, but not started: " + words, {}};
    run_again(plan, Duration(0));
    return checked(std::move(plan), Event::hand_back);
  }
  if (loss == Loss::host) {
    lose(plan, options, {error_kind::kWorkerLost, words, {}}, random);
    return checked(std::move(plan), Event::lose);
  }
  if (loss == Loss::bystander) {
    plan.live.suspect = true;
    add_event(plan, "suspect");
    lose(plan, options, {error_kind::kWorkerLost, words, {}}, random);
    return checked(std::move(plan), Event::lose);
  }
  crash(plan, options, {error_kind::kWorkerCrashed, words, {}}, random);
  return checked(std::move(plan), Event::crash);
}

Plan decide_rescue(TaskKey key, Live live, const TaskOptions& options, const LostSession& lost,
                   TimePoint now, Random& random) {
  const Lease lease{key, live.attempt};
  // A session reports what it runs every two seconds; it may have died before that.
  if (auto entered = lost.entered.find(lease);
      entered != lost.entered.end() && live.started_at == TimePoint{})
    live.started_at = entered->second;
  return decide_loss(key, live, options, loss_of(lost, lease), lost.words, now, random);
}

std::expected<Plan, Error> decide_cancel(const Task& task, TimePoint now) {
  if (is_terminal(task.state()))
    return std::unexpected(Error(
        Errc::conflict, fmt::format("cancel: the task is already {}", to_string(task.state()))));
  if (!task.live.claimable()) return std::unexpected(handed_over_error("cancel", task));
  Plan plan = plan_for(task.key, task.live, now);
  address(plan, task.options);
  if (task.state() == State::running) {
    plan.next = State::running;
    if (!plan.live.cancel_requested) add_event(plan, event_kind::kCancelRequested);
    plan.live.cancel_requested = true;
  } else {
    plan.next = State::cancelled;
    plan.worker = SessionId{};
    plan.error = {error_kind::kCancelled, "cancelled before it ran", {}};
  }
  return checked(std::move(plan), Event::cancel);
}

std::expected<Plan, Error> decide_retry(const Task& task, std::optional<std::string> edited_input,
                                        TimePoint now) {
  if (!is_terminal(task.state()))
    return std::unexpected(
        Error(Errc::conflict, fmt::format("retry: the task is {}; only completed, failed and "
                                          "cancelled tasks can be retried",
                                          to_string(task.state()))));
  Plan plan = plan_for(task.key, task.live, now);
  plan.next = State::pending;
  Live& live = plan.live;
  live.state = State::pending;
  live.run_at = now;
  leave_running(live);
  live.budget = task.max_attempts == kUnlimitedAttempts ? kUnlimitedAttempts
                                                        : live.charged + task.max_attempts;
  live.snoozes = live.losses = live.deaths = 0;
  live.suspect = false;
  if (edited_input) ++live.edits;
  if (task.options.is_external()) {
    own_externally(live);
    plan.hands_over = true;
  }
  // From now on only the history knows how it had ended.
  plan.events.push_back(
      end_event(task.state(), task.finished_at.value_or(now), plan.attempt, task.error));
  add_event(plan, edited_input ? event_kind::kEditedRetry : event_kind::kRetried);
  plan.edited_input = std::move(edited_input);
  return checked(std::move(plan), Event::retry);
}

std::expected<void, Error> decide_remove(const Task& task) {
  if (!task.live.claimable()) return std::unexpected(handed_over_error("delete", task));
  if (successors(task.state(), Event::remove).empty())
    return std::unexpected(Error(Errc::conflict, "delete: the task is running; cancel it first"));
  return {};
}

Plan decide_promote(TaskKey key, const Live& live, TimePoint now) {
  Plan plan = plan_for(key, live, now);
  plan.next = plan.live.state = State::pending;
  return checked(std::move(plan), Event::promote);
}

Plan decide_expire(TaskKey key, const Live& live, const TaskOptions& options, TimePoint now) {
  Plan plan = plan_for(key, live, now);
  address(plan, options);
  plan.worker = SessionId{};
  end_failed(plan,
             {error_kind::kDeadline,
              fmt::format("its deadline {} passed before it ran", to_rfc3339(*options.deadline)),
              {}});
  return checked(std::move(plan), Event::expire);
}

Plan yield_to_cancel(Plan plan) {
  OPSCORE_ASSERT(plan.yields_to_cancel && plan.expected == State::running, "plan does not yield");
  if (plan.next == State::cancelled && !plan.error.kind.empty()) return plan;
  std::string detail;
  if (!plan.error.kind.empty()) detail = plan.error.kind + ": " + plan.error.message;
  if (!plan.error.detail.empty()) detail += "\n" + plan.error.detail;
  plan.next = State::cancelled;
  plan.error = {error_kind::kCancelled, "cancelled while it ran", std::move(detail)};
  return plan;
}

Duration backoff(const RetryPolicy& policy, int charged, Random& random) {
  double grown = static_cast<double>(policy.min.count()) *
                 std::pow(policy.factor, std::min(std::max(charged - 1, 0), 1000));
  // Nothing times infinity is not a number: a policy that starts at nothing stays there.
  if (policy.min <= Duration(0)) grown = 0;
  double bound = std::min(grown, static_cast<double>(policy.max.count()));
  double jitter = policy.jitter_low + (policy.jitter_high - policy.jitter_low) * random.unit();
  return Duration(std::llround(bound * jitter));
}

Duration attempt_timeout(const TaskOptions& options, TimePoint now) {
  Duration timeout = options.timeout.value_or(limits::kTimeout);
  if (options.deadline) timeout = std::min(timeout, *options.deadline - now);
  return std::max(timeout, Duration(0));
}

}  // namespace opscore
