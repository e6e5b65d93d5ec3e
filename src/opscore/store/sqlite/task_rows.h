#pragma once
// Rows of the tables about tasks, and their columns. Two sets of statements over one connection:
// TaskQueries reads, TaskEdits writes.

#include <optional>
#include <string>
#include <vector>

#include "opscore/model/submit.h"
#include "opscore/store/sqlite/lanes.h"
#include "opscore/store/stored_task.h"

namespace opscore::sqlite {

struct LiveRow {
  TaskKey key;
  LaneId lane = 0;
  int priority = 0;
  Live live;
  std::optional<TimePoint> deadline;
  std::string progress;
};

struct TaskKeyRow {
  TaskKey task;
  std::string hash;
};

class TaskQueries {
 public:
  TaskQueries(Connection& db, Lanes& lanes) : db_(db), lanes_(lanes) {}

  std::optional<LiveRow> live(TaskKey key);
  std::optional<OutcomeRow> outcome(TaskKey key);
  // Of whatever is stored about it; for replays.
  std::optional<State> state(TaskKey key);
  std::optional<TaskKeyRow> unique_key(int kind, std::string_view scope, std::string_view key);
  std::optional<LaneId> lane(TaskKey key);
  std::string options(TaskKey key);

  std::optional<Task> task(TaskKey key);
  // The task whose attempt was just claimed by `session`; nothing when it no longer holds it.
  std::optional<ClaimedTask> claimed(TaskKey key, SessionId session);
  std::vector<Attempt> ended_attempts(TaskKey key);
  std::optional<Attempt> last_ended_attempt(TaskKey key);
  std::vector<Attempt> attempts(TaskKey key);
  std::vector<TaskEvent> events(TaskKey key);
  std::vector<Step> steps(TaskKey key);
  std::vector<std::string> inputs(TaskKey key);
  std::optional<MessageOrigin> origin(TaskKey key);
  // Which attempt recorded a step.
  std::optional<int> step_attempt(TaskKey key, int number);

  // A lane that another process may have added since.
  const Lane& lane_named(LaneId id);
  static LiveRow decode_live(TaskKey key, const Statement::Rows& rows, int first_column);

 private:
  std::string current_input(TaskKey key, int edits, std::string_view submitted);

  Connection& db_;
  Lanes& lanes_;
  Statement live_{db_,
                  "SELECT lane, priority, state, run_at, attempt, session, claimed, started, "
                  "charged, budget, snoozes, losses, deaths, suspect, cancel_requested, edits, "
                  "deadline, progress, external FROM live WHERE key = ?"};
  Statement outcome_{db_,
                     "SELECT state, attempt, charged, edits, ended, ended_charged, session, "
                     "claimed, started, finished, result, error FROM outcomes WHERE key = ?"};
  Statement task_{db_,
                  "SELECT lane, priority, run_at, max_attempts, input, options FROM tasks "
                  "WHERE key = ?"};
  Statement state_{db_,
                   "SELECT state FROM live WHERE key = ?1 UNION ALL "
                   "SELECT state FROM outcomes WHERE key = ?1"};
  Statement lane_{db_, "SELECT lane FROM tasks WHERE key = ?"};
  Statement options_{db_, "SELECT options FROM tasks WHERE key = ?"};
  Statement claimed_{
      db_,
      "SELECT l.lane, l.priority, l.state, l.run_at, l.attempt, l.session, l.claimed, l.started, "
      "l.charged, l.budget, l.snoozes, l.losses, l.deaths, l.suspect, l.cancel_requested, l.edits, "
      "l.deadline, NULL, NULL, t.input, t.options FROM live l JOIN tasks t ON t.key = l.key "
      "WHERE l.key = ?"};
  Statement unique_key_{db_,
                        "SELECT task, hash FROM keys WHERE kind = ? AND scope = ? AND key = ?"};
  Statement attempts_{db_,
                      "SELECT attempt, ended, charged, session, claimed, started, finished, error "
                      "FROM attempts WHERE key = ? ORDER BY attempt"};
  Statement last_attempt_{
      db_,
      "SELECT attempt, ended, charged, session, claimed, started, finished, error "
      "FROM attempts WHERE key = ? ORDER BY attempt DESC LIMIT 1"};
  Statement events_{db_,
                    "SELECT number, at, kind, attempt, data FROM events WHERE key = ? "
                    "ORDER BY number"};
  Statement steps_{db_,
                   "SELECT number, kind, name, request, response, attempt, at, took FROM steps "
                   "WHERE key = ? ORDER BY number"};
  Statement step_attempt_{db_, "SELECT attempt FROM steps WHERE key = ? AND number = ?"};
  Statement input_{db_, "SELECT input FROM inputs WHERE key = ? AND edit = ?"};
  Statement inputs_{db_, "SELECT input FROM inputs WHERE key = ? ORDER BY edit"};
  Statement origin_{db_, "SELECT message_id, body FROM origins WHERE key = ?"};
  Statement submitted_{db_, "SELECT input FROM tasks WHERE key = ?"};
};

class TaskEdits {
 public:
  explicit TaskEdits(Connection& db) : db_(db) {}

  void insert_task(TaskKey key, LaneId lane, const TaskSpec& spec);
  void insert_unique_key(int kind, std::string_view scope, std::string_view key, TaskKey task,
                         std::string_view hash);
  void insert_origin(TaskKey key, std::string_view message_id, std::string_view body);

