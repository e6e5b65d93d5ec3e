#pragma once
// A store with something done around every call that can fail: the one decorator behind metrics and
// fault injection, so that no store contains either.

#include <functional>
#include <memory>
#include <string_view>

#include "opscore/base/metrics.h"
#include "opscore/base/random.h"
#include "opscore/store/store.h"

namespace opscore {

// Must call `call` once, or throw. `operation` is the method's name: "claim", "insert", ...
using Around = std::function<void(std::string_view operation, const std::function<void()>& call)>;

// Owns `inner`. As safe for concurrent use as `around` is.
std::unique_ptr<Store> intercept(std::unique_ptr<Store> inner, Around around);

// Times every call, by operation: opscore_store_operation_duration_seconds,
// opscore_store_errors_total.
std::unique_ptr<Store> observe(std::unique_ptr<Store> inner, const Clock& clock, Metrics& metrics);

// Fails calls before they happen, or after they have happened with the answer lost, each with
// `probability`; `enabled` is asked at every call.
struct Faults {
  double before = 0;
  double after = 0;
  std::function<bool(std::string_view operation)> enabled = [](std::string_view) { return true; };
};
std::unique_ptr<Store> inject_faults(std::unique_ptr<Store> inner, Random& random, Faults faults);

}  // namespace opscore
