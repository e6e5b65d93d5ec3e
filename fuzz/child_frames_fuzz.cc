// What a Python child says: a stream of frames, cut anywhere, is read or refused, and nothing else.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "opscore/actor/python/frames.h"

namespace {

// How much was said before the stream ended or was refused.
size_t read_in_pieces(std::string_view bytes, size_t piece) {
  opscore::FrameReader reader;
  size_t said = 0;
  try {
    while (!bytes.empty()) {
      reader.feed(bytes.substr(0, piece));
      bytes.remove_prefix(std::min(piece, bytes.size()));
      while (auto payload = reader.next()) {
        opscore::parse_speech(*payload);
        said += payload->size() + 1;
      }
    }
  } catch (const opscore::Error&) {
    return said;
  }
  return said;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t piece = data[0] % 7 + 1;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (read_in_pieces(bytes, piece) != read_in_pieces(bytes, bytes.size())) std::abort();
  return 0;
}
