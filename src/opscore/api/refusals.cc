#include "opscore/api/refusals.h"

namespace opscore {
namespace {

constexpr Duration kQuiet = std::chrono::seconds(10);
constexpr size_t kDetailMax = 300;

constexpr std::array<std::string_view, kRefusals> kNames{
    "not_http",   "head_too_large", "url_too_long", "body_too_large", "body_coding",
    "body_type",  "body_malformed", "slow_request", "slow_reader",    "connection_limit",
    "overloaded", "unavailable",    "foreign_host", "foreign_origin", "unauthenticated",
};

}  // namespace

std::string_view to_string(Refusal reason) {
  return kNames[static_cast<size_t>(reason)];
}

Refusals::Refusals(Metrics& metrics, Log& log) : log_(log) {
  for (size_t i = 0; i < kRefusals; ++i)
    kinds_[i].counter = &metrics.counter("opscore_http_refused_total",
                                         "Requests and connections that were turned away.",
                                         {{"reason", std::string(kNames[i])}});
}

void Refusals::note(Refusal reason, std::string_view detail) {
  uint64_t untold = 0;
  {
    MutexLock lock(mutex_);
    Kind& kind = kinds_[static_cast<size_t>(reason)];
    kind.counter->add();
    auto now = std::chrono::steady_clock::now();
    if (now < kind.quiet_until) {
      ++kind.untold;
      return;
    }
    kind.quiet_until = now + kQuiet;
    untold = std::exchange(kind.untold, 0);
  }
  detail = detail.substr(0, kDetailMax);
  if (untold == 0)
    log_.info("http: refused ({}): {}", to_string(reason), detail);
  else
    log_.info("http: refused ({}): {}; and {} more before it", to_string(reason), detail, untold);
}

}  // namespace opscore
