#pragma once
// How many tasks of each queue are in each state. Unfinished ones are counted at open, finished
// ones are kept in the table `counters`, written with the transaction that changes them. Belongs to
// the writing thread.

#include <array>
#include <vector>

#include "opscore/model/state.h"
#include "opscore/store/sqlite/lanes.h"

namespace opscore::sqlite {

class Tally {
 public:
  using Counts = std::array<int64_t, kStateCount>;

  explicit Tally(Connection& db);

  // Reads the counters of finished tasks.
  void load(Connection& db, Lanes& lanes);
  void add(QueueId queue, State state, int64_t count = 1);
  // Writes the counters that this transaction changes.
  void save(const Lanes& lanes);
  void commit();
  void rollback();

  // Queues that have, or had since the file was opened, a task.
  const std::vector<QueueId>& seen() const { return seen_; }
  Counts counts(QueueId queue) const;

 private:
  struct Queue {
    Counts counts{};
    Counts change{};  // of this transaction
    bool seen = false;
    bool changed = false;
  };
  Queue& at(QueueId queue);

  std::vector<Queue> queues_;
  std::vector<QueueId> seen_;
  std::vector<QueueId> changed_;
  Statement save_;
};

}  // namespace opscore::sqlite
