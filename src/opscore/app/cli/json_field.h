#pragma once
// Reading the server's answers.

#include <string>

#include "opscore/base/json.h"

namespace opscore {

// A member of an object as text, other JSON than strings as it is written; empty when it is null or
// not there.
inline std::string field_text(const Json& object, const char* name) {
  auto found = object.find(name);
  if (found == object.end() || found->is_null()) return "";
  return found->is_string() ? found->get<std::string>()
                            : found->dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace opscore
