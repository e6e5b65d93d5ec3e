#pragma once
// The body of POST /api/v1/dramatiq/reports. Pure.

#include <string_view>
#include <vector>

#include "opscore/engine/mirror.h"

namespace opscore {

inline constexpr size_t kReportsMax = 1000;

// Throws Error{malformed, invalid, too_large} with the place of what is wrong. `now` is when
// something happened that does not say when.
std::vector<MirroredReport> read_reports(std::string_view body, TimePoint now);

}  // namespace opscore
