#include "opscore/engine/history.h"

#include <algorithm>

#include "opscore/base/json.h"

namespace opscore {
namespace {

std::string error_data(const ErrorInfo& error) {
  if (error.kind.empty()) return {};
  return Json{{"kind", error.kind}, {"message", error.message}}.dump();
}

}  // namespace

std::vector<TaskEvent> history(const Task& task, const std::vector<Attempt>& attempts,
                               const std::vector<TaskEvent>& stored) {
  std::vector<TaskEvent> merged;
  merged.push_back({0, task.created_at(), "submitted", 0, {}});
  for (const Attempt& attempt : attempts) {
    if (attempt.started_at)
      merged.push_back({0, *attempt.started_at, "started", attempt.number, {}});
    if (attempt.end && attempt.ended_at)
      merged.push_back({0, *attempt.ended_at, "attempt_" + std::string(to_string(*attempt.end)),
                        attempt.number, error_data(attempt.error)});
  }
  merged.insert(merged.end(), stored.begin(), stored.end());
  if (is_terminal(task.state()) && task.finished_at)
    merged.push_back({0, *task.finished_at, std::string(to_string(task.state())), task.live.attempt,
                      error_data(task.error)});
  // Stable: what happened in the same millisecond stays in the order of cause and effect above.
  std::stable_sort(merged.begin(), merged.end(),
                   [](const TaskEvent& a, const TaskEvent& b) { return a.at < b.at; });
  for (size_t i = 0; i < merged.size(); ++i) merged[i].number = static_cast<int>(i) + 1;
  return merged;
}

}  // namespace opscore
