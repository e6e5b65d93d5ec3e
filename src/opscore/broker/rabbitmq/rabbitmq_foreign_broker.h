#pragma once
// The queues of Dramatiq on RabbitMQ: classic queues, persistent messages. Two connections for each
// broker: one publishes, one consumes, a channel of which serves all queues.
//
// Threads: as foreign_broker.h says; one thread for each connection, which connects, and keeps the
// heartbeat of the publishing one. They end with the broker.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/random.h"
#include "opscore/broker/foreign_broker.h"

namespace opscore {

struct ForeignRabbitMqOptions {
  std::string url;              // one or more; see amqp_url.h
  std::string connection_name;  // as RabbitMQ lists it
  // What RabbitMQ lists beside it, so that its side tells whose connection this is.
  std::vector<std::pair<std::string, std::string>> properties{};
  // With what a queue is declared that is not there: as Dramatiq's brokers of the same installation
  // are set, which find it afterwards and refuse other arguments.
  std::optional<int> max_priority;              // 1-255
  Duration dead_ttl = std::chrono::hours(168);  // of messages on Q.XQ
  size_t publish_window = 1024;                 // messages under way that are not confirmed yet
  uint16_t consume_window = 1000;               // deliveries of a queue that are not answered yet
  size_t body_bytes_max = 16 << 20;             // of a delivery
  Duration call_timeout{3000};
};

// Does not connect yet: that begins with the first call, on a thread of its own. Throws
// Error{invalid} for a URL or option that cannot be. `log` and `random` outlive the broker.
std::unique_ptr<ForeignBroker> open_foreign_rabbitmq(const ForeignRabbitMqOptions& options,
                                                     Log& log, Random& random);

}  // namespace opscore
