#include <algorithm>
#include <limits>
#include <map>

#include "opscore/model/limits.h"
#include "opscore/store/sqlite/sqlite_parts.h"

namespace opscore::sqlite {
namespace {

bool only_of(StateSet states, std::initializer_list<State> allowed) {
  if (states.empty()) return false;
  for (int i = 0; i < kStateCount; ++i) {
    auto state = static_cast<State>(i);
    if (states.has(state) && std::ranges::find(allowed, state) == allowed.end()) return false;
  }
  return true;
}

// The table whose rows, newest first, contain every match with the fewest others. A query names the
// index it relies on.
const char* walk_sql(StateSet states) {
  if (only_of(states, {State::failed, State::cancelled}))
    return "SELECT o.key, o.state, t.lane, t.options FROM outcomes o INDEXED BY "
           "outcomes_not_completed JOIN tasks t ON t.key = o.key WHERE o.state <> 4 AND o.key < ? "
           "AND o.key >= ? ORDER BY o.key DESC LIMIT ?";
  if (only_of(states, {State::completed, State::failed, State::cancelled}))
    return "SELECT o.key, o.state, t.lane, t.options FROM outcomes o CROSS JOIN tasks t ON t.key = "
           "o.key WHERE o.key < ? AND o.key >= ? ORDER BY o.key DESC LIMIT ?";
  if (only_of(states, {State::scheduled, State::waiting, State::pending, State::running}))
    return "SELECT l.key, l.state, t.lane, t.options FROM live l CROSS JOIN tasks t ON t.key = "
           "l.key WHERE l.key < ? AND l.key >= ? ORDER BY l.key DESC LIMIT ?";
  return "SELECT t.key, NULL, t.lane, t.options FROM tasks t WHERE t.key < ? AND t.key >= ? "
         "ORDER BY t.key DESC LIMIT ?";
}

class Listing {
 public:
  Listing(ReadSide& side, const TaskFilter& filter, size_t limit)
      : side_(side), filter_(filter), limit_(limit) {}

  TaskPage run(TaskKey end, TaskKey first) {
    TaskPage page;
    size_t looked = 0;
    std::optional<TaskKey> last;
    Statement walk(side_.db, walk_sql(filter_.states));
    // One more row than may be looked at tells whether the walk ended by itself.
    auto rows = walk.query(end.value, first.value, limits::kListWalk + 1);
    while (rows.next()) {
      if (page.tasks.size() == limit_ || looked == limits::kListWalk) {
        page.partial = page.tasks.size() < limit_;
        page.next = last.value_or(end);
        break;
      }
      ++looked;
      TaskKey key{rows.integer(0)};
      last = key;
      if (!matches(key, rows)) continue;
      if (auto task = side_.queries.task(key)) page.tasks.push_back(std::move(*task));
    }
    return page;
  }

 private:
  bool matches(TaskKey key, const Statement::Rows& rows) {
    if (!filter_.type.empty() || !filter_.queue.empty()) {
      const Lane& lane = side_.queries.lane_named(static_cast<LaneId>(rows.integer(2)));
      if (!filter_.type.empty() && lane.type != filter_.type) return false;
      if (!filter_.queue.empty() && lane.queue != filter_.queue) return false;
    }
    if (!filter_.states.empty()) {
      auto state = rows.is_null(1) ? side_.queries.state(key)
                                   : std::optional(static_cast<State>(rows.integer(1)));
      if (!state || !filter_.states.has(*state)) return false;
    }
    return filter_.labels.empty() || has_labels(rows);
  }

  bool has_labels(const Statement::Rows& rows) const {
    if (rows.is_null(3)) return false;
    auto labels = decode_options(rows.text(3)).labels;
    return std::ranges::all_of(filter_.labels, [&](const auto& wanted) {
      return std::ranges::find(labels, wanted) != labels.end();
    });
  }

