#include "opscore/broker/rabbitmq/rabbitmq_foreign_broker.h"

#include <fmt/format.h>

#include <limits>

#include "opscore/broker/dramatiq/message.h"
#include "opscore/broker/rabbitmq/broker_state.h"
#include "opscore/broker/rabbitmq/consumer.h"
#include "opscore/broker/rabbitmq/publisher.h"
#include "opscore/broker/rabbitmq/queue_walk.h"

namespace opscore {
namespace {

// What one receive() collects.
constexpr size_t kMessagesMax = 1000;
constexpr size_t kBytesMax = 32 << 20;

ConnectionOptions connection_options(const ForeignRabbitMqOptions& options, const char* purpose) {
  return {.name = [name = options.connection_name, purpose] { return name + purpose; },
          .properties = options.properties,
          .call_timeout = options.call_timeout,
          .prefetch = options.consume_window,
          .body_bytes_max = options.body_bytes_max,
          .other_queues = true};
}

// Q, Q.DQ and Q.XQ, in the order and with the arguments of Dramatiq.
DeclareQueue declare_as_dramatiq(const ForeignRabbitMqOptions& options) {
  return [max_priority = options.max_priority,
          dead_ttl = static_cast<int32_t>(options.dead_ttl.count())](
             Connection& server, const std::string& queue,
             Duration patience) -> std::optional<std::string> {
    const std::string name(canonical_queue(queue));
    const std::string dead = name + std::string(kDeadSuffix);
    std::vector<QueueArgument> arguments{{"x-dead-letter-exchange", std::string()},
                                         {"x-dead-letter-routing-key", dead}};
    if (max_priority) arguments.push_back({"x-max-priority", *max_priority});
    if (auto refusal = server.declare_missing(name, arguments, patience)) return refusal;
    const std::string delayed = name + std::string(kDelayedSuffix);
    if (auto refusal = server.declare_missing(delayed, arguments, patience)) return refusal;
    return server.declare_missing(dead, std::vector{QueueArgument{"x-message-ttl", dead_ttl}},
                                  patience);
  };
}

class ForeignRabbitMq final : public ForeignBroker {
 public:
  ForeignRabbitMq(const ForeignRabbitMqOptions& options, const std::vector<AmqpUrl>& urls, Log& log,
                  Random& random)
      : urls_(urls),
        walking_(connection_options(options, " looking")),
        notices_(log),
        publisher_(urls, connection_options(options, " publishing"),
                   {QueueNames(""), declare_as_dramatiq(options), options.publish_window, ""},
                   notices_, log, random),
        consumer_(urls, connection_options(options, ""),
                  {QueueNames(""), declare_as_dramatiq(options), kMessagesMax, kBytesMax}, notices_,
                  log, random) {}

  std::vector<bool> publish(std::span<const ForeignMessage> messages) override;
  void subscribe(const std::vector<std::string>& queues) override;
  std::vector<ForeignDelivery> receive(Deadline deadline) override;
  void ack(std::span<const uint64_t> tags) override { consumer_.ack(tags); }
  void give_back(std::span<const uint64_t> tags) override { consumer_.reject(tags, true); }
  void reject(std::span<const uint64_t> tags) override { consumer_.reject(tags, false); }
  std::vector<ForeignQueue> queues(std::span<const std::string> names) override {
    return publisher_.queues(names);
  }
  std::unique_ptr<QueueWalk> walk(const std::string& queue) override {
    return walk_rabbitmq(urls_, walking_, queue);
  }
  BrokerState state() const override {
    return broker_state(consumer_.link(), publisher_.link(), notices_);
  }

 private:
  const std::vector<AmqpUrl> urls_;
  const ConnectionOptions walking_;
  Notices notices_;
  Publisher publisher_;
  Consumer consumer_;
};

std::vector<bool> ForeignRabbitMq::publish(std::span<const ForeignMessage> messages) {
  const std::set<std::string> refused = publisher_.publish(messages);
  std::vector<bool> taken;
  for (const ForeignMessage& message : messages) taken.push_back(!refused.contains(message.queue));
  return taken;
}

void ForeignRabbitMq::subscribe(const std::vector<std::string>& queues) {
  std::set<std::string> names;
  for (const std::string& queue : queues) {
    names.insert(queue);
    names.insert(queue + std::string(kDelayedSuffix));
  }
  consumer_.subscribe(std::move(names));
}

std::vector<ForeignDelivery> ForeignRabbitMq::receive(Deadline deadline) {
  std::vector<ForeignDelivery> deliveries;
  for (Delivered& delivered : consumer_.receive(deadline))
    deliveries.push_back({delivered.tag, std::move(delivered.queue), std::move(delivered.body),
                          delivered.size, delivered.priority, delivered.redelivered});
  return deliveries;
}

void check(bool fine, std::string_view what) {
  if (!fine) throw Error(Errc::invalid, fmt::format("RabbitMQ: {}", what));
}

}  // namespace

std::unique_ptr<ForeignBroker> open_foreign_rabbitmq(const ForeignRabbitMqOptions& options,
                                                     Log& log, Random& random) {
  auto urls = parse_amqp_urls(options.url);
  if (!urls) throw urls.error();
  check(!options.max_priority || (*options.max_priority >= 1 && *options.max_priority <= 255),
        "the highest priority of Dramatiq's queues is 1 to 255");
  check(options.dead_ttl.count() > 0 &&
            options.dead_ttl.count() <= std::numeric_limits<int32_t>::max(),
        "dead messages are kept for 1 ms to 24 days");
  check(options.publish_window > 0 && options.consume_window > 0, "a window is at least 1");
  return std::make_unique<ForeignRabbitMq>(options, *urls, log, random);
}

}  // namespace opscore
