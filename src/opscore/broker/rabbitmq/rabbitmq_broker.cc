#include "opscore/broker/rabbitmq/rabbitmq_broker.h"

#include <fmt/format.h>

#include "opscore/broker/rabbitmq/announcer.h"
#include "opscore/broker/rabbitmq/consumer.h"

namespace opscore {
namespace {

constexpr size_t kNameMax = 1024;

std::function<std::string()> name_of(const RabbitMqOptions& options, const char* purpose) {
  return [name = options.connection_name, session = options.session, purpose] {
    std::string asked = session();
    return name + (asked.empty() ? "" : " ") + asked + purpose;
  };
}

ConnectionOptions announcing(const RabbitMqOptions& options) {
  return {.name = name_of(options, " announcing"),
          .call_timeout = options.call_timeout,
          .queue_type = options.queue_type};
}

ConnectionOptions consuming(const RabbitMqOptions& options) {
  return {.name = name_of(options, ""),
          .call_timeout = options.call_timeout,
          .prefetch = options.consume_window,
          .queue_type = options.queue_type};
}

class RabbitMqBroker final : public Broker {
 public:
  RabbitMqBroker(const RabbitMqOptions& options, const std::vector<AmqpUrl>& urls, Log& log,
                 Random& random)
      : notices_(log),
        announcer_(urls, announcing(options), QueueNames(options.prefix), options.announce_window,
                   notices_, log, random),
        consumer_(urls, consuming(options), QueueNames(options.prefix), notices_, log, random) {}

  std::vector<Refusal> announce(std::span<const Hint> hints) override {
    return announcer_.announce(hints);
  }
  void subscribe(const std::vector<std::string>& queues) override { consumer_.subscribe(queues); }
  std::vector<Delivery> receive(Deadline deadline) override { return consumer_.receive(deadline); }
  void ack(std::span<const uint64_t> tags) override { consumer_.ack(tags); }
  void give_back(std::span<const uint64_t> tags) override { consumer_.give_back(tags); }
  std::vector<BrokerQueue> queues(std::span<const std::string> names) override {
    return announcer_.queues(names);
  }
  BrokerState state() const override;

 private:
  Notices notices_;
  Announcer announcer_;
  Consumer consumer_;
};

BrokerState RabbitMqBroker::state() const {
  Link::View consuming = consumer_.link().view();
  Link::View announcing = announcer_.link().view();
  const Link::View& shown = consuming.problem.empty() ? announcing : consuming;
  return {.connected = shown.problem.empty(),
          .where = shown.where,
          .problem = shown.problem,
          .blocked = notices_.blocked(),
          .refused = notices_.refusals()};
}

void check(bool fine, std::string_view what) {
  if (!fine) throw Error(Errc::invalid, fmt::format("RabbitMQ: {}", what));
}

}  // namespace

std::unique_ptr<Broker> open_rabbitmq_broker(const RabbitMqOptions& options, Log& log,
                                             Random& random) {
  auto urls = parse_amqp_urls(options.url);
  if (!urls) throw urls.error();
  check(options.connection_name.size() <= kNameMax,
        fmt::format("the connection name is {} bytes long, at most {}",
                    options.connection_name.size(), kNameMax));
  check(options.queue_type == "quorum" || options.queue_type == "classic",
        fmt::format("the queue type '{}' is neither quorum nor classic", options.queue_type));
  check(options.announce_window > 0 && options.consume_window > 0, "a window is at least 1");
  return std::make_unique<RabbitMqBroker>(options, *urls, log, random);
}

}  // namespace opscore
