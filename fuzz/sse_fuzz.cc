// SSE streams from outside: the same events however the bytes are cut, within the limits.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "opscore/net/sse_reader.h"

namespace {

using opscore::SseEvent;
using opscore::SseReader;

constexpr opscore::SseLimits kLimits{.line_bytes_max = 64, .event_bytes_max = 128};

struct Read {
  std::vector<SseEvent> events;
  bool refused = false;
};

Read read_in_pieces(std::string_view bytes, size_t piece) {
  SseReader reader(kLimits);
  Read read;
  const auto take = [&](const auto& events) {
    if (!events) {
      read.refused = true;
      return;
    }
    read.events.insert(read.events.end(), events->begin(), events->end());
  };
  while (!bytes.empty() && !read.refused) {
    take(reader.feed(bytes.substr(0, piece)));
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  if (!read.refused) take(reader.finish());
  return read;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t piece = data[0] % 7 + 1;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Read cut = read_in_pieces(bytes, piece);
  const Read whole = read_in_pieces(bytes, bytes.size());
  if (cut.refused != whole.refused) std::abort();
  // A refused stream may have given events of earlier pieces; an accepted one gives all.
  if (!cut.refused && cut.events != whole.events) std::abort();
  for (const SseEvent& event : whole.events)
    if (event.data.size() > kLimits.event_bytes_max) std::abort();
  return 0;
}
