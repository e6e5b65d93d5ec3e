// Retention: walks the finished tasks from the oldest, a bounded number of rows a call, and goes on
// where the previous call stopped, so that tasks kept for long never hide those behind them. Days
// that nearly everything has left are dropped, with their dead space.

#include <algorithm>

#include "opscore/base/mutex.h"
#include "opscore/store/postgres/task_images.h"

namespace opscore::postgres {
namespace {

constexpr Statement kWalk{
    "prune_walk",
    "SELECT o.key, o.state, o.finished, t.lane FROM outcomes o JOIN tasks t USING(key) "
    "WHERE o.key > $1::bigint AND o.key < $2::bigint ORDER BY o.key LIMIT $3::bigint"};

struct Candidate {
  TaskKey key;
  State state;
  TimePoint finished_at;
  LaneId lane;
};

std::vector<Candidate> walk(Transaction& transaction, TaskKey after, TaskKey end, size_t limit) {
  Rows rows = transaction.query(kWalk, Parameters::of(after, end, static_cast<int64_t>(limit)));
  std::vector<Candidate> walked;
  for (int i = 0; i < rows.size(); ++i)
    walked.push_back({TaskKey{rows.integer(i, 0)}, static_cast<State>(rows.integer(i, 1)),
                      rows.time(i, 2), rows.integer(i, 3)});
  return walked;
}

}  // namespace

size_t PostgresTasks::prune(const Retention& retention, size_t limit) {
  MutexLock lock(prune_mutex_);
  size_t pruned = 0;
  TaskKey reached;
  parts_.writers.run("prune", [&](Transaction& transaction) OPSCORE_REQUIRES(prune_mutex_) {
    pruned = 0;
    TimePoint now = transaction.now();
    // What is younger than the shortest retention cannot be due. Keys run ahead of the clock when
    // it steps back; those tasks wait until it has caught up.
    TaskKey end = TaskKey::first_at(now - retention.shortest() + Duration(1));
    auto looked = walk(transaction, pruned_up_to_, end, limit);
    if (looked.size() < limit && pruned_up_to_.value > 0) {  // a new round, up to where this began
      auto more = walk(transaction, TaskKey{}, std::min(end, TaskKey{pruned_up_to_.value + 1}),
                       limit - looked.size());
      looked.insert(looked.end(), more.begin(), more.end());
    }
    reached = looked.size() < limit || looked.empty() ? TaskKey{} : looked.back().key;
    std::vector<TaskKey> keys;
    for (const Candidate& each : looked) {
      std::string type;
      if (!retention.completed_by_type.empty())
        type = parts_.lanes.lane(transaction, each.lane).type;
      if (now - each.finished_at >= retention.of(each.state, type)) keys.push_back(each.key);
    }
    if (keys.empty()) return;
    TaskImages images(parts_, transaction);
    images.load(keys);
    for (TaskKey key : keys)
      if (images.live(key) == nullptr) pruned += images.erase(key);  // it may run again since
    images.write();
  });
  pruned_up_to_ = reached;
  drop_days(retention);
  return pruned;
}

// Once a day is past the retention of completed tasks, little is left in it: what failed, what is
// still unfinished, what took long.
void PostgresTasks::drop_days(const Retention& retention) {
  SteadyPoint now = parts_.clock.steady();
  if (dropped_at_ && now - *dropped_at_ < kLookAtDaysEvery) return;
  dropped_at_ = now;
  int64_t first_kept = day_of(TaskKey::first_at(parts_.clock.now() - retention.completed)) - 1;
  parts_.readers.run("drop partitions", [&](Connection& connection) {
    for (int64_t day : Partitions::list(connection))
      if (day < first_kept) parts_.partitions.drop_if_nearly_empty(connection, day);
    return 0;
  });
}

}  // namespace opscore::postgres
