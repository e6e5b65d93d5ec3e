#include "opscore/model/stored_json.h"

#include <limits>

namespace opscore {

int read_int(JsonReader& in) {
  int64_t value = in.integer();
  if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max())
    in.fail(Errc::corrupt, fmt::format("{} is out of range", value));
  return static_cast<int>(value);
}

std::string encode_retry(const RetryPolicy& retry) {
  return fmt::format(R"({{"min_ms":{},"max_ms":{},"factor":{},"jitter_low":{},"jitter_high":{}}})",
                     retry.min.count(), retry.max.count(), retry.factor, retry.jitter_low,
                     retry.jitter_high);
}

RetryPolicy read_retry(JsonReader& in) {
  RetryPolicy retry;
  in.object([&](std::string_view name) {
    if (name == "min_ms")
      retry.min = read_duration(in);
    else if (name == "max_ms")
      retry.max = read_duration(in);
    else if (name == "factor")
      retry.factor = in.number();
    else if (name == "jitter_low")
      retry.jitter_low = in.number();
    else if (name == "jitter_high")
      retry.jitter_high = in.number();
    else
      in.fail(Errc::corrupt, "unknown member");
  });
  return retry;
}

}  // namespace opscore
