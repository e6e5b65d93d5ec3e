#include "opscore/broker/rabbitmq/unanswered.h"

#include <algorithm>

#include "opscore/base/error.h"

namespace opscore {

void Unanswered::delivered(uint64_t tag) {
  OPSCORE_ASSERT(deliveries_.empty() || deliveries_.back().tag < tag, "tags of a channel grow");
  deliveries_.push_back({tag});
}

bool Unanswered::answer(uint64_t tag) {
  auto found = std::lower_bound(deliveries_.begin(), deliveries_.end(), tag,
                                [](const Entry& entry, uint64_t t) { return entry.tag < t; });
  if (found == deliveries_.end() || found->tag != tag || found->answered) return false;
  found->answered = true;
  return true;
}

std::vector<AckFrame> Unanswered::ack(std::span<const uint64_t> tags) {
  std::vector<uint64_t> acked;
  for (uint64_t tag : tags)
    if (answer(tag)) acked.push_back(tag);
  std::sort(acked.begin(), acked.end());
  size_t in_prefix = 0;
  for (; !deliveries_.empty() && deliveries_.front().answered; deliveries_.pop_front())
    if (in_prefix < acked.size() && deliveries_.front().tag == acked[in_prefix]) ++in_prefix;
  std::vector<AckFrame> frames;
  if (in_prefix > 0) frames.push_back({acked[in_prefix - 1], in_prefix > 1});
  for (size_t i = in_prefix; i < acked.size(); ++i) frames.push_back({acked[i], false});
  return frames;
}

bool Unanswered::give_back(uint64_t tag) {
  if (!answer(tag)) return false;
  while (!deliveries_.empty() && deliveries_.front().answered) deliveries_.pop_front();
  return true;
}

}  // namespace opscore
