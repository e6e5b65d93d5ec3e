#pragma once
// How a pair of connections gets on with RabbitMQ.

#include "opscore/broker/broker.h"
#include "opscore/broker/rabbitmq/link.h"
#include "opscore/broker/rabbitmq/notices.h"

namespace opscore {

inline BrokerState broker_state(const Link& consumer, const Link& publisher,
                                const Notices& notices) {
  const Link::View consuming = consumer.view();
  const Link::View publishing = publisher.view();
  const Link::View& shown = consuming.problem.empty() ? publishing : consuming;
  return {.connected = shown.problem.empty(),
          .where = shown.where,
          .problem = shown.problem,
          .blocked = notices.blocked(),
          .refused = notices.refusals()};
}

}  // namespace opscore
