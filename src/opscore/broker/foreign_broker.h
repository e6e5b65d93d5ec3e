#pragma once
// The queues of Dramatiq on a broker that Python producers and workers use too. For each canonical
// queue Q there are three: Q, Q.DQ with what is delayed, and Q.XQ with what is dead, declared with
// the arguments that Dramatiq declares them with. Messages are bytes here; dramatiq/ reads them.
//
// rabbitmq/ speaks to the real one, memory/ is one in this process; conformance/ holds both to the
// same behaviour.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "opscore/base/time.h"
#include "opscore/broker/broker.h"
#include "opscore/broker/queue_walk.h"

namespace opscore {

// Says why a message is dead, where opscore made it so.
inline constexpr char kReasonHeader[] = "x-opscore-reason";

struct ForeignMessage {
  std::string queue;  // as the broker names it: Q, Q.DQ or Q.XQ
  std::string body;
  std::optional<uint8_t> priority;
  std::vector<std::pair<std::string, std::string>> headers;
  bool operator==(const ForeignMessage&) const = default;
};

// A message that was delivered and waits for an answer.
struct ForeignDelivery {
  uint64_t tag = 0;
  std::string queue;  // Q or Q.DQ
  std::string body;   // the beginning of it, when it is longer than the limit
  uint64_t size = 0;  // of the whole body
  std::optional<uint8_t> priority;
  bool redelivered = false;  // somebody may have dealt with it, and died before saying so
  bool is_whole() const { return body.size() == size; }
};

struct ForeignQueue {
  std::string queue;
  uint64_t ready = 0;
  uint64_t consumers = 0;  // of everybody, opscore's own included
};

// publish(), queues(), walk() and state() may be called from any thread. The others belong to one
// thread. All but state() throw Error{unavailable} when the broker is away, and none takes longer
// than its deadline and a few seconds.
class ForeignBroker {
 public:
  virtual ~ForeignBroker() = default;
  // Publishes in order and waits for the broker's word on each: true once it has taken
  // responsibility, false when it refuses that queue, which state() explains. Queues that are not
  // there are declared, each with its two companions. After an Error some may have been taken over.
  virtual std::vector<bool> publish(std::span<const ForeignMessage> messages) = 0;
  // Replaces the set of canonical queues of which this process consumes Q and Q.DQ. It is kept
  // while the broker is away. A refused queue is in state().
  virtual void subscribe(const std::vector<std::string>& queues) = 0;
  // What has arrived; waits until something does or the deadline passes.
  virtual std::vector<ForeignDelivery> receive(Deadline deadline) = 0;
  // Answers deliveries: somebody has durably dealt with them. Tags from before an outage are
  // ignored: those messages are delivered again.
  virtual void ack(std::span<const uint64_t> tags) = 0;
  // Gives deliveries back, to be delivered again, to anyone.
  virtual void give_back(std::span<const uint64_t> tags) = 0;
  // Has the broker move deliveries to Q.XQ, as Dramatiq does it. For what is too long to be moved
  // by hand, with the reason.
  virtual void reject(std::span<const uint64_t> tags) = 0;
  // Those of the named queues that exist.
  virtual std::vector<ForeignQueue> queues(std::span<const std::string> names) = 0;
  // A look through one queue, as the broker names it. Errc::not_found: there is no such queue.
  virtual std::unique_ptr<QueueWalk> walk(const std::string& queue) = 0;
  // Never waits for the broker.
  virtual BrokerState state() const = 0;
};

}  // namespace opscore
