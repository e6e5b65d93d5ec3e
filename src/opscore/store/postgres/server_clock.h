#pragma once
// The wall clock of an installation on PostgreSQL: the server's, which all its processes share. So
// a clock that jumps, or is wrong, on the machine of one process makes nothing run early and holds
// nothing back. It is what the server said last, moved on by the steady clock here; until a server
// was heard, the clock of this machine. now() is safe for concurrent use.

#include <atomic>
#include <limits>

#include "opscore/base/time.h"

namespace opscore {

class ServerClock final : public Clock {
 public:
  using Moved = std::chrono::microseconds;

  TimePoint now() const override;
  SteadyPoint steady() const override { return std::chrono::steady_clock::now(); }

  // The server said that it is `said`, some time between the question and its answer. Keeps its own
  // opinion as far as the answer allows, so that a slow answer moves nothing. By how much now() has
  // jumped. For one thread at a time.
  Moved hear(std::chrono::sys_time<Moved> said, SteadyPoint asked, SteadyPoint answered);

 private:
  static constexpr int64_t kUnheard = std::numeric_limits<int64_t>::min();
  std::atomic<int64_t> ahead_us_{kUnheard};  // wall time minus steady time
};

}  // namespace opscore
