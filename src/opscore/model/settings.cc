#include "opscore/model/settings.h"

#include <set>

namespace opscore {

QueueSettings Settings::of_queue(const std::string& queue) const {
  auto found = queues.find(queue);
  return found == queues.end() ? QueueSettings{} : found->second;
}

void Settings::forget_defaults() {
  std::erase_if(queues, [](const auto& entry) { return entry.second == QueueSettings{}; });
}

std::vector<std::string> Settings::changed_queues(const Settings& before) const {
  std::set<std::string> names;
  for (const auto* settings : {this, &before})
    for (const auto& [queue, set] : settings->queues) names.insert(queue);
  std::erase_if(
      names, [&](const std::string& queue) { return of_queue(queue) == before.of_queue(queue); });
  return {names.begin(), names.end()};
}

}  // namespace opscore
