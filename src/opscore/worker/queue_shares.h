#pragma once
// Weighted round robin over the queues of one worker: how a claim is divided among them. Pure.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "opscore/store/store.h"

namespace opscore {

class QueueShares {
 public:
  // Queues with their weights (1 or more); "*" stands for every other queue, at weight 1.
  explicit QueueShares(std::map<std::string, int> weights) : weights_(std::move(weights)) {}

  // A queue that was seen in the store; ignored when it is not among ours, or one of canaries. True
  // when it is new.
  bool see(const std::string& queue);
  // The queues of a claim of `total` tasks, each with its share, starting with another one every
  // time. Shares are at least 1, so they may add up to more than `total`.
  std::vector<ClaimRequest::FromQueue> divide(size_t total);
  // The same among the queues of which something is wanted, and no more than that of each.
  using Wanted = std::function<size_t(const std::string& queue)>;
  std::vector<ClaimRequest::FromQueue> divide(size_t total, const Wanted& wanted);
  std::vector<std::string> names() const;

 private:
  std::map<std::string, int> weights_;
  std::map<std::string, int> seen_;  // queue -> weight
  size_t turn_ = 0;
};

}  // namespace opscore
