#include "opscore/broker/rabbitmq/rabbitmq_broker.h"

#include <fmt/format.h>

#include "opscore/base/json.h"
#include "opscore/broker/rabbitmq/broker_state.h"
#include "opscore/broker/rabbitmq/consumer.h"
#include "opscore/broker/rabbitmq/publisher.h"
#include "opscore/broker/rabbitmq/token.h"

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
          .properties = options.properties,
          .call_timeout = options.call_timeout,
          .queue_type = options.queue_type};
}

ConnectionOptions consuming(const RabbitMqOptions& options) {
  return {.name = name_of(options, ""),
          .properties = options.properties,
          .call_timeout = options.call_timeout,
          .prefetch = options.consume_window,
          .queue_type = options.queue_type,
          .body_bytes_max = kTokenBytesMax + 1};
}

std::optional<std::string> declare(Connection& server, const std::string& queue,
                                   Duration patience) {
  return server.declare(queue, patience);
}

class RabbitMqBroker final : public Broker {
 public:
  RabbitMqBroker(const RabbitMqOptions& options, const std::vector<AmqpUrl>& urls, Log& log,
                 Random& random)
      : log_(log),
        random_(random),
        session_(options.session),
        notices_(log),
        publisher_(
            urls, announcing(options),
            {QueueNames(options.prefix), declare, options.announce_window, "application/json"},
            notices_, log, random),
        consumer_(urls, consuming(options), {QueueNames(options.prefix), declare}, notices_, log,
                  random) {}

  std::vector<Refusal> announce(std::span<const Hint> hints) override;
  void subscribe(const std::vector<std::string>& queues) override {
    consumer_.subscribe({queues.begin(), queues.end()});
  }
  std::vector<Delivery> receive(Deadline deadline) override;
  void ack(std::span<const uint64_t> tags) override { consumer_.ack(tags); }
  void give_back(std::span<const uint64_t> tags) override { consumer_.reject(tags, true); }
  std::optional<std::string> send_to_self(const Hint& hint) override;
  std::vector<BrokerQueue> queues(std::span<const std::string> names) override;
  BrokerState state() const override;

 private:
  Log& log_;
  Random& random_;
  const std::function<std::string()> session_;
  Notices notices_;
  Publisher publisher_;
  Consumer consumer_;
};

std::vector<Refusal> RabbitMqBroker::announce(std::span<const Hint> hints) {
  std::vector<ForeignMessage> tokens;
  tokens.reserve(hints.size());
  for (const Hint& hint : hints) tokens.push_back({hint.queue, encode_token(hint), {}, {}});
  std::vector<Refusal> refusals;
  for (const std::string& queue : publisher_.publish(tokens))
    refusals.push_back({queue, notices_.why_refused(queue)});
  return refusals;
}

std::vector<Delivery> RabbitMqBroker::receive(Deadline deadline) {
  std::vector<Delivery> deliveries;
  do {
    for (const Delivered& delivered : consumer_.receive(deadline)) {
      auto hint = decode_token(delivered.body);
      if (hint && hint->queue != delivered.queue && !consumer_.is_own(delivered.queue))
        hint = std::unexpected(Error(Errc::malformed, "it names another queue"));
      if (hint) {
        deliveries.push_back({delivered.tag, *std::move(hint)});
        continue;
      }
      log_.warn("RabbitMQ queue of '{}': dropped a message that is not a hint: {}: {}",
                delivered.queue, hint.error().message(),
                to_valid_utf8(delivered.body.substr(0, 100)));
      consumer_.reject(std::span(&delivered.tag, 1), false);
    }
  } while (deliveries.empty() && !deadline.passed());
  return deliveries;
}

// A queue of that name from an earlier connection may still be there, and is not ours then.
std::optional<std::string> RabbitMqBroker::send_to_self(const Hint& hint) {
  const std::string queue = fmt::format("canary.{}.{:08x}", session_(), random_.next() >> 32);
  return consumer_.send_to_self(queue, encode_token(hint));
}

std::vector<BrokerQueue> RabbitMqBroker::queues(std::span<const std::string> names) {
  std::vector<BrokerQueue> known;
  for (const ForeignQueue& queue : publisher_.queues(names))
    known.push_back({queue.queue, queue.ready, std::nullopt, queue.consumers});
  return known;
}

BrokerState RabbitMqBroker::state() const {
  return broker_state(consumer_.link(), publisher_.link(), notices_);
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
