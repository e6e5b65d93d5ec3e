#pragma once
// What the two ways to claim share: claims.cc takes what nothing but a number limits, in one round
// trip; limited_claims.cc looks first and then chooses.

#include <map>
#include <set>

#include "opscore/store/postgres/parts.h"
#include "opscore/store/postgres/task_rows.h"

namespace opscore::postgres {

// Rescue takes it alone and ends the session: a claim comes before that, or finds the session
// ended.
extern const Statement kHoldSession;

// A row of live that is due, of lane s.lane from s.first on. No due task is more urgent than one of
// the highest priority that became due just now, which bounds the walk over what is scheduled.
#define OPSCORE_DUE_ROW(last, now)                              \
  "l.lane = s.lane AND l.place >= s.first AND l.place <= " last \
  "::bigint AND "                                               \
  "l.state + 0 IN (0, 2) AND l.run_at <= " now                  \
  "::bigint AND l.external IS NULL AND "                        \
  "(l.deadline IS NULL OR l.deadline > " now "::bigint)"

// Their order, and that of the indexes on places.
#define OPSCORE_BEST_FIRST "l.place, l.key + 0"

// What a claimed row l of live becomes.
#define OPSCORE_TAKE(session, now)                                         \
  "UPDATE live l SET state = 3, attempt = attempt + 1, session = " session \
  "::bigint, claimed = " now                                               \
  "::bigint, started = NULL, cancel_requested = false, "                   \
  "progress = NULL"

// Its input, as last edited, and options.
#define OPSCORE_PAYLOAD                                                                     \
  " CROSS JOIN LATERAL (SELECT CASE WHEN l.edits > 0 THEN (SELECT i.input FROM inputs i "   \
  "WHERE i.key = l.key ORDER BY i.edit DESC LIMIT 1) ELSE t.input END AS input, t.options " \
  "FROM tasks t WHERE t.key = l.key LIMIT 1) t"

struct Standing {  // of one task in its queue
  int64_t place = 0;
  TaskKey key;
  auto operator<=>(const Standing&) const = default;
};

// The lanes of the queues that a claim is about.
class ClaimedLanes {
 public:
  ClaimedLanes(Parts& parts, const ClaimRequest& request, const Settings& settings, TimePoint now);

  struct Source {
    Lane lane;
    size_t queue = 0;  // of the request
    bool paused = false;
    int64_t first = kFirstPlace;
  };
  const std::vector<Source>& known() const { return known_; }  // of types that the worker runs
  const Source* find(LaneId id) const;
  int64_t last_place() const;
  TimePoint now() const { return now_; }

  // What else the result says: which types wait unserved, and when the next task is due.
  void ask(Transaction& transaction);
  void answer(Transaction& transaction, ClaimResult& result,
              const std::map<size_t, Standing>& left_behind);  // by queue, the best
  // Everything in the lane before this place was taken.
  void raise(const Source& source, int64_t place);

 private:
  Parts& parts_;
  const TimePoint now_;
  const uint64_t seen_;
  std::vector<Source> known_, strange_;
  size_t strange_rows_ = 0, due_rows_ = 0;
  std::map<LaneId, TimePoint> next_due_;
};

// Columns are those of live, then one, input, options.
ClaimedTask decode_claimed(const Rows& rows, int row, const Lane& lane);

ClaimResult claim_with_limits(Parts& parts, const ClaimRequest& request);

}  // namespace opscore::postgres
