#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "opscore/model/limits.h"
#include "opscore/store/sqlite/filter_walk.h"
#include "opscore/store/sqlite/settings_rows.h"
#include "opscore/store/sqlite/sqlite_parts.h"

namespace opscore::sqlite {
namespace {

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

void set_settings(QueueStats& stats, const QueueSettings& settings) {
  stats.paused = settings.paused;
  stats.limits = settings.limits;
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

template <class F>
auto SqliteReader::about(TaskKey key, F&& read) const {
  try {
    return read(parts_.readers.borrow()->queries);
  } catch (const Error& error) {
    throw error.with_context(fmt::format("read task {}", ids_.encode(key)));
  }
}

std::optional<Task> SqliteReader::find(TaskKey key) {
  return about(key, [&](TaskQueries& queries) { return queries.task(key); });
}

TaskPage SqliteReader::list(const TaskFilter& filter, std::optional<TaskKey> before, size_t limit) {
  KeyRange range = range_of(filter);
  if (before) range.end = std::min(range.end, *before);
  auto reader = parts_.readers.borrow();
  TaskPage page;
  size_t looked = 0;
  std::optional<TaskKey> last;
  FilterWalk walk(*reader, filter, range, FilterWalk::Order::newest_first);
  while (walk.next()) {
    const size_t listed = page.tasks.size() + page.corrupt.size();
    if (listed == limit || looked == limits::kListWalk) {
      page.partial = listed < limit;
      page.next = last.value_or(range.end);
      break;
    }
    ++looked;
    last = walk.key();
    try {
      if (!walk.match()) continue;
      if (auto task = reader->queries.task(walk.key())) page.tasks.push_back(std::move(*task));
    } catch (const Error& error) {
      if (error.code() != Errc::corrupt) throw;
      page.corrupt.emplace_back(walk.key(), error.message());
    }
  }
  return page;
}

std::vector<Attempt> SqliteReader::attempts(TaskKey key) {
  return about(key, [&](TaskQueries& queries) { return queries.attempts(key); });
}

std::vector<TaskEvent> SqliteReader::events(TaskKey key) {
  return about(key, [&](TaskQueries& queries) { return queries.events(key); });
}

std::vector<Step> SqliteReader::steps(TaskKey key) {
  return about(key, [&](TaskQueries& queries) { return queries.steps(key); });
}

std::optional<MessageOrigin> SqliteReader::origin(TaskKey key) {
  return parts_.readers.borrow()->queries.origin(key);
}

std::vector<std::string> SqliteReader::inputs(TaskKey key) {
  return about(key, [&](TaskQueries& queries) { return queries.inputs(key); });
}

std::vector<Task> SqliteReader::doubtful(size_t limit) {
  auto reader = parts_.readers.borrow();
  Statement select(reader->db,
                   "SELECT key FROM live INDEXED BY live_external WHERE external <= ? "
                   "ORDER BY external LIMIT ?");
  std::vector<TaskKey> keys;
  {
    auto rows = select.query(parts_.clock.now(), limit);
    while (rows.next()) keys.push_back(TaskKey{rows.integer(0)});
  }
  std::vector<Task> tasks;
  for (TaskKey key : keys)
    if (auto task = reader->queries.task(key)) tasks.push_back(std::move(*task));
  return tasks;
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
      if (const QueueSettings* settings = side.settings_of(id)) set_settings(queue, *settings);
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
                 "SELECT lane, state, count(*), min(CASE WHEN external IS NULL AND (state = 2 OR "
                 "(state = 0 AND run_at <= ?)) THEN run_at END) FROM live GROUP BY lane, state");
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
  Settings settings = load_settings(reader->db);
  for (const auto& [queue, set] : settings.queues) set_settings(stats[queue], set);
  return by_name(std::move(stats));
}

}  // namespace opscore::sqlite
