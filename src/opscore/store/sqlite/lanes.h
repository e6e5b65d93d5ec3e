#pragma once
// The names of queues and of lanes. A lane is one pair of queue and type; rows carry its number.
// Lanes are only ever added. Lookups may come from any thread; intern() and the saving from the
// writing thread.

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "opscore/base/mutex.h"
#include "opscore/store/sqlite/database.h"

namespace opscore::sqlite {

using LaneId = int32_t;   // from 1, stored
using QueueId = int32_t;  // from 0, of this process only

struct Lane {
  LaneId id = 0;
  QueueId queue_id = 0;
  std::string queue;
  std::string type;
};

class Lanes {
 public:
  // Reads the lanes that are not known yet.
  void load(Connection& db);

  // References stay valid.
  const Lane& intern(const std::string& queue, const std::string& type);
  QueueId intern_queue(const std::string& queue);
  // Null for a number that was never given out.
  const Lane* find(LaneId id) const;
  std::optional<QueueId> find_queue(const std::string& queue) const;
  std::vector<const Lane*> of_queue(QueueId queue) const;
  std::string queue_name(QueueId queue) const;

  // The interned lanes that are not in the file yet: written inside each transaction until one of
  // them commits.
  void save(Connection& db);
  void saved() { unsaved_.clear(); }

 private:
  const Lane& add(LaneId id, const std::string& queue, const std::string& type)
      OPSCORE_REQUIRES(mutex_);
  QueueId add_queue(const std::string& queue) OPSCORE_REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::deque<Lane> lanes_ OPSCORE_GUARDED_BY(mutex_);  // by number
  std::map<std::pair<std::string, std::string>, LaneId, std::less<>> by_name_
      OPSCORE_GUARDED_BY(mutex_);
  std::map<std::string, QueueId, std::less<>> queues_ OPSCORE_GUARDED_BY(mutex_);
  struct Queue {
    std::string name;
    std::vector<const Lane*> lanes;
  };
  std::deque<Queue> by_queue_ OPSCORE_GUARDED_BY(mutex_);
  std::vector<LaneId> unsaved_;  // the writing thread's
};

}  // namespace opscore::sqlite
