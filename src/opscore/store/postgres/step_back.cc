#include "opscore/store/postgres/step_back.h"

#include <algorithm>

#include "opscore/model/limits.h"

namespace opscore::postgres {
namespace {

// What is ahead by less is due before anybody notices.
constexpr Duration kStep{1000};
constexpr Duration kLookEvery{10'000};
constexpr int kShare = 100;  // a look may take this part of the time

// Keys carry the time at which they were made, sessions that of their last renewal.
constexpr Statement kLatest{
    "latest_time",
    "SELECT greatest((SELECT max(key) >> 20 FROM tasks), (SELECT max(greatest(renewed, ended)) "
    "FROM sessions))"};
// Between the first place that a pending task of the future can have and the last: what is
// scheduled for later than the clock ever was is not looked at.
constexpr Statement kBringBack{
    "bring_back",
    "WITH ahead AS MATERIALIZED (SELECT c.key FROM unnest($1::bigint[]) s(lane) CROSS JOIN LATERAL "
    "(SELECT l.key FROM live l WHERE l.lane = s.lane AND l.place > $2::bigint AND l.place <= "
    "$3::bigint AND l.state + 0 = 2 AND l.run_at > $4::bigint AND l.external IS NULL "
    "ORDER BY l.place, l.key + 0 LIMIT $5::bigint FOR UPDATE SKIP LOCKED) c LIMIT $5::bigint) "
    "UPDATE live l SET run_at = $4::bigint, place = l.place - (l.run_at - $4::bigint) "
    "WHERE l.key = ANY(ARRAY(SELECT key FROM ahead)) RETURNING l.lane, l.place"};

}  // namespace

TimePoint StepBack::latest_known() const {
  return parts_.readers.run("read the latest time", [](Connection& connection) {
    return connection.query(kLatest).time(0, 0);
  });
}

size_t StepBack::mend(size_t limit) {
  MutexLock lock(mutex_);
  const TimePoint now = parts_.clock.now();
  if (!latest_) latest_ = latest_known();
  if (now + kStep >= *latest_) {
    latest_ = std::max(*latest_, now);
    look_at_ = {};
    return 0;
  }
  const SteadyPoint begun = parts_.clock.steady();
  if (begun < look_at_) return 0;
  const size_t moved = bring_back(now, *latest_, limit);
  if (moved > 0)
    parts_.log.warn("the clock has stepped back by {}: {} tasks that were due stay due",
                    to_text(std::chrono::floor<std::chrono::seconds>(*latest_ - now)), moved);
  const SteadyPoint ended = parts_.clock.steady();
  const SteadyPoint::duration pause =
      std::max<SteadyPoint::duration>(kLookEvery, (ended - begun) * kShare);
  look_at_ = moved == limit ? begun : ended + pause;
  return moved;
}

size_t StepBack::bring_back(TimePoint now, TimePoint latest, size_t limit) const {
  size_t moved = 0;
  parts_.writers.run("bring back", [&](Transaction& transaction) {
    parts_.lanes.load(transaction.outside());
    Array lanes = Array::numbers();
    for (const Lane& lane : parts_.lanes.all()) lanes.add(lane.id);
    Rows rows =
        transaction.query(kBringBack, Parameters::of(lanes, order_of(now, limits::kPriorityMax),
                                                     order_of(latest, -limits::kPriorityMax), now,
                                                     static_cast<int64_t>(limit)));
    Live due;
    due.state = State::pending;
    for (int i = 0; i < rows.size(); ++i)
      transaction.note_queue(parts_.lanes.lane(transaction, rows.integer(i, 0)).queue, due,
                             rows.integer(i, 1));
    moved = static_cast<size_t>(rows.size());
  });
  return moved;
}

}  // namespace opscore::postgres
