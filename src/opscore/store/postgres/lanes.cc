#include "opscore/store/postgres/lanes.h"

#include <fmt/format.h>

namespace opscore::postgres {
namespace {

constexpr Statement kLoad{"lanes", "SELECT lane, queue, type FROM lanes"};
constexpr Statement kIntern{"intern_lanes",
                            "INSERT INTO lanes(queue, type) SELECT * FROM unnest($1::text[], "
                            "$2::text[]) ON CONFLICT DO NOTHING"};

Lane found_or_corrupt(std::optional<Lane> lane, LaneId id) {
  if (!lane) throw Error(Errc::corrupt, fmt::format("lane {} is missing; restore a backup", id));
  return *std::move(lane);
}

}  // namespace

void Lanes::load(Connection& connection) {
  learn(connection.query(kLoad));
}

void Lanes::learn(const Rows& rows) {
  MutexLock lock(mutex_);
  for (int i = 0; i < rows.size(); ++i) {
    Lane lane{rows.integer(i, 0), std::string(rows.text(i, 1)), std::string(rows.text(i, 2))};
    by_name_[{lane.queue, lane.type}] = lane.id;
    by_id_[lane.id] = std::move(lane);
  }
}

void Lanes::intern(Connection& connection, const std::set<Name>& names) {
  Array queues = Array::texts(), types = Array::texts();
  {
    MutexLock lock(mutex_);
    for (const auto& [queue, type] : names) {
      if (by_name_.contains({queue, type})) continue;
      queues.add(queue);
      types.add(type);
    }
  }
  if (queues.size() == 0) return;
  connection.query(kIntern, Parameters::of(queues, types));
  load(connection);
}

LaneId Lanes::id(const std::string& queue, const std::string& type) const {
  MutexLock lock(mutex_);
  return by_name_.at({queue, type});
}

std::optional<Lane> Lanes::find(LaneId id) const {
  MutexLock lock(mutex_);
  auto found = by_id_.find(id);
  return found == by_id_.end() ? std::nullopt : std::optional(found->second);
}

Lane Lanes::lane(Connection& connection, LaneId id) {
  if (auto lane = find(id)) return *lane;
  load(connection);
  return found_or_corrupt(find(id), id);
}

Lane Lanes::lane(Transaction& transaction, LaneId id) {
  if (auto lane = find(id)) return *lane;
  learn(transaction.query(kLoad));
  return found_or_corrupt(find(id), id);
}

std::vector<Lane> Lanes::of_queue(const std::string& queue) const {
  MutexLock lock(mutex_);
  std::vector<Lane> lanes;
  for (auto it = by_name_.lower_bound({queue, ""}); it != by_name_.end(); ++it) {
    if (it->first.first != queue) break;
    lanes.push_back(by_id_.at(it->second));
  }
  return lanes;
}

size_t Lanes::size() const {
  MutexLock lock(mutex_);
  return by_id_.size();
}

std::vector<Lane> Lanes::all() const {
  MutexLock lock(mutex_);
  std::vector<Lane> lanes;
  for (const auto& [id, lane] : by_id_) lanes.push_back(lane);
  return lanes;
}

}  // namespace opscore::postgres
