#include "opscore/net/retry_after.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <string_view>

namespace opscore {
namespace {

constexpr double kMostMs = 7.0 * 24 * 3600 * 1000;

std::optional<double> parse_number(const std::string& text) {
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

// The names are English whatever the locale.
std::optional<TimePoint> parse_http_date(const std::string& text) {
  static constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  char month[4] = {};
  int day = 0, year = 0, hour = 0, minute = 0, second = 0;
  const size_t comma = text.find(',');
  if (comma == std::string::npos ||
      std::sscanf(text.c_str() + comma + 1, " %2d %3s %4d %2d:%2d:%2d", &day, month, &year, &hour,
                  &minute, &second) != 6)
    return std::nullopt;
  const size_t at = kMonths.find(month);
  if (at == std::string_view::npos || at % 3 != 0) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(at / 3 + 1)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second);
}

}  // namespace

std::optional<Duration> parse_retry_after(const std::string& text, TimePoint now) {
  double ms = 0;
  if (const auto seconds = parse_number(text)) {
    if (*seconds < 0) return std::nullopt;
    ms = *seconds * 1000;
  } else if (const auto at = parse_http_date(text)) {
    ms = static_cast<double>((*at - now).count());
  } else {
    return std::nullopt;
  }
  return Duration(static_cast<int64_t>(std::ceil(std::clamp(ms, 0.0, kMostMs))));
}

}  // namespace opscore
