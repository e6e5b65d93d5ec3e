#pragma once
// The pairs of queue and type that tasks belong to, by the number that rows carry. Lanes are only
// ever added, here or by other processes. Safe for concurrent use.

#include <map>
#include <set>
#include <string>
#include <vector>

#include "opscore/base/mutex.h"
#include "opscore/store/postgres/lane.h"
#include "opscore/store/postgres/transaction.h"

namespace opscore::postgres {

class Lanes {
 public:
  using Name = std::pair<std::string, std::string>;  // queue, type

  void load(Connection& connection);
  // Makes sure that all exist. Commits for itself: a lane without tasks harms nobody.
  void intern(Connection& connection, const std::set<Name>& names);
  LaneId id(const std::string& queue, const std::string& type) const;  // of an interned one

  // Loads when the number is not known yet. Throws Error{corrupt} when it does not exist.
  Lane lane(Connection& connection, LaneId id);
  Lane lane(Transaction& transaction, LaneId id);
  std::vector<Lane> of_queue(const std::string& queue) const;
  size_t size() const;
  std::vector<Lane> all() const;

 private:
  void learn(const Rows& rows);
  std::optional<Lane> find(LaneId id) const;

  mutable Mutex mutex_;
  std::map<Name, LaneId> by_name_ OPSCORE_GUARDED_BY(mutex_);
  std::map<LaneId, Lane> by_id_ OPSCORE_GUARDED_BY(mutex_);
};

}  // namespace opscore::postgres
