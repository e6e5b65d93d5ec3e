#pragma once
// Time. Wall time (TimePoint) is for what users see and for run_at, deadlines and retention; steady
// time is for timeouts, waits and TTLs. Both come from a Clock so that tests and the simulation own
// them. Resolution is a millisecond everywhere that is stored.

#include <chrono>
#include <expected>
#include <string>
#include <string_view>

#include "opscore/base/error.h"
#include "opscore/base/mutex.h"

namespace opscore {

using Duration = std::chrono::milliseconds;
using TimePoint = std::chrono::sys_time<std::chrono::milliseconds>;
using SteadyPoint = std::chrono::steady_clock::time_point;

inline int64_t to_ms(TimePoint at) {
  return at.time_since_epoch().count();
}
inline TimePoint from_ms(int64_t ms) {
  return TimePoint(Duration(ms));
}

// Safe for concurrent use.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  virtual SteadyPoint steady() const = 0;
};

class SystemClock final : public Clock {
 public:
  TimePoint now() const override;
  SteadyPoint steady() const override;
};

// Stands still until advanced. jump() moves only the wall clock, as an operator or NTP would.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(TimePoint start = from_ms(1'750'000'000'000)) : now_(start) {}
  TimePoint now() const override;
  SteadyPoint steady() const override;
  void advance(Duration by);
  void jump(Duration by);

 private:
  mutable Mutex mutex_;
  TimePoint now_ OPSCORE_GUARDED_BY(mutex_);
  SteadyPoint steady_ OPSCORE_GUARDED_BY(mutex_){std::chrono::hours(1)};
};

// The instant at which a blocking call must give up. On the real steady clock: it bounds threads.
class Deadline {
 public:
  static Deadline after(std::chrono::nanoseconds wait) {
    return Deadline(std::chrono::steady_clock::now() + wait);
  }
  static Deadline never() { return Deadline(SteadyPoint::max()); }
  static Deadline at(SteadyPoint when) { return Deadline(when); }

  SteadyPoint when() const { return at_; }
  bool passed() const { return std::chrono::steady_clock::now() >= at_; }
  // What is left, never negative; a day when there is no limit.
  Duration left() const;

 private:
  explicit Deadline(SteadyPoint at) : at_(at) {}
  SteadyPoint at_;
};

// RFC 3339 in UTC with milliseconds: 2026-11-20T10:03:00.123Z. Parsing accepts any offset, 0-9
// fraction digits and a space for the T; anything else is an error that says what was expected.
std::string to_rfc3339(TimePoint at);
std::expected<TimePoint, Error> parse_rfc3339(std::string_view text);

// "250ms", "30s", "10m", "1h", "7d", or a plain number of seconds ("1.5"). Never negative.
std::expected<Duration, Error> parse_duration(std::string_view text);
// The shortest of the same notation that is exact: 90000 ms -> "90s".
std::string to_text(Duration duration);

}  // namespace opscore
