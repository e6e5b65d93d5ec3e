#pragma once
// Rows of live and outcomes as C++ values.

#include "opscore/store/postgres/connection.h"
#include "opscore/store/postgres/lanes.h"
#include "opscore/store/stored_task.h"

namespace opscore::postgres {

struct LiveRow {
  TaskKey key;
  LaneId lane = 0;
  int priority = 0;
  Live live;
  std::optional<TimePoint> deadline;
  std::string progress;
};

// The columns of live that decode_live() reads, from `first` on.
#define OPSCORE_LIVE_COLUMNS                                                                   \
  "l.key, l.lane, l.priority, l.state, l.run_at, l.attempt, l.session, l.claimed, l.started, " \
  "l.charged, l.budget, l.snoozes, l.losses, l.deaths, l.suspect, l.cancel_requested, "        \
  "l.edits, l.deadline, l.progress, l.external"
inline constexpr int kLiveColumns = 20;
LiveRow decode_live(const Rows& rows, int row, int first = 0);

#define OPSCORE_OUTCOME_COLUMNS                                                          \
  "o.key, o.state, o.attempt, o.charged, o.edits, o.ended, o.ended_charged, o.session, " \
  "o.claimed, o.started, o.finished, o.result, o.error"
inline constexpr int kOutcomeColumns = 13;
OutcomeRow decode_outcome(const Rows& rows, int row, int first = 0);

// From attempt, ended, charged, session, claimed, started, finished, error.
Attempt decode_attempt(const Rows& rows, int row, int first = 0);

// New rows of tables, gathered for one INSERT each.
class LiveInsert {
 public:
  void add(const LiveRow& row);
  size_t size() const { return keys_.size(); }
  static const Statement& statement();
  Parameters parameters() const;

 private:
  Array keys_ = Array::numbers(), places_ = Array::numbers(), run_at_ = Array::numbers(),
        deadlines_ = Array::numbers(), lanes_ = Array::numbers(), attempts_ = Array::numbers(),
        charged_ = Array::numbers(), budgets_ = Array::numbers(), snoozes_ = Array::numbers(),
        losses_ = Array::numbers(), deaths_ = Array::numbers(), edits_ = Array::numbers(),
        priorities_ = Array::numbers(), states_ = Array::numbers(), suspects_ = Array::numbers(),
        external_ = Array::numbers();
};

class OutcomeInsert {
 public:
  void add(const OutcomeRow& row);
  size_t size() const { return keys_.size(); }
  static const Statement& statement();
  Parameters parameters() const;

 private:
  Array keys_ = Array::numbers(), sessions_ = Array::numbers(), claimed_ = Array::numbers(),
        started_ = Array::numbers(), finished_ = Array::numbers(), attempts_ = Array::numbers(),
        charged_ = Array::numbers(), edits_ = Array::numbers(), states_ = Array::numbers(),
        ended_ = Array::numbers(), ended_charged_ = Array::numbers(), results_ = Array::texts(),
        errors_ = Array::texts();
};

class AttemptInsert {
 public:
  void add(TaskKey key, const Attempt& attempt);
  size_t size() const { return keys_.size(); }
  static const Statement& statement();
  Parameters parameters() const;

 private:
  Array keys_ = Array::numbers(), numbers_ = Array::numbers(), ended_ = Array::numbers(),
        charged_ = Array::numbers(), sessions_ = Array::numbers(), claimed_ = Array::numbers(),
        started_ = Array::numbers(), finished_ = Array::numbers(), errors_ = Array::texts();
};

}  // namespace opscore::postgres
