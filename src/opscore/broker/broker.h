#pragma once
// The broker carries hints: "queue Q has n due tasks". Losing one costs latency, never work; the
// store is the truth. Without a broker the store itself is the queue and its change feed the
// wake-up. memory/ is a broker in this process, for tests and the simulation; broker/conformance is
// the suite that every broker passes.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "opscore/base/time.h"

namespace opscore {

struct Hint {
  std::string queue;
  size_t tasks = 1;
};

// A hint that was delivered and waits for an answer.
struct Delivery {
  uint64_t tag = 0;
  Hint hint;
};

struct BrokerQueue {
  std::string queue;
  uint64_t ready = 0;      // hints not delivered
  uint64_t unanswered = 0;
  uint64_t consumers = 0;
};

// announce() may be called from any thread. The others belong to the one intake thread of a worker.
// All throw Error{unavailable} when the broker is away.
class Broker {
 public:
  virtual ~Broker() = default;
  // Returns when the broker has taken responsibility for all of them.
  virtual void announce(std::span<const Hint> hints) = 0;
  // Replaces the set of queues that this worker consumes; an empty one stops deliveries.
  virtual void subscribe(const std::vector<std::string>& queues) = 0;
  // What has arrived; waits until something does or the deadline passes.
  virtual std::vector<Delivery> receive(Deadline deadline) = 0;
  // Answers deliveries: the store has durably dealt with them.
  virtual void ack(std::span<const uint64_t> tags) = 0;
  // Gives deliveries back, to be delivered again, to anyone.
  virtual void give_back(std::span<const uint64_t> tags) = 0;
  virtual std::vector<BrokerQueue> queues() = 0;
};

}  // namespace opscore
