// What maintenance, operators and running attempts ask for, each in a transaction of its own.

#include "opscore/model/decide.h"
#include "opscore/store/postgres/settings_rows.h"
#include "opscore/store/postgres/step_back.h"
#include "opscore/store/postgres/task_images.h"

namespace opscore::postgres {
namespace {

constexpr Statement kPromote{
    "promote",
    "WITH due AS MATERIALIZED (SELECT c.key FROM unnest($1::bigint[]) s(lane) CROSS JOIN LATERAL ("
    "SELECT l.key, l.run_at FROM live l WHERE l.lane = s.lane AND l.later AND l.run_at <= "
    "$2::bigint "
    "AND l.state + 0 = 0 ORDER BY l.run_at LIMIT $3::bigint) c ORDER BY c.run_at LIMIT $3::bigint) "
    "UPDATE live l SET state = 2, later = false WHERE l.key = ANY(ARRAY(SELECT key FROM due)) "
    "AND l.state + 0 = 0 RETURNING l.lane, l.place, l.external"};
constexpr Statement kNextDue{
    "next_scheduled",
    "SELECT min(c.run_at) FROM unnest($1::bigint[]) s(lane) CROSS JOIN LATERAL (SELECT l.run_at "
    "FROM live l WHERE l.lane = s.lane AND l.later AND l.state + 0 = 0 ORDER BY l.run_at LIMIT 1) "
    "c"};
constexpr Statement kOverdue{"overdue",
                             "SELECT key FROM live WHERE deadline <= $1::bigint AND state + 0 <> 3 "
                             "ORDER BY key LIMIT $2::bigint"};
constexpr Statement kHoldSession{
    "hold_session_alone",
    "SELECT pg_advisory_xact_lock(hashtext(current_schema || ':session'), $1::bigint::int)"};
constexpr Statement kEndSession{"end_session",
                                "UPDATE sessions SET ended = $2::bigint, last_words = $3::text "
                                "WHERE id = $1::bigint AND ended IS NULL RETURNING id"};
constexpr Statement kForgetCommands{"forget_commands",
                                    "DELETE FROM commands WHERE session = $1::bigint"};
constexpr Statement kHeld{"held_by_session",
                          "SELECT key FROM live WHERE session = $1::bigint AND state + 0 = 3"};
constexpr Statement kProgress{"record_progress",
                              "UPDATE live SET progress = $3::text WHERE key = $1::bigint AND "
                              "attempt = $2::bigint AND state + 0 = 3 RETURNING key"};
constexpr Statement kStepAttempt{"step_attempt",
                                 "SELECT attempt FROM steps WHERE key = $1::bigint AND "
                                 "number = $2::bigint"};
constexpr Statement kInsertStep{
    "insert_step",
    "INSERT INTO steps VALUES($1::bigint, $2::bigint, $3::text, $4::text, $5::text, $6::text, "
    "$7::bigint, $8::bigint, $9::bigint)"};
constexpr Statement kHoldSettings{
    "hold_settings", "SELECT pg_advisory_xact_lock(hashtext(current_schema || ':settings'), 0)"};
constexpr Statement kLiveSessions{"live_sessions", "SELECT id FROM sessions WHERE ended IS NULL"};
constexpr Statement kDueCount{
    "due_of_queue",
    "SELECT count(*) FROM live WHERE lane = ANY($1::bigint[]) AND "
    "external IS NULL AND (state + 0 = 2 OR (state + 0 = 0 AND run_at <= $2::bigint))"};

std::vector<TaskKey> keys_in(const Rows& rows) {
  std::vector<TaskKey> keys;
  for (int i = 0; i < rows.size(); ++i) keys.push_back(TaskKey{rows.integer(i, 0)});
  return keys;
}

Array lanes_of(const std::vector<Lane>& lanes) {
  Array ids = Array::numbers();
  for (const Lane& lane : lanes) ids.add(lane.id);
  return ids;
}

}  // namespace

PostgresTasks::PostgresTasks(Parts& parts)
    : parts_(parts),
      inserting_(make_inserting(parts)),
      completing_(make_completing(parts)),
      changing_(make_changing(parts)),
      step_back_(std::make_unique<StepBack>(parts)) {}

PostgresTasks::~PostgresTasks() = default;

Promoted PostgresTasks::promote(size_t limit) {
  if (step_back_->mend(limit) == limit) return {limit, {}};  // there may be more
  Promoted promoted;
  parts_.writers.run("promote", [&](Transaction& transaction) {
    promoted = {};
    parts_.lanes.load(transaction.outside());
    Array lanes = lanes_of(parts_.lanes.all());
    Rows rows = transaction.query(
        kPromote, Parameters::of(lanes, transaction.now(), static_cast<int64_t>(limit)));
    for (int i = 0; i < rows.size(); ++i) {
      Live live;
      live.external_until = rows.optional_time(i, 2);
      transaction.note_queue(parts_.lanes.lane(transaction, rows.integer(i, 0)).queue, live,
                             rows.integer(i, 1));
    }
    promoted.tasks = static_cast<size_t>(rows.size());
    Rows next = transaction.query(kNextDue, Parameters::of(lanes));
    promoted.next_due_at = next.optional_time(0, 0);
  });
  return promoted;
}

size_t PostgresTasks::expire(size_t limit) {
  size_t expired = 0;
  parts_.writers.run("expire", [&](Transaction& transaction) {
    expired = 0;
    TimePoint now = transaction.now();
    auto keys =
        keys_in(transaction.query(kOverdue, Parameters::of(now, static_cast<int64_t>(limit))));
    if (keys.empty()) return;
    TaskImages images(parts_, transaction);
    images.load(keys);
    for (TaskKey key : keys) {
      const LiveRow* row = images.live(key);
      if (row == nullptr || !row->deadline || successors(row->live.state, Event::expire).empty())
        continue;
      Plan plan = decide_expire(key, row->live, images.options(key), now);
      if (images.apply(plan) == Applied::applied) ++expired;
    }
    images.write();
  });
  return expired;
}

size_t PostgresTasks::rescue(const LostSession& lost) {
  size_t ended = 0;
  parts_.writers.run("rescue", [&](Transaction& transaction) {
    TimePoint now = transaction.now();
    transaction.send(kHoldSession, Parameters::of(lost.session));
    size_t end = transaction.send(kEndSession, Parameters::of(lost.session, now, lost.words));
    transaction.send(kForgetCommands, Parameters::of(lost.session));
    size_t held = transaction.send(kHeld, Parameters::of(lost.session));
    transaction.flush();
    if (transaction.rows(end).size() == 1) transaction.note_session(lost.session);
    auto keys = keys_in(transaction.rows(held));
    ended = 0;
    if (keys.empty()) return;
    TaskImages images(parts_, transaction);
    images.load(keys);
    for (TaskKey key : keys) {
      const LiveRow* row = images.live(key);  // it may have finished since
      if (row == nullptr || row->live.state != State::running || row->live.session != lost.session)
        continue;
      images.apply(decide_rescue(key, row->live, images.options(key), lost, now, parts_.random));
      ++ended;
    }
    images.write();
  });
  return ended;
}

void PostgresTasks::record_progress(std::vector<ProgressUpdate> updates) {
  if (updates.empty()) return;
  parts_.writers.run("record progress", [&](Transaction& transaction) {
    std::vector<size_t> answers;
    for (const ProgressUpdate& update : updates)
      answers.push_back(transaction.send(
          kProgress, Parameters::of(update.lease.key, int64_t{update.lease.attempt},
                                    or_null(update.progress))));
    transaction.flush();
    for (size_t i = 0; i < updates.size(); ++i)
      if (transaction.rows(answers[i]).size() == 1) transaction.note_task(updates[i].lease.key);
  });
}

Applied PostgresTasks::append_step(const Lease& lease, const Step& step) {
  Applied applied = Applied::lease_lost;
  parts_.writers.run("append a step", [&](Transaction& transaction) {
    applied = Applied::lease_lost;
    TaskImages images(parts_, transaction);
    images.load({lease.key});
    const LiveRow* row = images.live(lease.key);
    if (row == nullptr || row->live.state != State::running || row->live.attempt != lease.attempt)
      return;
    Rows taken = transaction.query(kStepAttempt, Parameters::of(lease.key, int64_t{step.number}));
    if (taken.size() == 1) {
      if (taken.integer(0, 0) == lease.attempt) applied = Applied::already_applied;
      return;
    }
    transaction.send(
        kInsertStep,
        Parameters::of(lease.key, int64_t{step.number}, step.kind, step.name, step.request,
                       step.response, int64_t{lease.attempt}, step.at, int64_t{step.took.count()}));
    applied = Applied::applied;
  });
  return applied;
}

size_t PostgresTasks::remove(std::span<const TaskKey> keys) {
  size_t removed = 0;
  if (keys.empty()) return 0;
  parts_.writers.run("remove", [&](Transaction& transaction) {
    removed = 0;
    TaskImages images(parts_, transaction);
    images.load({keys.begin(), keys.end()});
    for (TaskKey key : keys) removed += images.erase(key);
    images.write();
  });
  return removed;
}

void PostgresTasks::change_settings(const std::function<void(Settings&)>& change) {
  parts_.writers.run("change settings", [&](Transaction& transaction) {
    parts_.lanes.load(transaction.outside());
    transaction.query(kHoldSettings);
    const Settings before = decode_settings(transaction.query(settings_statement())).settings;
    Settings next = before;
    change(next);
    next.forget_defaults();
    if (next == before) return;
    save_settings(transaction, next);
    for (const std::string& queue : next.changed_queues(before)) {
      if (next.of_queue(queue).paused) continue;
      Rows due = transaction.query(
          kDueCount, Parameters::of(lanes_of(parts_.lanes.of_queue(queue)), transaction.now()));
      transaction.note_due(queue, static_cast<size_t>(due.integer(0, 0)));
    }
    if (next.actor_concurrency == before.actor_concurrency) return;
    Rows sessions = transaction.query(kLiveSessions);
    for (int i = 0; i < sessions.size(); ++i)
      transaction.note_session(SessionId{sessions.integer(i, 0)});
  });
}

}  // namespace opscore::postgres
