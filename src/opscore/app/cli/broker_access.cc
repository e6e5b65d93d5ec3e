#include "opscore/app/cli/broker_access.h"

#include "opscore/app/rabbitmq_management.h"
#include "opscore/broker/rabbitmq/amqp_url.h"
#include "opscore/broker/rabbitmq/rabbitmq_foreign_broker.h"

namespace opscore {
namespace {

class RabbitMqAccess final : public BrokerAccess {
 public:
  explicit RabbitMqAccess(const Config& config) : config_(config) {}

  ForeignBroker& broker() override {
    if (!broker_) {
      ForeignRabbitMqOptions options;
      options.url = url();
      options.connection_name = "opscore command";
      broker_ = open_foreign_rabbitmq(options, log_, random_);
    }
    return *broker_;
  }

  std::optional<uint64_t> unanswered(const std::string& queue) override {
    return make_unanswered_counter(http_, config_.broker.management_url,
                                   parse_amqp_urls(url())->front().vhost)(queue);
  }

 private:
  const std::string& url() const {
    if (config_.broker.url.empty())
      throw Error(Errc::invalid,
                  "where is RabbitMQ? Set broker.url in opscore.toml, or RABBITMQ_URL");
    return config_.broker.url;
  }

  const Config& config_;
  Log log_{LogOptions{.level = LogLevel::off}};  // commands say what went wrong themselves
  SystemRandom random_;
  HttpClient http_;
  std::unique_ptr<ForeignBroker> broker_;
};

}  // namespace

std::unique_ptr<BrokerAccess> make_rabbitmq_access(const Config& config) {
  return std::make_unique<RabbitMqAccess>(config);
}

}  // namespace opscore
