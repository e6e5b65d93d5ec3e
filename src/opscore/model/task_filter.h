#pragma once
// Which tasks a list or a bulk job is about. Plain data; every condition that is set must hold.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "opscore/base/task_key.h"
#include "opscore/model/state.h"
#include "opscore/model/task.h"

namespace opscore {

struct TaskFilter {
  StateSet states;  // empty: all
  std::string type;
  std::string queue;
  std::vector<std::pair<std::string, std::string>> labels;  // all must match
  std::optional<TimePoint> created_since;                   // inclusive
  std::optional<TimePoint> created_before;                  // exclusive

  // Nothing is asked for: every task matches.
  bool empty() const {
    return states.empty() && type.empty() && queue.empty() && labels.empty() && !created_since &&
           !created_before;
  }
};

// Whether a task has all the labels that a filter asks for.
bool has_labels(const TaskFilter& filter, const TaskOptions& options);

// The keys that can match: [first, end).
struct KeyRange {
  TaskKey first;
  TaskKey end;
};
KeyRange range_of(const TaskFilter& filter);

// As JSON for a column; and back. Throws Error{corrupt}.
std::string encode_filter(const TaskFilter& filter);
TaskFilter decode_filter(std::string_view text);

}  // namespace opscore
