#pragma once
// Gathers what diagnose() decides from.

#include "opscore/engine/diagnosis.h"
#include "opscore/store/store.h"

namespace opscore {

// Of sessions, those that have not ended and those that ended within `ended_within`. Throws what
// the store throws.
Facts gather_facts(Store& store, const Clock& clock, Task task, Duration ended_within);

// Since when no process does maintenance; `sessions` are those that have not ended.
std::optional<TimePoint> unled_since(Store& store, const std::vector<Session>& sessions,
                                     TimePoint now);

// The session of "worker-7" or "7", that has not ended, or ended within that time. Throws
// Error{not_found}.
Session find_worker(Store& store, std::string_view worker, Duration ended_within);

}  // namespace opscore
