#pragma once
// When a server that cannot serve now wants to be asked again. Pure.

#include <optional>
#include <string>

#include "opscore/base/time.h"

namespace opscore {

// The value of a Retry-After header: seconds, also fractions of one, or an HTTP date (RFC 9110:
// "Fri, 20 Nov 2026 08:47:55 GMT"), counted from `now`. Nothing when it is neither; not negative,
// at most a week.
std::optional<Duration> parse_retry_after(const std::string& text, TimePoint now);

}  // namespace opscore
