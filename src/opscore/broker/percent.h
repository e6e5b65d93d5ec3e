#pragma once
// %XX in the parts of URLs. Pure.

#include <optional>
#include <string>
#include <string_view>

namespace opscore {

// Nothing when a % stands without two hexadecimal digits behind it.
std::optional<std::string> percent_decode(std::string_view text);

}  // namespace opscore
