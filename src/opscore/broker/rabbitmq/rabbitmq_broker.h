#pragma once
// The broker on RabbitMQ. A hint is a persistent message on the durable queue `opscore.<queue>`;
// it survives what RabbitMQ survives. Two connections for each Broker: one announces, one consumes.
//
// Threads: as broker.h says; one thread for each connection, which connects, and keeps the
// heartbeat of the announcing one. They end with the Broker.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/random.h"
#include "opscore/broker/broker.h"

namespace opscore {

struct RabbitMqOptions {
  std::string url;              // one or more; see amqp_url.h
  std::string connection_name;  // as RabbitMQ lists it
  // What RabbitMQ lists beside it, so that its side tells whose connection this is.
  std::vector<std::pair<std::string, std::string>> properties{};
  // What follows the name, asked for each connection: the session, which may be another one then.
  std::function<std::string()> session = [] { return std::string(); };
  std::string prefix = "opscore.";    // of queue names
  std::string queue_type = "quorum";  // or classic
  size_t announce_window = 1024;      // hints under way that are not confirmed yet
  uint16_t consume_window = 256;      // deliveries of a queue that are not answered yet
  Duration call_timeout{3000};
};

// Does not connect yet: that begins with the first call, on a thread of its own. Throws
// Error{invalid} for a URL or name that cannot be. `log` and `random` outlive the broker.
std::unique_ptr<Broker> open_rabbitmq_broker(const RabbitMqOptions& options, Log& log,
                                             Random& random);

}  // namespace opscore
