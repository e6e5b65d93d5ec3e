#pragma once
// From which place on a lane has tasks that can be claimed, as far as this process knows. Claims
// begin to look there: the index in front of it is full of what runs, and of what ended but that
// the server must still keep, for a long transaction elsewhere. Whoever makes a task claimable says
// so with its place, in this process or by a notification; what was missed is found by the
// listener's poll. Only in memory. Safe for concurrent use.

#include <deque>
#include <limits>
#include <map>
#include <string>

#include "opscore/base/mutex.h"
#include "opscore/base/time.h"
#include "opscore/store/postgres/lane.h"

namespace opscore::postgres {

// For each queue, the lowest place at which a commit put something to claim.
using Places = std::map<std::string, int64_t>;
inline constexpr int64_t kFirstPlace = std::numeric_limits<int64_t>::min();

class Floors {
 public:
  // Where to begin at `now`.
  int64_t of(const Lane& lane, TimePoint now) const;

  // A look at the lane found everything before `place` taken. `next_due` is when the first of its
  // scheduled tasks is due, which nobody has to say. What lower() has said after `seen`, which is
  // what seen() said before the look, still counts.
  void raise(const Lane& lane, int64_t place, std::optional<TimePoint> next_due, uint64_t seen);
  uint64_t seen() const;

  void lower(const Places& places);
  // Nothing is known any more.
  void reset();

 private:
  struct Floor {
    int64_t place = kFirstPlace;
    std::optional<TimePoint> next_due;
  };
  struct Queue {
    std::map<LaneId, Floor> lanes;
    std::deque<std::pair<uint64_t, int64_t>> lowered;  // the last changes, and to which place
    uint64_t forgotten = 0;                            // the newest change that is not in it
  };
  static constexpr size_t kRemembered = 64;

  mutable Mutex mutex_;
  uint64_t changes_ OPSCORE_GUARDED_BY(mutex_) = 0;
  uint64_t reset_ OPSCORE_GUARDED_BY(mutex_) = 0;  // what changes_ was then
  std::map<std::string, Queue> queues_ OPSCORE_GUARDED_BY(mutex_);
};

}  // namespace opscore::postgres
