#pragma once
// How a queue comes into being: what a publisher or consumer does before it uses one.

#include <functional>
#include <optional>
#include <string>

#include "opscore/broker/rabbitmq/connection.h"

namespace opscore {

// `queue` is as RabbitMQ names it; the answer is why it is refused. Throws when RabbitMQ has not
// answered for so long.
using DeclareQueue = std::function<std::optional<std::string>(
    Connection& server, const std::string& queue, Duration patience)>;

}  // namespace opscore
