#include "opscore/store/postgres/floors.h"

#include <algorithm>

#include "opscore/model/limits.h"
#include "opscore/model/task.h"

namespace opscore::postgres {

int64_t Floors::of(const Lane& lane, TimePoint now) const {
  MutexLock lock(mutex_);
  auto queue = queues_.find(lane.queue);
  if (queue == queues_.end()) return kFirstPlace;
  auto found = queue->second.lanes.find(lane.id);
  if (found == queue->second.lanes.end()) return kFirstPlace;
  const Floor& floor = found->second;
  if (!floor.next_due || *floor.next_due > now) return floor.place;
  // Some that were scheduled are due, at whatever priority.
  return std::min(floor.place, order_of(*floor.next_due, limits::kPriorityMax));
}

void Floors::raise(const Lane& lane, int64_t place, std::optional<TimePoint> next_due,
                   uint64_t seen) {
  MutexLock lock(mutex_);
  Queue& queue = queues_[lane.queue];
  if (std::max(queue.forgotten, reset_) > seen) return;
  for (auto change = queue.lowered.rbegin(); change != queue.lowered.rend(); ++change)
    if (change->first > seen) place = std::min(place, change->second);
  queue.lanes[lane.id] = {place, next_due};
}

uint64_t Floors::seen() const {
  MutexLock lock(mutex_);
  return changes_;
}

void Floors::lower(const Places& places) {
  if (places.empty()) return;
  MutexLock lock(mutex_);
  ++changes_;
  for (const auto& [name, place] : places) {
    Queue& queue = queues_[name];
    for (auto& [lane, floor] : queue.lanes) floor.place = std::min(floor.place, place);
    queue.lowered.emplace_back(changes_, place);
    if (queue.lowered.size() <= kRemembered) continue;
    queue.forgotten = queue.lowered.front().first;
    queue.lowered.pop_front();
  }
}

void Floors::reset() {
  MutexLock lock(mutex_);
  reset_ = ++changes_;
  queues_.clear();
}

}  // namespace opscore::postgres
