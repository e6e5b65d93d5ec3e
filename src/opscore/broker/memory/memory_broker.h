#pragma once
// A broker in this process, for tests and the simulation. The hub holds the queues; every worker
// connects to it and gets its own Broker. Nothing survives the process.

#include <memory>

#include "opscore/broker/broker.h"

namespace opscore {

// Safe for concurrent use.
class MemoryBrokerHub {
 public:
  // How many deliveries of one Broker may be unanswered; more wait in their queue.
  static constexpr size_t kWindow = 100;

  virtual ~MemoryBrokerHub() = default;
  // The hub lives as long as any of its brokers. What a broker has not answered when it is
  // destroyed is delivered again, to anyone.
  virtual std::unique_ptr<Broker> connect() = 0;
  // While away every call of every broker throws Error{unavailable}, waiting ones included, and
  // what is unanswered will be delivered again. Queues and subscriptions are kept.
  virtual void set_away(bool away) = 0;
  // Forgets the hints of a queue that are not delivered.
  virtual void purge(const std::string& queue) = 0;
  // Announcements to this queue are refused from now on; with no reason, accepted again.
  virtual void set_refused(const std::string& queue, const std::string& why) = 0;
};

std::shared_ptr<MemoryBrokerHub> open_memory_broker();

}  // namespace opscore
