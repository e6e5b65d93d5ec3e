#pragma once
// Walks over the tasks that a filter may match, in the order of their keys, and says which do.
// Reads stride by stride, so it sees what is there when it comes by.

#include "opscore/model/task_filter.h"
#include "opscore/store/postgres/lanes.h"

namespace opscore::postgres {

class FilterWalk {
 public:
  enum class Order : uint8_t { newest_first, oldest_first };
  // `stride`: about how many rows the caller expects to look at.
  FilterWalk(Connection& connection, Lanes& lanes, const TaskFilter& filter, KeyRange range,
             Order order, size_t stride);

  bool next();
  TaskKey key() const { return key_; }
  // The state of the task at hand when it matches.
  std::optional<State> match();

 private:
  Connection& connection_;
  Lanes& lanes_;
  const TaskFilter& filter_;
  KeyRange range_;  // what is left
  const Order order_;
  size_t stride_;
  std::optional<Rows> rows_;
  int row_ = 0;
  TaskKey key_;
};

}  // namespace opscore::postgres
