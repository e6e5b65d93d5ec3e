#pragma once
// Rows that a commit wrote for others to hear of, and what became of them. Threads and failures are
// those of store.h.

#include <span>
#include <string>
#include <vector>

#include "opscore/model/plan.h"

namespace opscore {

// Rows written with the commit that caused them, delivered by the relay afterwards.
class Outbox {
 public:
  virtual ~Outbox() = default;
  // Due rows of one kind, those that have been due for longest first, without those for the given
  // destinations; they stay until settled. Tokens are due whatever the clock says.
  virtual std::vector<OutboxRow> due(OutboxRow::Kind kind, size_t limit,
                                     const std::vector<std::string>& but_for = {}) = 0;
  virtual void settle(std::span<const int64_t> delivered) = 0;
  // Adds rows that belong to no change of a task; their ids are the store's to give.
  virtual void add(std::vector<OutboxRow> rows) = 0;
  // Settles each row or has it wait, and writes the event, unless the task is gone, in one
  // transaction. Does nothing for a row that is settled already.
  virtual void record(std::span<const OutboxTry> tried) = 0;
  void record(const OutboxTry& tried) { record(std::span(&tried, 1)); }
};

}  // namespace opscore
