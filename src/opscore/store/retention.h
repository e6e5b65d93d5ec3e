#pragma once
// For how long finished tasks are kept.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "opscore/base/time.h"
#include "opscore/model/task.h"

namespace opscore {

struct Retention {
  Duration completed;
  Duration failed;  // and cancelled
  std::vector<std::pair<std::string, Duration>> completed_by_type;

  // For how long a task that ended so is kept.
  Duration of(State state, const std::string& type) const {
    if (state != State::completed) return failed;
    for (const auto& [of_type, keep] : completed_by_type)
      if (of_type == type) return keep;
    return completed;
  }
  Duration shortest() const {
    Duration shortest = std::min(completed, failed);
    for (const auto& [type, keep] : completed_by_type) shortest = std::min(shortest, keep);
    return shortest;
  }
};

}  // namespace opscore
