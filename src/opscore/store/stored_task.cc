#include "opscore/store/stored_task.h"

namespace opscore {
namespace {

std::optional<TimePoint> if_set(TimePoint at) {
  return at == TimePoint{} ? std::nullopt : std::optional(at);
}

// Whether and how long a task has run, as far as its last attempt says.
void fill_last_attempt(Task& task, const Attempt& last) {
  task.worker = last.worker;
  task.started_at = last.started_at;
  task.updated_at = last.ended_at.value_or(last.started_at.value_or(last.claimed_at));
}

}  // namespace

OutcomeRow OutcomeRow::of(const Plan& plan) {
  OutcomeRow row;
  row.key = plan.key;
  row.state = plan.next;
  row.attempt = plan.attempt;
  row.charged = plan.live.charged;
  row.edits = plan.live.edits;
  row.ended = plan.ended;
  row.ended_charged = plan.charged;
  row.session = plan.worker;
  row.claimed_at = plan.claimed_at;
  row.started_at = plan.started_at;
  row.finished_at = plan.at;
  row.result = plan.result;
  row.error = plan.next == State::completed ? ErrorInfo{} : plan.error;
  return row;
}

Attempt OutcomeRow::final_attempt() const {
  return {attempt,     ended, ended_charged, session, claimed_at, if_set(started_at),
          finished_at, error};
}

void fill_unfinished(Task& task, const Live& live, std::string progress,
                     const std::optional<Attempt>& last) {
  task.live = live;
  task.progress = std::move(progress);
  if (last) {
    fill_last_attempt(task, *last);
    task.error = last->error;
  }
  if (live.state != State::running) return;
  task.worker = live.session;
  task.started_at = if_set(live.started_at);
  task.updated_at = task.started_at.value_or(live.claimed_at);
}

void fill_finished(Task& task, OutcomeRow row, const std::optional<Attempt>& last) {
  task.live.state = row.state;
  task.live.attempt = row.attempt;
  task.live.charged = row.charged;
  task.live.edits = row.edits;
  if (row.ended)
    fill_last_attempt(task, row.final_attempt());
  else if (last)
    fill_last_attempt(task, *last);
  task.finished_at = task.updated_at = row.finished_at;
  task.result = std::move(row.result);
  task.error = std::move(row.error);
}

}  // namespace opscore
