#include "opscore/broker/rabbitmq/rabbitmq_probe.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/broker/rabbitmq/amqp_url.h"
#include "opscore/broker/rabbitmq/connection.h"

namespace opscore {

RabbitMqProbe probe_rabbitmq(const std::string& urls, std::span<const std::string> queues,
                             Duration patience) {
  auto parsed = parse_amqp_urls(urls);
  if (!parsed) throw parsed.error();
  ConnectionOptions options;
  options.name = [] { return std::string("opscore doctor"); };
  options.call_timeout = patience;
  std::string problems;
  for (AmqpUrl& url : *parsed) {
    url.connection_timeout = std::min(url.connection_timeout, patience);
    try {
      auto server = Connection::open(url, options);
      RabbitMqProbe probe{server->where(), {}};
      for (const std::string& queue : queues)
        if (auto counts = server->inspect(queue))
          probe.queues.push_back({queue, counts->ready, counts->consumers});
      return probe;
    } catch (const Error& error) {
      problems += (problems.empty() ? "" : "; ") + std::string(error.what());
    }
  }
  throw Error(Errc::unavailable, problems);
}

}  // namespace opscore
