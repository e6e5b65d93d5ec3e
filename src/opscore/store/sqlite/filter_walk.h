#pragma once
// The tasks in a range of keys, one after the other, and whether each matches a filter. Walks the
// table that holds every match with the fewest other rows. Belongs to the borrower of its ReadSide;
// what it refers to must outlive it.

#include "opscore/model/task_filter.h"
#include "opscore/store/sqlite/reader_pool.h"

namespace opscore::sqlite {

class FilterWalk {
 public:
  enum class Order : uint8_t { oldest_first, newest_first };
  FilterWalk(ReadSide& side, const TaskFilter& filter, const KeyRange& range, Order order);

  // False behind the last task.
  bool next() { return rows_.next(); }
  TaskKey key() const { return TaskKey{rows_.integer(0)}; }
  // The state of the task, if it matches.
  std::optional<State> match();

 private:
  ReadSide& side_;
  const TaskFilter& filter_;
  const std::string sql_;
  Statement walk_;
  Statement::Rows rows_;
};

}  // namespace opscore::sqlite
