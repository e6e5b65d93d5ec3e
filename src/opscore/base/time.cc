#include "opscore/base/time.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "opscore/base/utf8.h"

namespace opscore {

using namespace std::chrono;

TimePoint SystemClock::now() const {
  return floor<milliseconds>(system_clock::now());
}
SteadyPoint SystemClock::steady() const {
  return steady_clock::now();
}

TimePoint FakeClock::now() const {
  MutexLock lock(mutex_);
  return now_;
}
SteadyPoint FakeClock::steady() const {
  MutexLock lock(mutex_);
  return steady_;
}
void FakeClock::advance(Duration by) {
  MutexLock lock(mutex_);
  now_ += by;
  steady_ += by;
}
void FakeClock::jump(Duration by) {
  MutexLock lock(mutex_);
  now_ += by;
}

Duration Deadline::left() const {
  auto now = steady_clock::now();
  if (at_ <= now) return Duration(0);
  if (at_ - now > hours(24)) return hours(24);
  return ceil<milliseconds>(at_ - now);
}

std::string to_rfc3339(TimePoint at) {
  auto day = floor<days>(at);
  year_month_day date(day);
  hh_mm_ss time(at - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count(),
                     time.subseconds().count());
}

namespace {

// Reads exactly `digits` decimal digits.
bool take_number(std::string_view& text, size_t digits, int& out) {
  if (text.size() < digits) return false;
  const char* begin = text.data();
  auto [end, code] = std::from_chars(begin, begin + digits, out);
  if (code != std::errc() || end != begin + digits || *begin == '-') return false;
  text.remove_prefix(digits);
  return true;
}

bool take_char(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text[0]) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::expected<TimePoint, Error> parse_rfc3339(std::string_view text) {
  auto fail = [&] {
    return std::unexpected(Error(
        Errc::invalid,
        fmt::format("'{}' is not an RFC 3339 time, such as 2026-01-31T12:00:00Z", shown(text))));
  };
  std::string_view rest = text;
  int year_n, month_n, day_n, hour_n, minute_n, second_n;
  if (!take_number(rest, 4, year_n) || !take_char(rest, "-") || !take_number(rest, 2, month_n) ||
      !take_char(rest, "-") || !take_number(rest, 2, day_n) || !take_char(rest, "Tt ") ||
      !take_number(rest, 2, hour_n) || !take_char(rest, ":") || !take_number(rest, 2, minute_n) ||
      !take_char(rest, ":") || !take_number(rest, 2, second_n))
    return fail();
  int64_t fraction_ms = 0;
  if (take_char(rest, ".")) {
    size_t digits = 0;
    for (int64_t scale = 100; digits < rest.size() && rest[digits] >= '0' && rest[digits] <= '9';
         ++digits, scale /= 10)
      fraction_ms += (rest[digits] - '0') * scale;
    if (digits == 0 || digits > 9) return fail();
    rest.remove_prefix(digits);
  }
  minutes offset(0);
  if (!take_char(rest, "Zz")) {
    bool west = !rest.empty() && rest[0] == '-';
    int hours_n, minutes_n;
    if (!take_char(rest, "+-") || !take_number(rest, 2, hours_n) || !take_char(rest, ":") ||
        !take_number(rest, 2, minutes_n) || hours_n > 23 || minutes_n > 59)
      return fail();
    offset = minutes((hours_n * 60 + minutes_n) * (west ? -1 : 1));
  }
  year_month_day date{year(year_n), month(static_cast<unsigned>(month_n)),
                      day(static_cast<unsigned>(day_n))};
  if (!rest.empty() || !date.ok() || hour_n > 23 || minute_n > 59 || second_n > 60) return fail();
  TimePoint at = TimePoint(sys_days(date)) + hours(hour_n) + minutes(minute_n) + seconds(second_n) +
                 milliseconds(fraction_ms) - offset;
  // A leap second or an offset may lead out of the years that can be written.
  year_month_day written(std::chrono::floor<std::chrono::days>(at));
  if (written.year() < year(0) || written.year() > year(9999)) return fail();
  return at;
}

std::expected<Duration, Error> parse_duration(std::string_view text) {
  double number = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  double scale = unit == "ms"                  ? 1
                 : unit == "s" || unit.empty() ? 1e3
                 : unit == "m"                 ? 60e3
                 : unit == "h"                 ? 3600e3
                 : unit == "d"                 ? 86400e3
                                               : 0;
  if (code != std::errc() || scale == 0 || !std::isfinite(number) || number < 0)
    return std::unexpected(
        Error(Errc::invalid,
              fmt::format("'{}' is not a duration, such as 250ms, 30s, 10m, 1h, 7d", shown(text))));
  // A century bounds every sum that is later made with it.
  if (number * scale > 3.2e12)
    return std::unexpected(Error(
        Errc::invalid, fmt::format("'{}' is too long; at most 37000d, a century", shown(text))));
  return Duration(std::llround(number * scale));
}

std::string to_text(Duration duration) {
  auto ms = duration.count();
  if (ms != 0 && ms % 86'400'000 == 0) return fmt::format("{}d", ms / 86'400'000);
  if (ms != 0 && ms % 3'600'000 == 0) return fmt::format("{}h", ms / 3'600'000);
  if (ms != 0 && ms % 60'000 == 0) return fmt::format("{}m", ms / 60'000);
  if (ms % 1000 == 0) return fmt::format("{}s", ms / 1000);
  return fmt::format("{}ms", ms);
}

}  // namespace opscore
