#pragma once
// Results as Dramatiq's results backends keep them. Pure.

#include <string>
#include <string_view>

#include "opscore/broker/dramatiq/follow_ups.h"

namespace opscore {

struct ResultKeys {
  std::string name_space = "dramatiq-results";
  bool plain = false;  // use_namespace_prefix_keys: readable, not hashed
};
std::string result_key(const ResultKeys& keys, std::string_view queue, std::string_view actor,
                       std::string_view message_id);

// What is stored for a result, which is JSON, and for a failure.
std::string result_value(std::string_view result);
std::string failure_value(const PythonFailure& failure);

}  // namespace opscore
