#pragma once
// What the API turned away, by reason: a counter for each, and a log line for the first of a kind;
// those that follow within ten seconds are counted and told by the next line, so that an attack
// cannot fill the log. Safe for concurrent use; never blocks for long.

#include <array>
#include <string_view>

#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/base/mutex.h"
#include "opscore/base/time.h"

namespace opscore {

enum class Refusal : uint8_t {
  not_http,
  head_too_large,
  url_too_long,
  body_too_large,
  body_coding,
  body_type,
  body_malformed,
  slow_request,
  slow_reader,
  connection_limit,
  overloaded,
  unavailable,
  foreign_host,
  foreign_origin,
  unauthenticated,
};
inline constexpr size_t kRefusals = static_cast<size_t>(Refusal::unauthenticated) + 1;
std::string_view to_string(Refusal reason);

class Refusals {
 public:
  // Both must outlive this object.
  Refusals(Metrics& metrics, Log& log);
  Refusals(const Refusals&) = delete;

  void note(Refusal reason, std::string_view detail);

 private:
  struct Kind {
    Counter* counter = nullptr;
    SteadyPoint quiet_until{};
    uint64_t untold = 0;
  };
  Log& log_;
  Mutex mutex_;
  std::array<Kind, kRefusals> kinds_ OPSCORE_GUARDED_BY(mutex_);
};

}  // namespace opscore
