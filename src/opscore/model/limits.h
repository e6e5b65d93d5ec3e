#pragma once
// The bounds of design 3a. A limit that users may change is configuration and starts from here.
// What a submit, the configuration and submit() in SQL (store/postgres/migrations) may ask for ends
// at the same place, here.

#include "opscore/base/time.h"

namespace opscore::limits {

using namespace std::chrono_literals;

inline constexpr int kMaxAttempts = 5;
inline constexpr Duration kTimeout = 10min;
inline constexpr Duration kAgentTimeout = 1h;
inline constexpr size_t kPayloadBytes = 1 << 20;  // input and result, each
inline constexpr size_t kBodyBytes = 64 << 20;    // a bulk submit
inline constexpr size_t kBatchTasks = 10'000;
inline constexpr int kSnoozes = 100;
inline constexpr int kLosses = 3;  // uncharged re-runs after the loss of a worker
inline constexpr int kDeaths = 3;  // then it is poison
inline constexpr size_t kClaimBatch = 1000;
inline constexpr Duration kUnstarted = 2s;     // claimed but not entered: handed back
inline constexpr Duration kClaimAhead = 50ms;  // claim what the slots start within this
inline constexpr Duration kRenewEvery = 2s;
inline constexpr Duration kSessionTtl = 15s;
inline constexpr Duration kDrainGrace = 30s;
inline constexpr Duration kStopGrace = 5s;       // between asking and forcing
inline constexpr Duration kExternalDoubt = 24h;  // after which a message may be gone
inline constexpr Duration kKeepCompleted = 24h * 7;
inline constexpr Duration kKeepFailed = 24h * 30;
inline constexpr Duration kActorSeen = 24h * 30;  // a type stays known this long
inline constexpr Duration kProgressEvery = 1s;
inline constexpr size_t kListWalk = 10'000;  // rows looked at for one page
inline constexpr int kPriorityMax = 100;
inline constexpr int kAttemptsMax = 1'000'000;  // of max_attempts
inline constexpr Duration kTimeoutMax = 24h * 30;
inline constexpr int kBackoffFactorMax = 1000;
inline constexpr int kBackoffJitterMax = 10;
inline constexpr int64_t kLimitMax = 1'000'000'000;  // of what users may set

}  // namespace opscore::limits
