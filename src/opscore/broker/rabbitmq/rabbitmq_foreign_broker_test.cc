#include "opscore/broker/rabbitmq/rabbitmq_foreign_broker.h"

#include <gmock/gmock.h>

#include "opscore/broker/conformance/foreign_conformance.h"
#include "opscore/broker/rabbitmq/rabbitmq_fixture.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

// A virtual host of its own for each test: Dramatiq's queues have no prefix.
struct Host {
  explicit Host(const RabbitMqServer& server)
      : server(server), name(fmt::format("opscore-foreign-{:x}", random.next())) {
    server.admin("PUT", "vhosts/" + name);
    server.admin("PUT", fmt::format("permissions/{}/{}", name, server.url().user),
                 R"({"configure":".*","write":".*","read":".*"})");
    options.url = fmt::format("amqp://{}:{}@127.0.0.1:{}/{}", server.url().user,
                              server.url().password, server.url().port, name);
    options.connection_name = "opscore adopting";
  }
  ~Host() { server.admin("DELETE", "vhosts/" + name); }
  Host(const Host&) = delete;

  std::unique_ptr<ForeignBroker> open() { return open_foreign_rabbitmq(options, *log, random); }
  Json queue(const std::string& queue) const {
    return server.ask(fmt::format("queues/{}/{}", name, queue));
  }

  const RabbitMqServer& server;
  SystemRandom random;
  std::unique_ptr<Log> log = silent_log();
  const std::string name;
  ForeignRabbitMqOptions options;
};

ForeignFactory foreign_rabbitmq_factory() {
  ForeignFactory factory{"rabbitmq", nullptr};
  if (RabbitMqServer::find())
    factory.open = [] {
      auto host = std::make_shared<Host>(*RabbitMqServer::find());
      host->options.body_bytes_max = ForeignFactory::kBodyMax;
      return ForeignFactory::Connect([host] { return host->open(); });
    };
  return factory;
}

struct ForeignRabbitMqTest : testing::Test {
  void SetUp() override {
    if (RabbitMqServer::find()) {
      host.emplace(*RabbitMqServer::find());
      return;
    }
    const char* words = "RABBITMQ_URL and RABBITMQ_MANAGEMENT_URL are not set; see ./dev services";
    if (std::getenv("CI")) FAIL() << words;
    GTEST_SKIP() << words;
  }
  static ForeignMessage message(const std::string& queue) { return {queue, "{}", {}, {}}; }
  // As they were declared: RabbitMQ 4 adds its default.
  Json arguments_of(const std::string& queue) {
    Json arguments = host->queue(queue).at("arguments");
    if (arguments.value("x-queue-type", "") == "classic") arguments.erase("x-queue-type");
    return arguments;
  }

  std::optional<Host> host;
};

TEST_F(ForeignRabbitMqTest, QueuesAreDeclaredAsDramatiqDeclaresThem) {
  host->options.max_priority = 10;
  host->options.dead_ttl = Duration(5000);
  auto broker = host->open();
  EXPECT_THAT(broker->publish(std::vector{message("default")}), ElementsAre(true));
  const Json arguments{{"x-dead-letter-exchange", ""},
                       {"x-dead-letter-routing-key", "default.XQ"},
                       {"x-max-priority", 10}};
  for (const char* name : {"default", "default.DQ"}) {
    EXPECT_EQ(arguments_of(name), arguments) << name;
    EXPECT_EQ(host->queue(name).at("durable"), true);
    EXPECT_EQ(host->queue(name).at("type"), "classic");
  }
  EXPECT_EQ(arguments_of("default.XQ"), (Json{{"x-message-ttl", 5000}}));
}

TEST_F(ForeignRabbitMqTest, QueuesThatAreThereAreUsedAsTheyAre) {
  host->server.admin("PUT", fmt::format("queues/{}/default", host->name),
                     R"({"durable":true,"arguments":{"x-max-priority":3}})");
  auto broker = host->open();
  broker->subscribe({"default"});
  EXPECT_THAT(broker->publish(std::vector{message("default")}), ElementsAre(true));
  EXPECT_EQ(broker->receive(Deadline::after(20s)).size(), 1u);
  EXPECT_EQ(arguments_of("default"), (Json{{"x-max-priority", 3}}));
}

