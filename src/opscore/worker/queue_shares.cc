#include "opscore/worker/queue_shares.h"

#include <algorithm>

#include "opscore/model/canary.h"

namespace opscore {

bool QueueShares::see(const std::string& queue) {
  if (seen_.contains(queue) || is_canary_queue(queue)) return false;
  auto exact = weights_.find(queue);
  if (exact == weights_.end() && !weights_.contains("*")) return false;
  seen_[queue] = exact == weights_.end() ? 1 : exact->second;
  return true;
}

std::vector<ClaimRequest::FromQueue> QueueShares::divide(size_t total) {
  return divide(total, [&](const std::string&) { return std::max<size_t>(1, total); });
}

std::vector<ClaimRequest::FromQueue> QueueShares::divide(size_t total, const Wanted& wanted) {
  std::vector<ClaimRequest::FromQueue> shares;
  size_t weight_sum = 0;
  for (const auto& [queue, weight] : seen_) {
    size_t most = wanted(queue);
    if (most == 0) continue;
    shares.push_back({queue, most});
    weight_sum += static_cast<size_t>(weight);
  }
  for (ClaimRequest::FromQueue& share : shares) {
    size_t part = total * static_cast<size_t>(seen_.at(share.queue)) / weight_sum;
    share.max = std::min(share.max, std::max<size_t>(1, part));
  }
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
