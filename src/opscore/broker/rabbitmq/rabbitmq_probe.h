#pragma once
// One look at RabbitMQ, by whoever wants to know whether it can be used: connects, logs in, asks
// for some queues, and changes nothing.

#include <span>
#include <string>
#include <vector>

#include "opscore/base/time.h"
#include "opscore/broker/foreign_broker.h"

namespace opscore {

struct RabbitMqProbe {
  std::string where;                 // a URL without credentials
  std::vector<ForeignQueue> queues;  // those of the named ones that exist, as RabbitMQ names them
};

// The first of the URLs that answers. Throws Error: unavailable, naming why none does; invalid.
// Takes no longer than `patience` for each step of each URL.
RabbitMqProbe probe_rabbitmq(const std::string& urls, std::span<const std::string> queues,
                             Duration patience);

}  // namespace opscore