  void insert_live(const LiveRow& row);
  void update_live(const LiveRow& row);
  // Makes it running; false when it is not in `from` with that run_at any more.
  bool claim_live(TaskKey key, State from, int64_t run_at, SessionId session, TimePoint now);
  bool promote_live(TaskKey key, int64_t run_at);
  void request_cancel(TaskKey key);
  bool start_live(TaskKey key, int attempt, TimePoint started_at);
  bool set_progress(const Lease& lease, std::string_view progress);
  bool extend_external(const Lease& lease, TimePoint until);
  bool delete_live(TaskKey key);
  bool delete_running(const Lease& lease);

  // The row's texts are not copied until the statement has run.
  struct NewOutcome {
    TaskKey key;
    State state;
    int attempt, charged, edits;
    std::optional<AttemptEnd> ended;
    bool ended_charged;
    SessionId session;
    TimePoint claimed_at, started_at, finished_at;
    std::optional<std::string_view> result, error;
  };
  void insert_outcome(const NewOutcome& row);
  void delete_outcome(TaskKey key);
  void insert_attempt(TaskKey key, const Attempt& attempt);
  void append_event(TaskKey key, const TaskEvent& event);
  void insert_step(TaskKey key, int attempt, const Step& step);
  void insert_input(TaskKey key, int edit, std::string_view input);
  // The task and all that belongs to it.
  void delete_task(TaskKey key);

 private:
  Connection& db_;
  Statement insert_task_{db_,
                         "INSERT INTO tasks(key, lane, priority, run_at, max_attempts, input, "
                         "options) VALUES(?, ?, ?, ?, ?, ?, ?)"};
  Statement insert_key_{db_,
                        "INSERT INTO keys(kind, scope, key, task, hash) VALUES(?, ?, ?, ?, ?)"};
  Statement insert_origin_{db_, "INSERT INTO origins(key, message_id, body) VALUES(?, ?, ?)"};
  Statement insert_live_{
      db_,
      "INSERT INTO live(key, lane, priority, state, run_at, attempt, session, claimed, started, "
      "charged, budget, snoozes, losses, deaths, suspect, cancel_requested, edits, deadline, "
      "external) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"};
  Statement update_live_{
      db_,
      "UPDATE live SET state = ?2, run_at = ?3, attempt = ?4, session = ?5, claimed = ?6, "
      "started = ?7, charged = ?8, budget = ?9, snoozes = ?10, losses = ?11, deaths = ?12, "
      "suspect = ?13, cancel_requested = ?14, edits = ?15, progress = NULL, external = ?16 "
      "WHERE key = ?1"};
  Statement claim_live_{db_,
                        "UPDATE live SET state = 3, attempt = attempt + 1, session = ?4, "
                        "claimed = ?5 WHERE key = ?1 AND state = ?2 AND run_at = ?3"};
  Statement promote_live_{db_,
                          "UPDATE live SET state = 2 WHERE key = ? AND state = 0 AND run_at = ?"};
  Statement request_cancel_{db_, "UPDATE live SET cancel_requested = 1 WHERE key = ?"};
  Statement start_live_{
      db_, "UPDATE live SET started = ?3 WHERE key = ?1 AND attempt = ?2 AND started IS NULL"};
  Statement set_progress_{
      db_, "UPDATE live SET progress = ?3 WHERE key = ?1 AND attempt = ?2 AND state = 3"};
  Statement extend_external_{
      db_,
      "UPDATE live SET external = ?3 WHERE key = ?1 AND attempt = ?2 AND external IS NOT NULL"};
  Statement delete_live_{db_, "DELETE FROM live WHERE key = ?"};
  Statement delete_running_{db_, "DELETE FROM live WHERE key = ? AND attempt = ? AND state = 3"};
  Statement insert_outcome_{
      db_,
      "INSERT INTO outcomes(key, state, attempt, charged, edits, ended, ended_charged, session, "
      "claimed, started, finished, result, error) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"};
  Statement delete_outcome_{db_, "DELETE FROM outcomes WHERE key = ?"};
  Statement insert_attempt_{
      db_,
      "INSERT INTO attempts(key, attempt, ended, charged, session, claimed, started, finished, "
      "error) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"};
  Statement insert_event_{
      db_,
      "INSERT INTO events(key, number, at, kind, attempt, data) "
      "SELECT ?1, ifnull(max(number), 0) + 1, ?2, ?3, ?4, ?5 FROM events WHERE key = ?1"};
  Statement insert_step_{
      db_,
      "INSERT INTO steps(key, number, kind, name, request, response, attempt, at, took) "
      "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"};
  Statement insert_input_{db_, "INSERT INTO inputs(key, edit, input) VALUES(?, ?, ?)"};
  Statement delete_task_{db_, "DELETE FROM tasks WHERE key = ?"};
  Statement delete_attempts_{db_, "DELETE FROM attempts WHERE key = ?"};
  Statement delete_events_{db_, "DELETE FROM events WHERE key = ?"};
  Statement delete_steps_{db_, "DELETE FROM steps WHERE key = ?"};
  Statement delete_inputs_{db_, "DELETE FROM inputs WHERE key = ?"};
  Statement delete_origin_{db_, "DELETE FROM origins WHERE key = ?"};
  Statement delete_keys_{db_, "DELETE FROM keys WHERE task = ?"};
};

}  // namespace opscore::sqlite
