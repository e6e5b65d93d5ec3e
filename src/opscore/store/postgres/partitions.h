#pragma once
// The daily partitions of tasks and outcomes: made before the first key of their day is written,
// dropped when nearly nothing in them is needed any more. What still is, unfinished tasks and
// results within their retention, is moved to the default partitions in the same transaction.
// Safe for concurrent use.

#include <set>
#include <string>

#include "opscore/base/log.h"
#include "opscore/base/mutex.h"
#include "opscore/base/time.h"
#include "opscore/store/postgres/connection.h"

namespace opscore::postgres {

// Days (UTC) since 1970.
int64_t day_of(TaskKey key);
TaskKey first_key_of(int64_t day);

class Partitions {
 public:
  explicit Partitions(Log& log) : log_(log) {}

  // Makes those of the days [first, last] and of the day after, unless they are known to be there
  // or somebody holds a lock on the tables: then without. In transactions of its own.
  void ensure(Connection& connection, int64_t first, int64_t last);
  // The days that have partitions, ascending.
  static std::vector<int64_t> list(Connection& connection);
  // Drops the day's partitions when at most kMovedAtMost tasks are left in them, which move to the
  // default partitions in the same transaction. False: not now, too many or somebody holds a lock.
  bool drop_if_nearly_empty(Connection& connection, int64_t day);
  static constexpr int64_t kMovedAtMost = 5000;

 private:
  bool create(Connection& connection, int64_t day);
  Log& log_;
  Mutex mutex_;
  std::set<int64_t> known_ OPSCORE_GUARDED_BY(mutex_);
  // The next try after one that met a lock.
  Deadline not_before_ OPSCORE_GUARDED_BY(mutex_) = Deadline::at({});
};

}  // namespace opscore::postgres