TEST_F(ForeignRabbitMqTest, AQueueThatItMayNotUseIsNamedAndHoldsUpNoOther) {
  host->server.admin("PUT", fmt::format("permissions/{}/{}", host->name, host->server.url().user),
                     R"({"configure":"^good","write":".*","read":"^good"})");
  auto broker = host->open();
  EXPECT_THAT(broker->publish(std::vector{message("bad"), message("good")}),
              ElementsAre(false, true));
  const BrokerState state = broker->state();
  ASSERT_EQ(state.refused.size(), 1u);
  EXPECT_EQ(state.refused[0].queue, "bad");
  EXPECT_THAT(state.refused[0].why, HasSubstr("rabbitmqctl set_permissions"));
}

TEST_F(ForeignRabbitMqTest, AQueueThatWasDeletedIsMadeAgain) {
  auto broker = host->open();
  broker->publish(std::vector{message("default")});
  host->server.admin("DELETE", fmt::format("queues/{}/default", host->name));
  EXPECT_THAT(broker->publish(std::vector{message("default")}), ElementsAre(true));
  broker->subscribe({"default"});
  EXPECT_EQ(broker->receive(Deadline::after(20s)).size(), 1u);
}

TEST_F(ForeignRabbitMqTest, AQueueThatDoesNotAnswerIsRefusedAndHoldsUpNoOther) {
  host->options.call_timeout = 1500ms;
  auto broker = host->open();
  const std::vector both{message("silent"), message("default")};
  EXPECT_THAT(broker->publish(both), ElementsAre(true, true));
  {
    SuspendedQueue suspended(host->server, host->name, "silent");
    EXPECT_THAT(broker->publish(both), ElementsAre(false, true));
    const BrokerState state = broker->state();
    ASSERT_EQ(state.refused.size(), 1u);
    EXPECT_EQ(state.refused[0].queue, "silent");
    EXPECT_THAT(state.refused[0].why, HasSubstr("does not answer"));
    // Held up by it, each of these would take as long as a call may.
    Deadline deadline = Deadline::after(20 * host->options.call_timeout);
    for (int i = 0; i < 40; ++i) EXPECT_THAT(broker->publish(both), ElementsAre(false, true)) << i;
    EXPECT_FALSE(deadline.passed());
  }
  Deadline deadline = Deadline::after(60s);
  while (broker->publish(both) != std::vector{true, true}) ASSERT_FALSE(deadline.passed());
  EXPECT_TRUE(broker->state().refused.empty());
}

TEST_F(ForeignRabbitMqTest, OfAQueueThatIsSilentHalfWayNothingCountsAsTaken) {
  host->options.call_timeout = 1500ms;
  auto broker = host->open();
  EXPECT_THAT(broker->publish(std::vector{message("silent"), message("other")}),
              ElementsAre(true, true));
  std::vector<ForeignMessage> messages(1000, message("silent"));
  messages.push_back(message("default"));
  SuspendedQueue suspended(host->server, host->name, "silent");
  std::vector<bool> taken(1000, false);
  taken.push_back(true);
  EXPECT_EQ(broker->publish(messages), taken);
}

TEST_F(ForeignRabbitMqTest, MessagesOfAQueueStayInOrder) {
  auto broker = host->open();
  std::vector<ForeignMessage> messages;
  std::vector<std::string> sent, received;
  for (int i = 0; i < 500; ++i) {
    for (const char* queue : {"default", "other"})
      messages.push_back({queue, std::to_string(i), {}, {}});
    sent.push_back(std::to_string(i));
  }
  broker->publish(messages);
  broker->subscribe({"default"});
  Deadline deadline = Deadline::after(20s);
  while (received.size() < sent.size() && !deadline.passed())
    for (const ForeignDelivery& each : broker->receive(deadline)) received.push_back(each.body);
  EXPECT_EQ(received, sent);
}

TEST_F(ForeignRabbitMqTest, OptionsThatCannotBe) {
  host->options.max_priority = 256;
  EXPECT_THROW(host->open(), Error);
  host->options.max_priority = 1;
  host->options.dead_ttl = std::chrono::hours(24 * 365);
  EXPECT_THROW(host->open(), Error);
}

}  // namespace
}  // namespace opscore

INSTANTIATE_FOREIGN_CONFORMANCE(rabbitmq, opscore::foreign_rabbitmq_factory());
