#pragma once
// The canary: a task by which a session proves, to itself, that tasks get through it. It is a task
// like others until it has ended; then it is deleted. Nobody else is shown one: see
// store/hidden_canaries.h.

#include <string>
#include <string_view>

#include "opscore/model/task.h"

namespace opscore {

inline constexpr std::string_view kCanaryType = "opscore.canary";
// Nobody else can have a queue that begins so.
inline constexpr std::string_view kCanaryQueues = "opscore.canary.";

// The queue that the canaries of a session wait in. Sessions may share one, for a store remembers
// every queue that it has seen; their canaries say whose they are.
inline std::string canary_queue(SessionId session) {
  constexpr int64_t kQueues = 64;
  return std::string(kCanaryQueues) + std::to_string(session.value % kQueues);
}

inline bool is_canary_queue(std::string_view queue) {
  return queue.starts_with(kCanaryQueues);
}

}  // namespace opscore
