#include "opscore/model/decide.h"
#include "opscore/store/sqlite/sqlite_parts.h"

namespace opscore::sqlite {
namespace {

using Kind = Committer::Kind;

void end_session(WriteSide& side, const LostSession& lost, TimePoint now) {
  if (!side.alive(lost.session)) return;
  Statement end(side.db, "UPDATE sessions SET ended = ?, last_words = ? WHERE id = ?");
  end.run(now, lost.words, lost.session.value);
  Statement forget(side.db, "DELETE FROM commands WHERE session = ?");
  forget.run(lost.session.value);
  side.session_ended(lost.session);
  side.note_session(lost.session);
}

// Giving a task back must not depend on what its submitter asked for.
TaskOptions options_of(WriteSide& side, TaskKey key) {
  std::string problem;
  TaskOptions options = usable_options(side.queries.options(key), problem);
  if (!problem.empty())
    side.log.error("task {} in '{}' is damaged: {}", key.value, side.db.path(), problem);
  return options;
}

// A few are read where they were just written, which is sooner than on a connection that has to
// look at the file anew.
constexpr size_t kReadAtOnce = 4;

void read_claimed(TaskQueries& queries, const Claims& claims, const ClaimRequest& request,
                  ClaimResult& result) {
  result.tasks.reserve(claims.keys.size());
  for (TaskKey key : claims.keys)
    if (auto task = queries.claimed(key, request.session)) result.tasks.push_back(std::move(*task));
}

void promote(WriteSide& side, TaskKey key, int64_t run_at, QueueId queue, Promoted& promoted) {
  if (!side.edits.promote_live(key, run_at)) return;
  side.tally.add(queue, State::scheduled, -1);
  side.tally.add(queue, State::pending);
  ++promoted.tasks;
}

// What is run outside is in no list of ours, and its time is nobody's news.
void promote_external(WriteSide& side, size_t limit, Promoted& promoted) {
  Statement scheduled(side.db,
                      "SELECT key, lane, run_at FROM live INDEXED BY live_external_later WHERE "
                      "external IS NOT NULL AND state = 0 ORDER BY run_at LIMIT ?");
  struct Row {
    TaskKey key;
    LaneId lane;
    TimePoint run_at;
  };
  std::vector<Row> found;
  auto rows = scheduled.query(limit + 1);
  while (rows.next())
    found.push_back({TaskKey{rows.integer(0)}, static_cast<LaneId>(rows.integer(1)), rows.time(2)});
  for (const Row& row : found) {
    if (row.run_at > side.clock.now() || promoted.tasks == limit) {
      promoted.next_due_at = row.run_at;
      return;
    }
    promote(side, row.key, to_ms(row.run_at), side.queries.lane_named(row.lane).queue_id, promoted);
  }
}

void promote_ready(WriteSide& side, size_t limit, Promoted& promoted) {
  side.ready.advance_all(side.clock.now());
  // Of those that became due, some may have been claimed, cancelled or moved since.
  auto still_scheduled = [&](const ReadyList::Due& due) {
    auto row = side.queries.live(due.entry.key);
    return row && row->live.state == State::scheduled &&
           to_ms(row->live.run_at) == due.entry.run_at;
  };
  while (const ReadyList::Due* next = side.ready.next_unpromoted()) {
    if (promoted.tasks == limit) {
      if (still_scheduled(*next)) break;
      side.ready.take_unpromoted();
      continue;
    }
    ReadyList::Due due = side.ready.take_unpromoted();
    QueueId queue = side.queries.lane_named(due.lane).queue_id;
    const size_t before = promoted.tasks;
    promote(side, due.entry.key, due.entry.run_at, queue, promoted);
    if (promoted.tasks > before) side.note_queue(queue, 1);
  }
  const ReadyList::Due* left = side.ready.next_unpromoted();
  auto next =
      left != nullptr ? std::optional(from_ms(left->entry.run_at)) : side.ready.next_due_at();
  if (next) promoted.next_due_at = std::min(promoted.next_due_at.value_or(*next), *next);
}

}  // namespace

ClaimResult SqliteTasks::claim(const ClaimRequest& request) {
  size_t items = 0;
  for (const auto& from : request.queues) items += from.max;
  Claims claims;
  ClaimResult result;
  auto take = [&](WriteSide& side) {
    claims = claim_due(side, request);
    result.tasks.clear();
    if (claims.keys.size() <= kReadAtOnce) read_claimed(side.queries, claims, request, result);
    return !claims.keys.empty() || side.has_work_news();
  };
  if (request.patience > Duration(0))
    parts_.write_when("claim", take, Deadline::after(request.patience));
  else
    parts_.write("claim", items, Kind::ends_work, [&](WriteSide& side) { take(side); });
  result.skipped_types = std::move(claims.skipped_types);
  result.more = claims.more;
  result.next_due_at = claims.next_due_at;
  // Many are read here and not within the transaction, so that both cores have work.
  if (claims.keys.size() > kReadAtOnce)
    read_claimed(parts_.readers.borrow()->queries, claims, request, result);
  return result;
}

std::vector<Applied> SqliteTasks::apply(std::vector<Plan> plans) {
  std::vector<Applied> results;
  parts_.write("apply", plans.size(), Kind::ends_work, [&](WriteSide& side) {
    results.clear();
    for (const Plan& plan : plans) results.push_back(side.apply(plan));
  });
  return results;
}

Promoted SqliteTasks::promote(size_t limit) {
  Promoted promoted;
  parts_.write("promote", limit, Kind::ends_work, [&](WriteSide& side) {
    promoted = {};
    promote_external(side, limit, promoted);
    promote_ready(side, limit, promoted);
  });
  return promoted;
}

size_t SqliteTasks::expire(size_t limit) {
  size_t expired = 0;
  TimePoint now = parts_.clock.now();
  std::vector<TaskKey> keys;
  {
    auto reader = parts_.readers.borrow();
    Statement overdue(reader->db,
                      "SELECT key FROM live INDEXED BY live_deadline WHERE deadline <= ? AND state "
                      "<> 3 ORDER BY key LIMIT ?");
    auto rows = overdue.query(now, limit);
    while (rows.next()) keys.push_back(TaskKey{rows.integer(0)});
  }
  if (keys.empty()) return 0;
  parts_.write("expire", keys.size(), Kind::ends_work, [&](WriteSide& side) {
    expired = 0;
    for (TaskKey key : keys) {
      auto row = side.queries.live(key);
      if (!row || !row->deadline || successors(row->live.state, Event::expire).empty()) continue;
      TaskOptions options = options_of(side, key);
      Plan plan = decide_expire(key, row->live, options, now);
      if (side.apply(plan) == Applied::applied) ++expired;
    }
  });
  return expired;
}

size_t SqliteTasks::rescue(const LostSession& lost) {
  size_t ended = 0;
  parts_.write("rescue", 1, Kind::ends_work, [&](WriteSide& side) {
    TimePoint now = side.clock.now();
    end_session(side, lost, now);
    auto held = side.running.held_by(lost.session);
    if (!lost.session) held.clear();  // what nobody here holds, somebody outside runs
    for (const auto& [key, running] : held) {
      Live live = side.queries.live(key).value().live;
      TaskOptions options = options_of(side, key);
      side.apply(decide_rescue(key, live, options, lost, now, side.random));
    }
    ended = held.size();
  });
  return ended;
}

void SqliteTasks::record_progress(std::vector<ProgressUpdate> updates) {
  parts_.write("record progress", updates.size(), Kind::ends_work, [&](WriteSide& side) {
    for (const ProgressUpdate& update : updates)
      if (side.edits.set_progress(update.lease, update.progress)) side.note_task(update.lease.key);
  });
}

Applied SqliteTasks::append_step(const Lease& lease, const Step& step) {
  Applied applied = Applied::lease_lost;
  parts_.write("append a step", 1, Kind::ends_work, [&](WriteSide& side) {
    applied = Applied::lease_lost;
    auto row = side.queries.live(lease.key);
    if (!row || row->live.state != State::running || row->live.attempt != lease.attempt) return;
    if (auto attempt = side.queries.step_attempt(lease.key, step.number)) {
      if (*attempt == lease.attempt) applied = Applied::already_applied;
      return;
    }
    side.edits.insert_step(lease.key, lease.attempt, step);
    applied = Applied::applied;
  });
  return applied;
}

size_t SqliteTasks::remove(std::span<const TaskKey> keys) {
  size_t removed = 0;
  parts_.write("remove", keys.size(), Kind::ends_work, [&](WriteSide& side) {
    removed = 0;
    for (TaskKey key : keys) removed += side.erase(key);
  });
  return removed;
}

void SqliteTasks::change_settings(const std::function<void(Settings&)>& change) {
  parts_.write("change settings", 1, Kind::ends_work, [&](WriteSide& side) {
    Settings next = side.settings();
    change(next);
    side.set_settings(std::move(next));
  });
}

}  // namespace opscore::sqlite
