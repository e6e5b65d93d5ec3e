#pragma once
// The broker carries hints: "queue Q has n due tasks". Losing one costs latency, never work; the
// store is the truth. Without a broker the store itself is the queue and its change feed the
// wake-up. rabbitmq/ is the broker for clusters, memory/ one in this process, for tests and the
// simulation; broker/conformance is the suite that every broker passes.

#include <cstdint>
#include <optional>
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
  uint64_t ready = 0;                  // hints not delivered
  std::optional<uint64_t> unanswered;  // nullopt: this broker does not tell
  uint64_t consumers = 0;
};

// A queue that the broker does not let us use.
struct Refusal {
  std::string queue;
  std::string why;  // and what to do about it
};

// How a worker and its broker get on, as of their last contact. Never holds a password.
struct BrokerState {
  bool connected = true;
  std::string where;    // the broker, as a URL without credentials
  std::string problem;  // why it is not connected
  std::string blocked;  // why the broker takes no hints at the moment; empty: it does
  std::vector<Refusal> refused;
};

// announce(), queues() and state() may be called from any thread. The others belong to the one
// intake thread of a worker. All but state() throw Error{unavailable} when the broker is away, and
// none takes longer than its deadline and a few seconds, whatever the network does.
class Broker {
 public:
  virtual ~Broker() = default;
  // Returns when the broker has taken responsibility for all hints but those of the queues that it
  // refuses, each of which is named once. After an Error some may have been taken over: announce
  // all again.
  virtual std::vector<Refusal> announce(std::span<const Hint> hints) = 0;
  // Replaces the set of queues that this worker consumes; an empty one stops deliveries. The set is
  // kept while the broker is away. A refused queue is in state().
  virtual void subscribe(const std::vector<std::string>& queues) = 0;
  // What has arrived; waits until something does or the deadline passes.
  virtual std::vector<Delivery> receive(Deadline deadline) = 0;
  // Answers deliveries: the store has durably dealt with them. Tags from before an outage are
  // ignored: those hints are delivered again.
  virtual void ack(std::span<const uint64_t> tags) = 0;
  // Gives deliveries back, to be delivered again, to anyone.
  virtual void give_back(std::span<const uint64_t> tags) = 0;
  // Sends a hint to this worker alone, through a queue that ends with its connection: it comes out
  // of receive() as others do, whatever is subscribed. Why the broker refuses, else nothing.
  virtual std::optional<std::string> send_to_self(const Hint& hint) = 0;
  // Those of the named queues that exist.
  virtual std::vector<BrokerQueue> queues(std::span<const std::string> names) = 0;
  // Never waits for the broker.
  virtual BrokerState state() const = 0;
};

}  // namespace opscore
