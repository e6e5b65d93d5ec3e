#pragma once
// A walk through one queue on RabbitMQ: basic.get on a connection of its own, whose end gives back
// what was not taken. Needs no plugin of the server.

#include <memory>
#include <string>
#include <vector>

#include "opscore/broker/queue_walk.h"
#include "opscore/broker/rabbitmq/connection.h"

namespace opscore {

// Connects to the first of the URLs that answers. Throws Error{unavailable}, or not_found when
// there is no such queue.
std::unique_ptr<QueueWalk> walk_rabbitmq(const std::vector<AmqpUrl>& urls,
                                         const ConnectionOptions& options,
                                         const std::string& queue);

}  // namespace opscore
