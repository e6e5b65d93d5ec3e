#pragma once
// One pair of queue and type, by the number that rows carry.

#include <cstdint>
#include <string>

namespace opscore::postgres {

using LaneId = int64_t;

struct Lane {
  LaneId id = 0;
  std::string queue;
  std::string type;
};

}  // namespace opscore::postgres
