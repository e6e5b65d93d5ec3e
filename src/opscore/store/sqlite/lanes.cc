#include "opscore/store/sqlite/lanes.h"

namespace opscore::sqlite {

void Lanes::load(Connection& db) {
  MutexLock lock(mutex_);
  Statement select(db, "SELECT lane, queue, type FROM lanes WHERE lane > ? ORDER BY lane");
  auto rows = select.query(lanes_.size());
  while (rows.next()) {
    auto id = static_cast<LaneId>(rows.integer(0));
    if (id != static_cast<LaneId>(lanes_.size()) + 1)
      throw Error(Errc::corrupt, "lanes are missing in '" + db.path() + "'; restore a backup");
    add(id, std::string(rows.text(1)), std::string(rows.text(2)));
  }
}

const Lane& Lanes::intern(const std::string& queue, const std::string& type) {
  MutexLock lock(mutex_);
  auto found = by_name_.find(std::pair(queue, type));
  if (found != by_name_.end()) return lanes_[static_cast<size_t>(found->second) - 1];
  auto id = static_cast<LaneId>(lanes_.size()) + 1;
  unsaved_.push_back(id);
  return add(id, queue, type);
}

const Lane& Lanes::add(LaneId id, const std::string& queue, const std::string& type) {
  QueueId queue_id = add_queue(queue);
  const Lane& lane = lanes_.emplace_back(Lane{id, queue_id, queue, type});
  by_name_.emplace(std::pair(queue, type), id);
  by_queue_[static_cast<size_t>(queue_id)].lanes.push_back(&lane);
  return lane;
}

QueueId Lanes::intern_queue(const std::string& queue) {
  MutexLock lock(mutex_);
  return add_queue(queue);
}

QueueId Lanes::add_queue(const std::string& queue) {
  auto [entry, fresh] = queues_.try_emplace(queue, static_cast<QueueId>(by_queue_.size()));
  if (fresh) by_queue_.push_back({queue, {}});
  return entry->second;
}

const Lane* Lanes::find(LaneId id) const {
  MutexLock lock(mutex_);
  bool known = id >= 1 && static_cast<size_t>(id) <= lanes_.size();
  return known ? &lanes_[static_cast<size_t>(id) - 1] : nullptr;
}

std::optional<QueueId> Lanes::find_queue(const std::string& queue) const {
  MutexLock lock(mutex_);
  auto found = queues_.find(queue);
  if (found == queues_.end()) return std::nullopt;
  return found->second;
}

std::vector<const Lane*> Lanes::of_queue(QueueId queue) const {
  MutexLock lock(mutex_);
  return by_queue_[static_cast<size_t>(queue)].lanes;
}

std::string Lanes::queue_name(QueueId queue) const {
  MutexLock lock(mutex_);
  return by_queue_[static_cast<size_t>(queue)].name;
}

void Lanes::save(Connection& db) {
  if (unsaved_.empty()) return;
  Statement insert(db, "INSERT INTO lanes(lane, queue, type) VALUES(?, ?, ?)");
  for (LaneId id : unsaved_) {
    const Lane& lane = *find(id);
    insert.run(id, lane.queue, lane.type);
  }
}

}  // namespace opscore::sqlite
