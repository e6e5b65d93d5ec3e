#pragma once
// Waits between tries to reach the server: longer each time, and not at once for everybody.

#include <algorithm>

#include "opscore/base/mutex.h"
#include "opscore/base/random.h"
#include "opscore/base/time.h"

namespace opscore::postgres {

class Backoff {
 public:
  explicit Backoff(Random& random) : random_(random) {}
  void reset() { failures_ = 0; }
  Duration next() {
    int64_t longest = std::min<int64_t>(1000, int64_t{10} << std::min(failures_++, 10));
    auto half = static_cast<uint64_t>(longest / 2);
    return Duration(longest / 2 + static_cast<int64_t>(random_.below(half + 1)));
  }
  // Never longer than what is left.
  void wait(Deadline deadline) {
    Mutex mutex;
    ConditionVariable nobody;
    MutexLock lock(mutex);
    nobody.wait_for(lock, std::min(next(), deadline.left()), [] { return false; });
  }

 private:
  Random& random_;
  int failures_ = 0;
};

}  // namespace opscore::postgres
