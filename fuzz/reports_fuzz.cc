// What Python's workers report: whatever is read names its attempt, its kind and its message, and
// what is refused is refused as an Error.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "opscore/api/report_body.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace opscore;
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  try {
    const auto reports = read_reports(body, from_ms(1'750'000'000'000));
    if (reports.size() > kReportsMax) std::abort();
    for (const MirroredReport& heard : reports)
      if (heard.report.attempt < 1 || heard.message_id.empty()) std::abort();
  } catch (const Error&) {
  }
  return 0;
}
