#pragma once
// What may be changed about queues and actors while everything runs. Kept in the store.

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace opscore {

// A limit that was taken away on purpose, which is not the same as one that nobody has set.
inline constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// As a user sets it: a number, kUnlimited, or nothing, which goes back to the configuration.
using LimitValue = std::optional<int64_t>;

// Nothing: not set here.
struct QueueLimits {
  LimitValue max_pending;      // tasks that wait to be started: pending and scheduled
  LimitValue concurrency;      // that run at once on one worker
  LimitValue max_input_bytes;  // of one task
  bool operator==(const QueueLimits&) const = default;
};

// The limits of a queue from both who may set them.
struct LayeredLimits {
  QueueLimits chosen;      // while running: these win
  QueueLimits configured;  // by the configuration
  bool operator==(const LayeredLimits&) const = default;

  // What holds for one of the limits: limits.in_force(&QueueLimits::concurrency).
  int64_t in_force(LimitValue QueueLimits::* limit) const {
    return (chosen.*limit).value_or((configured.*limit).value_or(kUnlimited));
  }
};

struct QueueSettings {
  bool paused = false;
  LayeredLimits limits;
  bool operator==(const QueueSettings&) const = default;
};

// All that is set. What is not in the maps has nothing set.
struct Settings {
  std::map<std::string, QueueSettings> queues;
  // Tasks of a type that run at once on one worker, as set while running.
  std::map<std::string, int64_t> actor_concurrency;
  bool operator==(const Settings&) const = default;

  QueueSettings of_queue(const std::string& queue) const;
  // Drops queues for which nothing is set any more.
  void forget_defaults();
  // The queues whose settings differ from those of `before`.
  std::vector<std::string> changed_queues(const Settings& before) const;
};

}  // namespace opscore
