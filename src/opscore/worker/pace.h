#pragma once
// How long a task occupies a slot, smoothed; what a runner may claim ahead follows from it. Any
// thread.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "opscore/base/time.h"
#include "opscore/model/limits.h"

namespace opscore {

class Pace {
 public:
  // What is claimed ahead at most, whatever the pace.
  static constexpr size_t kAheadMax = 2 * limits::kClaimBatch;

  void took(std::chrono::nanoseconds time) {
    int64_t pace = ns_.load(std::memory_order_relaxed);
    // The first measurement is the pace; 0 stands for none.
    int64_t next = pace == 0 ? time.count() : pace + (time.count() - pace) / 4;
    ns_.store(std::max<int64_t>(next, 1), std::memory_order_relaxed);
  }
  bool is_known() const { return ns_.load(std::memory_order_relaxed) > 0; }
  // How many tasks one slot starts within `ahead`, whose present task has taken `elapsed`: one that
  // has been at it for longer than the pace will be for as long again, as far as anyone can tell.
  double in_time(Duration ahead, std::chrono::nanoseconds elapsed) const {
    const int64_t pace = ns_.load(std::memory_order_relaxed);
    if (pace == 0) return 0;
    return static_cast<double>(std::chrono::nanoseconds(ahead).count()) /
           static_cast<double>(std::max({pace, elapsed.count(), kFloorNs}));
  }

 private:
  // The shortest time a task is taken to occupy a slot: hand-over and bookkeeping.
  static constexpr int64_t kFloorNs = 2'000;
  std::atomic<int64_t> ns_{0};
};

}  // namespace opscore
