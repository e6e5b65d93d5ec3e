#include "opscore/worker/queue_shares.h"

#include <algorithm>

namespace opscore {

bool QueueShares::see(const std::string& queue) {
  if (seen_.contains(queue)) return false;
  auto exact = weights_.find(queue);
  if (exact == weights_.end() && !weights_.contains("*")) return false;
  seen_[queue] = exact == weights_.end() ? 1 : exact->second;
  return true;
}

std::vector<ClaimRequest::FromQueue> QueueShares::divide(size_t total) {
  std::vector<ClaimRequest::FromQueue> shares;
  size_t weight_sum = 0;
  for (const auto& [queue, weight] : seen_) weight_sum += static_cast<size_t>(weight);
  for (const auto& [queue, weight] : seen_)
    shares.push_back(
        {queue, std::max<size_t>(1, total * static_cast<size_t>(weight) / weight_sum)});
  if (!shares.empty()) {
    auto first = shares.begin() + static_cast<ptrdiff_t>(turn_++ % shares.size());
    std::rotate(shares.begin(), first, shares.end());
  }
  return shares;
}

std::vector<std::string> QueueShares::names() const {
  std::vector<std::string> names;
  for (const auto& [queue, weight] : seen_) names.push_back(queue);
  return names;
}

}  // namespace opscore
