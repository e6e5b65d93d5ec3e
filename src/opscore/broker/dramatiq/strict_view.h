#pragma once
// Messages of Python for who reads strict JSON only: actors and the API. Pure.

#include <string>
#include <string_view>
#include <vector>

namespace opscore {

// Compact text as strict JSON, for who does not speak Python's: what is not a number there becomes
// null, a lone surrogate the six characters of its escape.
struct StrictView {
  std::string json;
  std::vector<std::string> lossy;  // where nulls stand for numbers: "args[0].x"; the first of them
  size_t lossy_total = 0;
};
inline constexpr size_t kLossyPlacesMax = 100;
StrictView strict_view(std::string_view compact);

}  // namespace opscore
