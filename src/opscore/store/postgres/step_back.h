#pragma once
// After the clock has stepped back, tasks that were due are not: their times lie ahead, for as long
// as the step was. Gives them the time of now, so that they can be claimed, and stand before what
// is submitted from now on.

#include <optional>

#include "opscore/base/mutex.h"
#include "opscore/store/postgres/parts.h"

namespace opscore::postgres {

// Safe for concurrent use.
class StepBack {
 public:
  explicit StepBack(Parts& parts) : parts_(parts) {}

  // How many it has moved, at most `limit`. Until the clock has caught up it looks every now and
  // then, since some may come late: what ran when the clock stepped and is handed back.
  size_t mend(size_t limit);

 private:
  TimePoint latest_known() const;
  size_t bring_back(TimePoint now, TimePoint latest, size_t limit) const;

  Parts& parts_;
  Mutex mutex_;
  std::optional<TimePoint> latest_ OPSCORE_GUARDED_BY(mutex_);  // that the clock ever showed
  SteadyPoint look_at_ OPSCORE_GUARDED_BY(mutex_){};
};

}  // namespace opscore::postgres
