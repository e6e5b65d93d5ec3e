// Messages of Dramatiq from outside: whatever is decoded is encoded to what decodes to the same,
// its view is strict JSON, and nothing that is made of it is refused.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "opscore/base/json.h"
#include "opscore/broker/dramatiq/follow_ups.h"
#include "opscore/broker/dramatiq/strict_view.h"

namespace {

using namespace opscore;

void require(bool holds) {
  if (!holds) std::abort();
}

void require_strict(std::string_view compact) {
  const StrictView view = strict_view(compact);
  const auto checked = check_json(view.json);
  // Python reads deeper than we do.
  require(checked || checked.error().message().find("too many levels") != std::string::npos);
  require(view.lossy_total >= view.lossy.size());
}

void require_same(const DramatiqMessage& message) {
  const auto again = decode_dramatiq(encode_dramatiq(message));
  // What quotes a message is deeper than it.
  if (again) require(*again == message);
  if (!again) require(again.error().message().find("too many levels") != std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  if (const auto compact = compact_python(body)) {
    require(compact_python(*compact).value() == *compact);
    require_strict(*compact);
  }
  const auto message = decode_dramatiq(body);
  if (!message) return 0;
  require(decode_dramatiq(encode_dramatiq(*message)).value() == *message);
  require_same(after_failure(*message, 3, body, 5));
  require_same(with_delay(*message, 7));
  require_same(on_success_message(*message, {"a", "q"}, "1", {"id", 5}));
  require_same(on_failure_message(*message, {"a", "q"}, {"E", std::string(body)}, {"id", 5}));
  if (const auto next = next_stage(*message, "[1]", 5); next && *next) require_same(**next);
  if (const auto callbacks = group_callbacks(*message))
    for (const DramatiqMessage& callback : *callbacks) require_same(callback);
  return 0;
}
