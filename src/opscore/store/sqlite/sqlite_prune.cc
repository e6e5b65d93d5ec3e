// Retention: walks the finished tasks from the oldest, a bounded number of rows a call, and goes on
// where the previous call stopped, so that tasks kept for long never hide those behind them.

#include <algorithm>
#include <limits>

#include "opscore/store/sqlite/sqlite_parts.h"

namespace opscore::sqlite {
namespace {

struct Candidate {
  TaskKey key;
  TimePoint finished_at;
};

class Walk {
 public:
  Walk(ReadSide& side, const Retention& retention, TimePoint now)
      : side_(side),
        retention_(retention),
        now_(now),
        by_type_(retention.completed_by_type.size()) {}

  // Looks at up to `limit` rows with keys in (after, end); answers how many there were.
  size_t look(TaskKey after, TaskKey end, size_t limit) {
    size_t looked = 0;
    auto rows = outcomes_.query(after.value, end.value, limit);
    while (rows.next()) {
      ++looked;
      last = TaskKey{rows.integer(0)};
      auto state = static_cast<State>(rows.integer(1));
      TimePoint finished_at = rows.time(2);
      std::string type;
      if (state == State::completed && by_type_ > 0)
        type = side_.queries.lane_named(*side_.queries.lane(last)).type;
      if (now_ - finished_at >= retention_.of(state, type))
        candidates.push_back({last, finished_at});
    }
    return looked;
  }

  TaskKey last;
  std::vector<Candidate> candidates;

 private:
  ReadSide& side_;
  const Retention& retention_;
  const TimePoint now_;
  const size_t by_type_;
  Statement outcomes_{side_.db,
                      "SELECT key, state, finished FROM outcomes WHERE key > ? AND key < ? "
                      "ORDER BY key LIMIT ?"};
};

}  // namespace

size_t SqliteTasks::prune(const Retention& retention, size_t limit) {
  TimePoint now = parts_.clock.now();
  std::vector<Candidate> candidates;
  {
    auto reader = parts_.readers.borrow();
    Walk walk(*reader, retention, now);
    // What is younger than the shortest retention cannot be due. Keys run ahead of the clock when
    // it steps back; those tasks wait until it has caught up.
    TaskKey end = TaskKey::first_at(now - retention.shortest() + Duration(1));
    TaskKey from{pruned_up_to_.load()};
    size_t looked = walk.look(from, end, limit);
    if (looked < limit && from.value > 0)  // a new round, up to where this one began
      looked += walk.look(TaskKey{}, std::min(end, TaskKey{from.value + 1}), limit - looked);
    if (looked > 0) pruned_up_to_ = looked < limit ? 0 : walk.last.value;
    candidates = std::move(walk.candidates);
  }
  if (candidates.empty()) return 0;
  size_t pruned = 0;
  parts_.write("prune", candidates.size(), Committer::Kind::ends_work, [&](WriteSide& side) {
    pruned = 0;
    for (const Candidate& candidate : candidates) {
      auto outcome = side.queries.outcome(candidate.key);  // it may have been retried since
      if (outcome && outcome->finished_at == candidate.finished_at)
        pruned += side.erase(candidate.key);
    }
  });
  return pruned;
}

}  // namespace opscore::sqlite
