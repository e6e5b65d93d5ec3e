#pragma once
// What the bytes that an actor's program or server answered with are as a result: a pure function.

#include <string>
#include <string_view>

#include "opscore/model/outcome.h"

namespace opscore {

enum class OutputFormat : uint8_t {
  text,  // UTF-8; the result is a JSON string of it
  json,  // exactly one JSON value, which is the result
};

// Completed, or failed for good as `bad_output` or `result_too_large`. `what` names the bytes in
// messages ("stdout"); `detail` goes with a failure.
Outcome output_result(std::string_view what, std::string_view output, OutputFormat format,
                      size_t result_bytes_max, const std::string& detail);

// Failed for good: `what` is larger than that.
Outcome too_large(std::string_view what, size_t limit, const std::string& detail);

}  // namespace opscore
