#include <algorithm>

#include "opscore/model/limits.h"
#include "opscore/store/memory/memory_state.h"

namespace opscore {
namespace {

void count(QueueStats& stats, const TaskRow& row, TimePoint now) {
  switch (row.live.state) {
    case State::scheduled:
      ++stats.scheduled;
      break;
    case State::waiting:
      ++stats.waiting;
      break;
    case State::pending:
      ++stats.pending;
      break;
    case State::running:
      ++stats.running;
      break;
    case State::completed:
      ++stats.completed;
      break;
    case State::failed:
      ++stats.dead;
      break;
    case State::cancelled:
      ++stats.cancelled;
      break;
  }
  if (row.due(now))
    stats.oldest_pending_at = std::min(stats.oldest_pending_at.value_or(now), row.live.run_at);
}

}  // namespace

std::optional<TaskKey> MemoryReader::resolve(std::string_view id) {
  if (auto key = ids_.decode(id)) return key;
  MutexLock lock(state_.mutex);
  return state_.tasks.find_id(std::string(id));
}

std::optional<Task> MemoryReader::find(TaskKey key) {
  MutexLock lock(state_.mutex);
  const TaskRow* row = state_.tasks.find(key);
  return row ? std::optional(row->task()) : std::nullopt;
}

TaskPage MemoryReader::list(const TaskFilter& filter, std::optional<TaskKey> before, size_t limit) {
  MutexLock lock(state_.mutex);
  auto& rows = state_.tasks.rows();
  KeyRange range = range_of(filter);
  if (before) range.end = std::min(range.end, *before);
  TaskPage page;
  size_t looked = 0;
  auto row = rows.lower_bound(range.end);
  while (row != rows.begin() && std::prev(row)->first >= range.first) {
    if (page.tasks.size() == limit || looked == limits::kListWalk) {
      page.partial = page.tasks.size() < limit;
      page.next = row == rows.end() ? range.end : row->first;
      break;
    }
    --row, ++looked;
    if (row->second.matches(filter)) page.tasks.push_back(row->second.task());
  }
  return page;
}

std::vector<Attempt> MemoryReader::attempts(TaskKey key) {
  MutexLock lock(state_.mutex);
  const TaskRow* row = state_.tasks.find(key);
  return row ? row->attempts() : std::vector<Attempt>{};
}

std::vector<TaskEvent> MemoryReader::events(TaskKey key) {
  MutexLock lock(state_.mutex);
  const TaskRow* row = state_.tasks.find(key);
  return row ? row->events : std::vector<TaskEvent>{};
}

std::vector<Step> MemoryReader::steps(TaskKey key) {
  MutexLock lock(state_.mutex);
  const TaskRow* row = state_.tasks.find(key);
  return row ? row->steps : std::vector<Step>{};
}

std::vector<std::string> MemoryReader::inputs(TaskKey key) {
  MutexLock lock(state_.mutex);
  const TaskRow* row = state_.tasks.find(key);
  return row ? row->inputs : std::vector<std::string>{};
}

std::vector<Task> MemoryReader::doubtful(size_t limit) {
  MutexLock lock(state_.mutex);
  TimePoint now = state_.clock.now();
  std::vector<Task> tasks;
  for (const auto& [key, row] : state_.tasks.rows())
    if (row.live.external_until && *row.live.external_until <= now) tasks.push_back(row.task());
  std::ranges::stable_sort(tasks, {}, [](const Task& task) { return *task.live.external_until; });
  if (tasks.size() > limit) tasks.resize(limit);
  return tasks;
}

std::optional<MessageOrigin> MemoryReader::origin(TaskKey key) {
  MutexLock lock(state_.mutex);
  const TaskRow* row = state_.tasks.find(key);
  if (!row || row->origin.body.empty()) return std::nullopt;
  return row->origin;
}

std::vector<QueueStats> MemoryReader::queues() {
  MutexLock lock(state_.mutex);
  std::map<std::string, QueueStats> stats;
  for (const std::string& queue : state_.seen_queues) stats[queue].paused = false;
  for (const auto& [queue, settings] : state_.settings.queues) {
    stats[queue].paused = settings.paused;
    stats[queue].limits = settings.limits;
  }
  TimePoint now = state_.clock.now();
  for (const auto& [key, row] : state_.tasks.rows()) count(stats[row.spec.queue], row, now);
  std::vector<QueueStats> listed;
  for (auto& [name, queue] : stats) {
    queue.name = name;
    listed.push_back(std::move(queue));
  }
  return listed;
}

}  // namespace opscore
