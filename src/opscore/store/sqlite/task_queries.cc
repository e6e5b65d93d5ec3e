#include <fmt/format.h>

#include "opscore/store/sqlite/task_rows.h"

namespace opscore::sqlite {
namespace {

int to_int(int64_t value) {
  return static_cast<int>(value);
}

std::optional<TimePoint> if_set(TimePoint at) {
  return at == TimePoint{} ? std::nullopt : std::optional(at);
}

ErrorInfo to_error(std::string_view text) {
  return text.empty() ? ErrorInfo{} : decode_error(text);
}

Attempt decode_attempt(const Statement::Rows& rows) {
  Attempt attempt;
  attempt.number = to_int(rows.integer(0));
  attempt.end = static_cast<AttemptEnd>(rows.integer(1));
  attempt.charged = rows.integer(2) != 0;
  attempt.worker = SessionId{rows.integer(3)};
  attempt.claimed_at = rows.time(4);
  attempt.started_at = rows.optional_time(5);
  attempt.ended_at = rows.time(6);
  attempt.error = to_error(rows.text(7));
  return attempt;
}

}  // namespace

LiveRow TaskQueries::decode_live(TaskKey key, const Statement::Rows& rows, int first) {
  LiveRow row;
  row.key = key;
  int column = first;
  row.lane = to_int(rows.integer(column++));
  row.priority = to_int(rows.integer(column++));
  Live& live = row.live;
  live.state = static_cast<State>(rows.integer(column++));
  live.run_at = rows.time(column++);
  live.attempt = to_int(rows.integer(column++));
  live.session = SessionId{rows.integer(column++)};
  live.claimed_at = rows.time(column++);
  live.started_at = rows.time(column++);
  live.charged = to_int(rows.integer(column++));
  live.budget = to_int(rows.integer(column++));
  live.snoozes = to_int(rows.integer(column++));
  live.losses = to_int(rows.integer(column++));
  live.deaths = to_int(rows.integer(column++));
  live.suspect = rows.integer(column++) != 0;
  live.cancel_requested = rows.integer(column++) != 0;
  live.edits = to_int(rows.integer(column++));
  row.deadline = rows.optional_time(column++);
  row.progress = rows.text(column++);
  live.external_until = rows.optional_time(column++);
  return row;
}

std::optional<LiveRow> TaskQueries::live(TaskKey key) {
  auto rows = live_.query(key.value);
  if (!rows.next()) return std::nullopt;
  return decode_live(key, rows, 0);
}

std::optional<OutcomeRow> TaskQueries::outcome(TaskKey key) {
  auto rows = outcome_.query(key.value);
  if (!rows.next()) return std::nullopt;
  OutcomeRow row;
  row.key = key;
  row.state = static_cast<State>(rows.integer(0));
  row.attempt = to_int(rows.integer(1));
  row.charged = to_int(rows.integer(2));
  row.edits = to_int(rows.integer(3));
  if (!rows.is_null(4)) row.ended = static_cast<AttemptEnd>(rows.integer(4));
  row.ended_charged = rows.integer(5) != 0;
  row.session = SessionId{rows.integer(6)};
  row.claimed_at = rows.time(7);
  row.started_at = rows.time(8);
  row.finished_at = rows.time(9);
  row.result = rows.text(10);
  row.error = to_error(rows.text(11));
  return row;
}

std::optional<State> TaskQueries::state(TaskKey key) {
  auto rows = state_.query(key.value);
  if (!rows.next()) return std::nullopt;
  return static_cast<State>(rows.integer(0));
}

std::optional<TaskKeyRow> TaskQueries::unique_key(int kind, std::string_view scope,
                                                  std::string_view key) {
  auto rows = unique_key_.query(kind, scope, key);
  if (!rows.next()) return std::nullopt;
  return TaskKeyRow{TaskKey{rows.integer(0)}, std::string(rows.text(1))};
}

std::optional<LaneId> TaskQueries::lane(TaskKey key) {
  auto rows = lane_.query(key.value);
  if (!rows.next()) return std::nullopt;
  return to_int(rows.integer(0));
}

std::string TaskQueries::options(TaskKey key) {
  auto rows = options_.query(key.value);
  return rows.next() ? std::string(rows.text(0)) : std::string();
}

const Lane& TaskQueries::lane_named(LaneId id) {
  if (const Lane* lane = lanes_.find(id)) return *lane;
  lanes_.load(db_);
  const Lane* lane = lanes_.find(id);
  if (lane == nullptr)
    throw Error(Errc::corrupt,
                fmt::format("lane {} is missing in '{}'; restore a backup", id, db_.path()));
  return *lane;
}

std::string TaskQueries::current_input(TaskKey key, int edits, std::string_view submitted) {
  if (edits == 0) return std::string(submitted);
  auto rows = input_.query(key.value, edits);
  if (!rows.next())
    throw Error(Errc::corrupt, fmt::format("edit {} of the input of task {} is missing in '{}'",
                                           edits, key.value, db_.path()));
  return std::string(rows.text(0));
}

std::optional<Task> TaskQueries::task(TaskKey key) {
  Task task;
  task.key = key;
  std::optional<TimePoint> run_at;
  {
    auto rows = task_.query(key.value);
    if (!rows.next()) return std::nullopt;
    const Lane& lane = lane_named(to_int(rows.integer(0)));
    task.type = lane.type;
    task.queue = lane.queue;
    task.priority = to_int(rows.integer(1));
    run_at = rows.optional_time(2);
    task.max_attempts = to_int(rows.integer(3));
    task.input = rows.text(4);
    task.options = decode_options(rows.text(5));
  }
  task.updated_at = key.created_at();
  if (auto row = live(key)) {
    const int ended = row->live.attempt - (row->live.state == State::running ? 1 : 0);
    fill_unfinished(task, row->live, std::move(row->progress),
                    ended > 0 ? last_ended_attempt(key) : std::nullopt);
  } else if (auto finished = outcome(key)) {
    task.live.run_at = run_at.value_or(key.created_at());
    const bool has_attempts = !finished->ended && finished->attempt > 0;
    fill_finished(task, std::move(*finished),
                  has_attempts ? last_ended_attempt(key) : std::nullopt);
  } else {
    throw Error(Errc::corrupt, fmt::format("task {} has no state in '{}'", key.value, db_.path()));
  }
  if (task.live.edits > 0) task.input = current_input(key, task.live.edits, {});
  return task;
}

std::optional<ClaimedTask> TaskQueries::claimed(TaskKey key, SessionId session) {
  auto rows = claimed_.query(key.value);
  if (!rows.next()) return std::nullopt;
  LiveRow row = decode_live(key, rows, 0);
  if (row.live.state != State::running || row.live.session != session) return std::nullopt;
  const Lane& lane = lane_named(row.lane);
  ClaimedTask task;
  task.key = key;
  task.type = lane.type;
  task.queue = lane.queue;
  task.priority = row.priority;
  task.live = row.live;
  task.input = current_input(key, row.live.edits, rows.text(19));
  if (!rows.is_null(20)) task.options = usable_options(rows.text(20), task.problem);
  return task;
}

std::vector<Attempt> TaskQueries::ended_attempts(TaskKey key) {
  std::vector<Attempt> attempts;
  auto rows = attempts_.query(key.value);
  while (rows.next()) attempts.push_back(decode_attempt(rows));
  return attempts;
}

std::optional<Attempt> TaskQueries::last_ended_attempt(TaskKey key) {
  auto rows = last_attempt_.query(key.value);
  if (!rows.next()) return std::nullopt;
  return decode_attempt(rows);
}

std::vector<Attempt> TaskQueries::attempts(TaskKey key) {
  std::vector<Attempt> attempts = ended_attempts(key);
  if (auto row = live(key)) {
    const Live& live = row->live;
    if (live.state == State::running)
      attempts.push_back({live.attempt,
                          {},
                          false,
                          live.session,
                          live.claimed_at,
                          if_set(live.started_at),
                          {},
                          {}});
  } else if (auto finished = outcome(key); finished && finished->ended) {
    attempts.push_back(finished->final_attempt());
  }
  return attempts;
}

std::vector<TaskEvent> TaskQueries::events(TaskKey key) {
  std::vector<TaskEvent> events;
  auto rows = events_.query(key.value);
  while (rows.next())
    events.push_back({to_int(rows.integer(0)), rows.time(1), std::string(rows.text(2)),
                      to_int(rows.integer(3)), std::string(rows.text(4))});
  return events;
}

std::vector<Step> TaskQueries::steps(TaskKey key) {
  std::vector<Step> steps;
  auto rows = steps_.query(key.value);
  while (rows.next())
    steps.push_back({to_int(rows.integer(0)), std::string(rows.text(1)), std::string(rows.text(2)),
                     std::string(rows.text(3)), std::string(rows.text(4)), to_int(rows.integer(5)),
                     rows.time(6), Duration(rows.integer(7))});
  return steps;
}

std::optional<int> TaskQueries::step_attempt(TaskKey key, int number) {
  auto rows = step_attempt_.query(key.value, number);
  if (!rows.next()) return std::nullopt;
  return to_int(rows.integer(0));
}

std::optional<MessageOrigin> TaskQueries::origin(TaskKey key) {
  auto rows = origin_.query(key.value);
  if (!rows.next()) return std::nullopt;
  return MessageOrigin{std::string(rows.text(0)), std::string(rows.text(1))};
}

std::vector<std::string> TaskQueries::inputs(TaskKey key) {
  std::vector<std::string> inputs;
  {
    auto rows = submitted_.query(key.value);
    if (!rows.next()) return inputs;
    inputs.emplace_back(rows.text(0));
  }
  auto rows = inputs_.query(key.value);
  while (rows.next()) inputs.emplace_back(rows.text(0));
  return inputs;
}

}  // namespace opscore::sqlite
