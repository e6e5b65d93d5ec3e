#include "opscore/app/broker_look.h"

#include "opscore/app/rabbitmq_management.h"
#include "opscore/broker/rabbitmq/amqp_url.h"
#include "opscore/broker/rabbitmq/rabbitmq_probe.h"

namespace opscore {
namespace {

constexpr Duration kPatience{1'000};

}  // namespace

LookAtQueues make_broker_look(const Config& config, HttpClient& http) {
  if (config.broker.url.empty()) return nullptr;
  const AmqpUrl url = parse_amqp_urls(config.broker.url)->front();
  auto unacked = make_unanswered_counter(http, config.broker.management_url, url.vhost);
  return [urls = config.broker.url, where = url.where(),
          unacked](const std::vector<std::string>& names) {
    BrokerLook look;
    look.where = where;
    try {
      RabbitMqProbe probe = probe_rabbitmq(urls, names, kPatience);
      look.where = probe.where;
      for (const ForeignQueue& queue : probe.queues)
        look.queues.push_back({queue.queue, queue.ready, queue.consumers, std::nullopt});
    } catch (const Error& error) {
      look.problem = error.what();
      return look;
    }
    try {
      for (BrokerLook::Queue& queue : look.queues) queue.unacked = unacked(queue.name);
    } catch (const Error&) {
      // Then nothing is known of what is unacked, and that is shown.
      for (BrokerLook::Queue& queue : look.queues) queue.unacked.reset();
    }
    return look;
  };
}

}  // namespace opscore