  ReadSide& side_;
  const TaskFilter& filter_;
  const size_t limit_;
};

void set_counts(QueueStats& stats, const Tally::Counts& counts) {
  auto of = [&](State state) { return counts[static_cast<size_t>(state)]; };
  stats.pending = of(State::pending);
  stats.scheduled = of(State::scheduled);
  stats.running = of(State::running);
  stats.waiting = of(State::waiting);
  stats.dead = of(State::failed);
  stats.completed = of(State::completed);
  stats.cancelled = of(State::cancelled);
}

std::vector<QueueStats> by_name(std::map<std::string, QueueStats> stats) {
  std::vector<QueueStats> listed;
  for (auto& [name, queue] : stats) {
    queue.name = name;
    listed.push_back(std::move(queue));
  }
  return listed;
}

}  // namespace

std::optional<TaskKey> SqliteReader::resolve(std::string_view id) {
  if (auto key = ids_.decode(id)) return key;
  auto row = parts_.readers.borrow()->queries.unique_key(static_cast<int>(UniqueKey::Kind::task_id),
                                                         "", id);
  return row ? std::optional(row->task) : std::nullopt;
}

std::optional<Task> SqliteReader::find(TaskKey key) {
  return parts_.readers.borrow()->queries.task(key);
}

TaskPage SqliteReader::list(const TaskFilter& filter, std::optional<TaskKey> before, size_t limit) {
  TaskKey end{std::numeric_limits<int64_t>::max()}, first{};
  if (before) end = *before;
  if (filter.created_before) end = std::min(end, TaskKey::first_at(*filter.created_before));
  if (filter.created_since) first = TaskKey::first_at(*filter.created_since);
  auto reader = parts_.readers.borrow();
  return Listing(*reader, filter, limit).run(end, first);
}

std::vector<Attempt> SqliteReader::attempts(TaskKey key) {
  return parts_.readers.borrow()->queries.attempts(key);
}

std::vector<TaskEvent> SqliteReader::events(TaskKey key) {
  return parts_.readers.borrow()->queries.events(key);
}

std::vector<Step> SqliteReader::steps(TaskKey key) {
  return parts_.readers.borrow()->queries.steps(key);
}

std::vector<std::string> SqliteReader::inputs(TaskKey key) {
  return parts_.readers.borrow()->queries.inputs(key);
}

std::vector<QueueStats> SqliteReader::queues() {
  if (parts_.committer == nullptr) return queues_from_file();
  std::map<std::string, QueueStats> stats;
  parts_.write("count queues", 1, Committer::Kind::ends_work, [&](WriteSide& side) {
    stats.clear();
    TimePoint now = side.clock.now();
    for (QueueId id : side.known_queues()) {
      QueueStats& queue = stats[side.lanes.queue_name(id)];
      set_counts(queue, side.tally.counts(id));
      queue.paused = side.paused(id);
      side.ready.advance(id, now);
      for (const Lane* lane : side.lanes.of_queue(id)) {
        auto oldest = side.ready.due_total(lane->id).oldest;
        if (oldest)
          queue.oldest_pending_at = std::min(queue.oldest_pending_at.value_or(now), *oldest);
      }
    }
  });
  return by_name(std::move(stats));
}

std::vector<QueueStats> SqliteReader::queues_from_file() {
  std::map<std::string, QueueStats> stats;
  TimePoint now = parts_.clock.now();
  auto reader = parts_.readers.borrow();
  Statement live(reader->db,
                 "SELECT lane, state, count(*), min(CASE WHEN state = 2 OR (state = 0 AND run_at "
                 "<= ?) THEN run_at END) FROM live GROUP BY lane, state");
  auto rows = live.query(now);
  while (rows.next()) {
    const Lane& lane = reader->queries.lane_named(static_cast<LaneId>(rows.integer(0)));
    QueueStats& queue = stats[lane.queue];
    switch (static_cast<State>(rows.integer(1))) {
      case State::scheduled:
        queue.scheduled += rows.integer(2);
        break;
      case State::waiting:
        queue.waiting += rows.integer(2);
        break;
      case State::pending:
        queue.pending += rows.integer(2);
        break;
      default:
        queue.running += rows.integer(2);
        break;
    }
    if (auto oldest = rows.optional_time(3))
      queue.oldest_pending_at = std::min(queue.oldest_pending_at.value_or(now), *oldest);
  }
  Statement counters(reader->db, "SELECT queue, completed, failed, cancelled FROM counters");
  auto finished = counters.query();
  while (finished.next()) {
    if (finished.integer(1) + finished.integer(2) + finished.integer(3) == 0) continue;
    QueueStats& queue = stats[std::string(finished.text(0))];
    queue.completed = finished.integer(1);
    queue.dead = finished.integer(2);
    queue.cancelled = finished.integer(3);
  }
  Statement paused(reader->db, "SELECT queue FROM queues WHERE paused <> 0");
  auto names = paused.query();
  while (names.next()) stats[std::string(names.text(0))].paused = true;
  return by_name(std::move(stats));
}

}  // namespace opscore::sqlite
