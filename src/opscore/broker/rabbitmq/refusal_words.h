#pragma once
// Words for what RabbitMQ refuses: what it is, and the ways out. Pure.

#include <cstdint>
#include <string>
#include <string_view>

#include "opscore/broker/rabbitmq/amqp_url.h"

namespace opscore {

// RabbitMQ 4 drops a message that came back 20 times unless its queue says otherwise, and hints
// come back often: a worker without free slots gives back what it holds.
inline constexpr int64_t kDeliveryLimit = 1'000'000;

// The arguments that opscore declares its queues with, for messages.
std::string declared_arguments(std::string_view queue_type);

// `code` and `text` are RabbitMQ's; `queue` is as RabbitMQ names it.
std::string explain_refused_queue(uint16_t code, const std::string& text, const std::string& queue,
                                  std::string_view queue_type, const AmqpUrl& url);
// A queue that is not opscore's own.
std::string explain_refused_other_queue(uint16_t code, const std::string& text,
                                        const std::string& queue, const AmqpUrl& url);
std::string explain_refused_login(uint16_t code, const std::string& text, const AmqpUrl& url);

}  // namespace opscore
