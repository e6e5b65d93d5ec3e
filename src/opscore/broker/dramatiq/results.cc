#include "opscore/broker/dramatiq/results.h"

#include <fmt/format.h>

#include "opscore/base/hash.h"

namespace opscore {

std::string result_key(const ResultKeys& keys, std::string_view queue, std::string_view actor,
                       std::string_view message_id) {
  std::string key =
      fmt::format("{}:{}:{}:{}", keys.name_space, canonical_queue(queue), actor, message_id);
  return keys.plain ? key : to_hex(md5(key));
}

// It is strict JSON; Python would write it in its own way.
std::string result_value(std::string_view result) {
  auto compact = compact_python(result);
  OPSCORE_ASSERT(compact.has_value(), "a result that is not JSON");
  return *std::move(compact);
}

std::string failure_value(const PythonFailure& failure) {
  return fmt::format(R"({{"__t":"dramatiq.results.Result","exn":{{"type":{},"msg":{}}}}})",
                     quote_python(failure.type), quote_python(failure.message));
}

}  // namespace opscore
