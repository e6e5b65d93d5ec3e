#pragma once
// Dramatiq's RedisBackend, of results and of rate limiters: redis-server 5 or newer, or what speaks
// its protocol. Waits for Redis when it is called, connects when it is called first.

#include <memory>
#include <string>

#include "opscore/broker/dramatiq/results.h"
#include "opscore/broker/results_backend.h"

namespace opscore {

struct RedisResultsOptions {
  std::string url;
  ResultKeys keys;
  Duration barrier_ttl = std::chrono::hours(24);  // since it was counted last
  Duration call_timeout{3000};
};

// Throws Error{invalid} for a URL that cannot be.
std::unique_ptr<ResultsBackend> open_redis_results(const RedisResultsOptions& options);

}  // namespace opscore
