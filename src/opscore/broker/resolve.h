#pragma once
// The addresses of a host, within a limit of time: the system's lookup has none of its own.

#include <expected>
#include <string>
#include <vector>

#include "opscore/base/error.h"
#include "opscore/base/time.h"

namespace opscore {

// In the system's order of preference, as text; at least one. Safe for concurrent use.
std::expected<std::vector<std::string>, Error> resolve(const std::string& host, Deadline deadline);

}  // namespace opscore
