#include "opscore/model/report.h"

#include <algorithm>

#include "opscore/model/decide.h"
#include "opscore/model/error_kind.h"
#include "opscore/model/handover.h"
#include "opscore/model/limits.h"
#include "opscore/model/stored_json.h"
#include "opscore/model/webhook.h"

namespace opscore {
namespace {

// A later attempt than the one on record: the message came again after an end that was final here.
Plan reopen(const Task& task, TimePoint at) {
  Plan plan = decide_retry(task, std::nullopt, at).value();
  plan.hands_over = false;  // it is there already
  plan.events.push_back({0, at, event_kind::kSentBack, plan.attempt, {}});
  return plan;
}

// The end of the attempt before was not reported.
Plan lose_attempt(const Task& task, TimePoint at) {
  Plan plan = plan_for(task.key, task.live, at);
  plan.ended = AttemptEnd::lost;
  plan.error = {error_kind::kWorkerLost, "its end was not reported, and a later attempt was", {}};
  run_again(plan, Duration(0));
  return plan;
}

Plan start(const Task& task, const Report& report, TimePoint at) {
  Plan plan = plan_for(task.key, task.live, at);
  plan.next = State::running;
  Live& live = plan.live;
  live.state = State::running;
  live.attempt = report.attempt;
  live.session = SessionId{};
  live.claimed_at = live.started_at = at;
  live.external_until = report.at + limits::kExternalDoubt;
  ObjectWriter data;
  data.text("worker", report.worker);
  plan.events.push_back({0, at, event_kind::kPickedUp, report.attempt, data.take()});
  return plan;
}

Plan end(const Task& task, const Report& report) {
  Plan plan = plan_for(task.key, task.live, report.at);
  plan.receiver = receiver_of(task.options);
  plan.charged = true;
  ++plan.live.charged;
  if (report.kind != Report::Kind::completed) plan.error = report.error;
  switch (report.kind) {
    case Report::Kind::completed:
      plan.ended = AttemptEnd::completed;
      plan.next = State::completed;
      plan.result = report.result;
      break;
    case Report::Kind::retrying:
      plan.ended = AttemptEnd::error;
      run_again(plan, std::max(report.next_at - report.at, Duration(0)));
      break;
    case Report::Kind::skipped:
      plan.ended = AttemptEnd::cancelled;
      plan.next = State::cancelled;
      break;
    default:
      plan.ended = AttemptEnd::fatal;
      plan.next = State::failed;
  }
  return plan;
}

// Whether the end that is reported is the one that the task has.
bool is_known(const Task& task, Report::Kind kind) {
  switch (kind) {
    case Report::Kind::running:
      return true;
    case Report::Kind::completed:
      return task.state() == State::completed;
    case Report::Kind::retrying:
      return task.state() == State::scheduled || task.state() == State::pending;
    case Report::Kind::failed:
      return task.state() == State::failed;
    case Report::Kind::skipped:
      return task.state() == State::cancelled;
  }
  return false;
}

}  // namespace

Mirrored decide_report(const Task& task, const Report& report) {
  Mirrored mirrored;
  const bool running = task.state() == State::running;
  if (report.attempt < task.live.attempt) return {Heard::too_old, {}};
  if (report.attempt == task.live.attempt && !running)
    return {is_known(task, report.kind) ? Heard::known : Heard::too_old, {}};
  Task now = task;
  auto add = [&](Plan plan) {
    follow(now, plan);
    mirrored.plans.push_back(std::move(plan));
  };
  if (report.attempt > task.live.attempt) {
    const TimePoint began = report.started_at.value_or(report.at);
    if (is_terminal(task.state())) add(reopen(now, began));
    if (running) add(lose_attempt(now, began));
    add(start(now, report, began));
  }
  if (report.kind != Report::Kind::running) add(end(now, report));
  mirrored.heard = mirrored.plans.empty() ? Heard::known : Heard::news;
  return mirrored;
}

Plan decide_outcome_unknown(const Task& task, const std::string& words, TimePoint now) {
  Plan plan = plan_for(task.key, task.live, now);
  plan.receiver = receiver_of(task.options);
  plan.next = State::failed;
  if (task.state() == State::running) plan.ended = AttemptEnd::lost;
  plan.error = {error_kind::kOutcomeUnknown, words, {}};
  return plan;
}

void follow(Task& task, const Plan& plan) {
  if (!is_terminal(plan.next)) {
    task.live = plan.live;
    task.finished_at.reset();
    return;
  }
  task.live.state = plan.next;
  task.live.charged = plan.live.charged;
  task.live.edits = plan.live.edits;
  task.live.external_until.reset();
  task.finished_at = plan.at;
  task.error = plan.error;
}

}  // namespace opscore
