#pragma once

#include <cstdint>

namespace opscore {

// A size such as 64MiB.
struct Bytes {
  int64_t value = 0;
  bool operator==(const Bytes&) const = default;
};

}  // namespace opscore
