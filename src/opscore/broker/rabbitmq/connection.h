#pragma once
// One connection to RabbitMQ with two channels: one for the messages, one for asking about queues,
// so that a refused question does not take the deliveries with it. The only file that knows the
// client library.
//
// For one thread at a time. Every call ends within the call timeout, or at its deadline where it
// has one. Throws Error{unavailable} when the connection is gone or does not move; it is of no use
// then.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "opscore/base/error.h"
#include "opscore/base/time.h"
#include "opscore/broker/queue_walk.h"
#include "opscore/broker/rabbitmq/amqp_url.h"

namespace opscore {

// What the server sends by itself.
struct Delivered {
  uint64_t tag = 0;
  std::string queue;  // as RabbitMQ names it
  std::string body;   // at most ConnectionOptions::body_bytes_max of it
  uint64_t size = 0;  // of all of it
  std::optional<uint8_t> priority;
  bool redelivered = false;
  // Only of what get() brings.
  std::vector<std::pair<std::string, std::string>> headers;
  std::vector<MessageDeath> deaths;
};
struct Confirmed {
  uint64_t sequence = 0;
  bool multiple = false;  // all up to this one
  bool taken = false;
};
struct Returned {  // published to a queue that does not exist
  std::string queue;
};
struct ConsumerCancelled {  // its queue was deleted, or has lost its leader
  std::string queue;
};
using Incoming = std::variant<Delivered, Confirmed, Returned, ConsumerCancelled>;

struct ConnectionOptions {
  std::function<std::string()> name;  // as the server lists it
  // What it lists beside the name.
  std::vector<std::pair<std::string, std::string>> properties{};
  Duration call_timeout{3000};
  uint16_t prefetch = 0;      // of a consumer; 0: no limit
  std::string queue_type;     // of opscore's own queues: quorum or classic
  size_t body_bytes_max = 0;  // of what is delivered; the rest of a body is dropped
  bool other_queues = false;  // the queues belong to somebody else
};

struct QueueArgument {
  std::string name;
  std::variant<std::string, int32_t> value;
};

struct PublishProperties {
  std::string_view content_type;  // empty: none
  std::optional<uint8_t> priority;
  std::span<const std::pair<std::string, std::string>> headers;
};

struct QueueCounts {
  uint32_t ready = 0;
  uint32_t consumers = 0;
};

class Connection {
 public:
  // Connects and logs in.
  static std::unique_ptr<Connection> open(const AmqpUrl& url, const ConnectionOptions& options);
  virtual ~Connection() = default;

  // The next thing that the server sent; nullopt at the deadline. Keeps the heartbeat going.
  virtual std::optional<Incoming> next(Deadline deadline) = 0;
  // Why the server takes no messages; empty when it does. As of the last call.
  virtual const std::string& blocked() const = 0;
  virtual const std::string& where() const = 0;
  // A call has thrown: close it.
  virtual bool broken() const = 0;

  // Declares a durable queue of opscore; the answer is why it is refused. Without an answer for so
  // long the connection is given up.
  virtual std::optional<std::string> declare(const std::string& queue, Duration patience) = 0;
  // The same with these arguments, unless there is a queue of that name, whatever its arguments.
  virtual std::optional<std::string> declare_missing(const std::string& queue,
                                                     std::span<const QueueArgument> arguments,
                                                     Duration patience) = 0;
  // One that only this connection has, gone with its consumer; the answer is why it is refused.
  virtual std::optional<std::string> declare_own(const std::string& queue, Duration patience) = 0;
  // nullopt: there is no such queue.
  virtual std::optional<QueueCounts> inspect(const std::string& queue) = 0;

  // The first message that is ready on the queue, to be answered as a delivery is; nullopt: there
  // is none.
  virtual std::optional<Delivered> get(const std::string& queue) = 0;

  virtual void confirm_publishes() = 0;
  // Persistent, mandatory. The first one after confirm_publishes() has sequence 1.
  virtual void publish(const std::string& queue, std::string_view body,
                       const PublishProperties& properties, Deadline deadline) = 0;

  // The answer is why it is refused; the connection is of no use then.
  virtual std::optional<std::string> consume(const std::string& queue) = 0;
  // What was delivered before still comes out of next().
  virtual void cancel(const std::string& queue) = 0;
  virtual void ack(uint64_t tag, bool multiple) = 0;
  virtual void reject(uint64_t tag, bool requeue) = 0;
};

}  // namespace opscore
