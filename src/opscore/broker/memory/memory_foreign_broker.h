#pragma once
// Dramatiq's queues in this process, for tests and the simulation. The hub holds them; everybody
// who connects to it gets a broker of their own, and so does whoever plays the Python side.

#include <memory>

#include "opscore/broker/foreign_broker.h"

namespace opscore {

// Safe for concurrent use.
class MemoryForeignHub {
 public:
  // How many deliveries of one broker may be unanswered; more wait in their queue.
  static constexpr size_t kWindow = 1000;

  virtual ~MemoryForeignHub() = default;
  // The hub lives as long as any of its brokers. What a broker has not answered when it is
  // destroyed is delivered again, to anyone.
  virtual std::unique_ptr<ForeignBroker> connect() = 0;
  // While away every call of every broker throws Error{unavailable}, waiting ones included, and
  // what is unanswered will be delivered again. Queues and subscriptions are kept.
  virtual void set_away(bool away) = 0;
  // The queues of that name take nothing from now on; with no reason, they do again.
  virtual void set_refused(const std::string& queue, const std::string& why) = 0;
  // What waits in a queue, in order.
  virtual std::vector<ForeignMessage> contents(const std::string& queue) const = 0;
};

// Bodies beyond `body_bytes_max` are delivered cut.
std::shared_ptr<MemoryForeignHub> open_memory_foreign(size_t body_bytes_max = 16 << 20);

}  // namespace opscore
