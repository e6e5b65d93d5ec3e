#include "opscore/store/postgres/server_clock.h"

#include <algorithm>

namespace opscore {
namespace {

using namespace std::chrono;

int64_t microseconds_of(SteadyPoint at) {
  return floor<microseconds>(at.time_since_epoch()).count();
}

}  // namespace

TimePoint ServerClock::now() const {
  int64_t ahead_us = ahead_us_.load(std::memory_order_relaxed);
  if (ahead_us == kUnheard) return SystemClock().now();
  return floor<milliseconds>(
      sys_time<microseconds>(microseconds(microseconds_of(steady()) + ahead_us)));
}

ServerClock::Moved ServerClock::hear(sys_time<Moved> said, SteadyPoint asked,
                                     SteadyPoint answered) {
  int64_t said_us = said.time_since_epoch().count();
  int64_t low = said_us - microseconds_of(answered), high = said_us - microseconds_of(asked);
  int64_t before = ahead_us_.load(std::memory_order_relaxed);
  int64_t next = before == kUnheard ? low + (high - low) / 2 : std::clamp(before, low, high);
  if (before == kUnheard)
    before = floor<microseconds>(system_clock::now().time_since_epoch()).count() -
             microseconds_of(steady());
  ahead_us_.store(next, std::memory_order_relaxed);
  return Moved(next - before);
}

}  // namespace opscore
