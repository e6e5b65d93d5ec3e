#pragma once
// A look through a queue of Dramatiq, without consuming it.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "opscore/base/time.h"

namespace opscore {

// What the broker knows of a message that it has moved to Q.XQ: x-death.
struct MessageDeath {
  std::string queue;   // that it came from
  std::string reason;  // rejected, expired, maxlen, delivery_limit
  int64_t count = 1;
  TimePoint at{};
  bool operator==(const MessageDeath&) const = default;
};

struct WalkedMessage {
  uint64_t tag = 0;
  std::string body;   // the beginning of it, when it is longer than the limit
  uint64_t size = 0;  // of the whole body
  std::optional<uint8_t> priority;
  bool redelivered = false;
  std::vector<std::pair<std::string, std::string>> headers;  // those that are texts
  std::vector<MessageDeath> deaths;                          // the last one first
  bool is_whole() const { return body.size() == size; }
};

// Holds the messages that it has seen, which nobody else gets meanwhile. When it ends, also by the
// death of this process, those that were not taken are on their queue again, in their place; they
// count as delivered before. For one thread. Both calls throw Error{unavailable} when the broker is
// away, and then nothing more was taken.
class QueueWalk {
 public:
  virtual ~QueueWalk() = default;
  // The next ones that are ready, at most so many; none at the end.
  virtual std::vector<WalkedMessage> next(size_t most) = 0;
  // These are gone for good.
  virtual void take(std::span<const uint64_t> tags) = 0;
};

}  // namespace opscore
