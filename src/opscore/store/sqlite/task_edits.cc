#include "opscore/store/sqlite/task_rows.h"

namespace opscore::sqlite {
namespace {

std::optional<int64_t> or_null(SessionId session) {
  return session ? std::optional(session.value) : std::nullopt;
}

}  // namespace

void TaskEdits::insert_task(TaskKey key, LaneId lane, const TaskSpec& spec) {
  std::string options = spec.options.empty() ? std::string() : encode_options(spec.options);
  insert_task_.run(key.value, lane, spec.priority, sqlite::or_null(spec.run_at), spec.max_attempts,
                   spec.input, sqlite::or_null(std::string_view(options)));
}

void TaskEdits::insert_unique_key(int kind, std::string_view scope, std::string_view key,
                                  TaskKey task, std::string_view hash) {
  insert_key_.run(kind, scope, key, task.value, Blob{hash});
}

void TaskEdits::insert_origin(TaskKey key, std::string_view message_id, std::string_view body) {
  insert_origin_.run(key.value, message_id, Blob{body});
}

void TaskEdits::insert_live(const LiveRow& row) {
  const Live& live = row.live;
  insert_live_.run(row.key.value, row.lane, row.priority, live.state, live.run_at, live.attempt,
                   or_null(live.session), sqlite::or_null(live.claimed_at),
                   sqlite::or_null(live.started_at), live.charged, live.budget, live.snoozes,
                   live.losses, live.deaths, live.suspect, live.cancel_requested, live.edits,
                   sqlite::or_null(row.deadline), sqlite::or_null(live.external_until));
}

void TaskEdits::update_live(const LiveRow& row) {
  const Live& live = row.live;
  update_live_.run(row.key.value, live.state, live.run_at, live.attempt, or_null(live.session),
                   sqlite::or_null(live.claimed_at), sqlite::or_null(live.started_at), live.charged,
                   live.budget, live.snoozes, live.losses, live.deaths, live.suspect,
                   live.cancel_requested, live.edits, sqlite::or_null(live.external_until));
}

bool TaskEdits::claim_live(TaskKey key, State from, int64_t run_at, SessionId session,
                           TimePoint now) {
  return claim_live_.run(key.value, from, run_at, session.value, now) == 1;
}

bool TaskEdits::promote_live(TaskKey key, int64_t run_at) {
  return promote_live_.run(key.value, run_at) == 1;
}

void TaskEdits::request_cancel(TaskKey key) {
  request_cancel_.run(key.value);
}

bool TaskEdits::start_live(TaskKey key, int attempt, TimePoint started_at) {
  return start_live_.run(key.value, attempt, started_at) == 1;
}

bool TaskEdits::set_progress(const Lease& lease, std::string_view progress) {
  return set_progress_.run(lease.key.value, lease.attempt, progress) == 1;
}

bool TaskEdits::extend_external(const Lease& lease, TimePoint until) {
  return extend_external_.run(lease.key.value, lease.attempt, until) == 1;
}

bool TaskEdits::delete_live(TaskKey key) {
  return delete_live_.run(key.value) == 1;
}

bool TaskEdits::delete_running(const Lease& lease) {
  return delete_running_.run(lease.key.value, lease.attempt) == 1;
}

void TaskEdits::insert_outcome(const NewOutcome& row) {
  insert_outcome_.run(row.key.value, row.state, row.attempt, row.charged, row.edits, row.ended,
                      row.ended ? std::optional<int64_t>(row.ended_charged) : std::nullopt,
                      row.ended ? or_null(row.session) : std::nullopt,
                      sqlite::or_null(row.claimed_at), sqlite::or_null(row.started_at),
                      row.finished_at, row.result, row.error);
}

void TaskEdits::delete_outcome(TaskKey key) {
  delete_outcome_.run(key.value);
}

void TaskEdits::insert_attempt(TaskKey key, const Attempt& attempt) {
  std::string error = attempt.error == ErrorInfo{} ? std::string() : encode_error(attempt.error);
  insert_attempt_.run(key.value, attempt.number, *attempt.end, attempt.charged,
                      or_null(attempt.worker), sqlite::or_null(attempt.claimed_at),
                      sqlite::or_null(attempt.started_at), *attempt.ended_at,
                      sqlite::or_null(std::string_view(error)));
}

void TaskEdits::append_event(TaskKey key, const TaskEvent& event) {
  insert_event_.run(key.value, event.at, event.kind, event.attempt,
                    sqlite::or_null(std::string_view(event.data)));
}

void TaskEdits::insert_step(TaskKey key, int attempt, const Step& step) {
  insert_step_.run(key.value, step.number, step.kind, step.name, step.request, step.response,
                   attempt, step.at, step.took.count());
}

void TaskEdits::insert_input(TaskKey key, int edit, std::string_view input) {
  insert_input_.run(key.value, edit, input);
}

void TaskEdits::delete_task(TaskKey key) {
  for (Statement* statement :
       {&delete_task_, &delete_live_, &delete_outcome_, &delete_attempts_, &delete_events_,
        &delete_steps_, &delete_inputs_, &delete_origin_, &delete_keys_})
    statement->run(key.value);
}

}  // namespace opscore::sqlite
