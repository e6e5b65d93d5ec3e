#include "opscore/broker/rabbitmq/rabbitmq_broker.h"

#include <gmock/gmock.h>

#include <functional>

#include "opscore/broker/conformance/broker_conformance.h"
#include "opscore/broker/conformance/tcp_proxy_fixture.h"
#include "opscore/broker/rabbitmq/rabbitmq_fixture.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

using Names = std::vector<std::string>;

BrokerFactory rabbitmq_factory() {
  BrokerFactory factory{"rabbitmq", nullptr};
  if (std::getenv("RABBITMQ_URL") && std::getenv("RABBITMQ_MANAGEMENT_URL"))
    factory.open = [] {
      struct Environment {
        std::unique_ptr<Log> log = silent_log();
        SystemRandom random;
        RabbitMqOptions options;
      };
      auto environment = std::make_shared<Environment>();
      environment->options.url = RabbitMqServer::find()->amqp();
      environment->options.connection_name = "opscore worker conformance";
      environment->options.prefix = fmt::format("opscore.{:x}.", environment->random.next());
      return BrokerFactory::Connect([environment] {
        return open_rabbitmq_broker(environment->options, *environment->log, environment->random);
      });
    };
  return factory;
}

// Faults, as they come in production. Each test has its own queues.
struct RabbitMq : testing::Test {
  void SetUp() override {
    if (server) return;
    const char* words = "RABBITMQ_URL and RABBITMQ_MANAGEMENT_URL are not set; see ./dev services";
    if (std::getenv("CI")) FAIL() << words;
    GTEST_SKIP() << words;
  }

  std::unique_ptr<Broker> open(const std::string& url) {
    options.url = url;
    options.prefix = prefix;
    return open_rabbitmq_broker(options, *log, random);
  }
  std::unique_ptr<Broker> open() { return open(server->amqp()); }

  // Until the call does not throw; what it threw last goes into a failure.
  static void persist(const std::function<void()>& call) {
    Deadline deadline = Deadline::after(60s);
    for (;;) try {
        return call();
      } catch (const Error& error) {
        ASSERT_EQ(error.code(), Errc::unavailable) << error.what();
        ASSERT_FALSE(deadline.passed()) << error.what();
        std::this_thread::yield();
      }
  }
  static void until(std::string_view what, const std::function<bool()>& holds) {
    Deadline deadline = Deadline::after(60s);
    while (!holds()) ASSERT_FALSE(deadline.passed()) << "never came true: " << what;
  }
  static std::string problem(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::unavailable);
      EXPECT_TRUE(error.retryable());
      return error.message();
    }
    ADD_FAILURE() << "it did not throw";
    return "";
  }
  static void announce(Broker& broker, const std::string& queue, size_t tasks) {
    persist([&] { EXPECT_THAT(broker.announce(std::vector{Hint{queue, tasks}}), IsEmpty()); });
  }
  // The next hint, through whatever outages there are; acked.
  static size_t take(Broker& broker) {
    size_t tasks = 0;
    until("a hint arrives", [&] {
      persist([&] {
        auto deliveries = broker.receive(Deadline::after(10s));
        if (deliveries.empty()) return;
        EXPECT_THAT(deliveries, SizeIs(1));
        tasks = deliveries[0].hint.tasks;
        broker.ack(std::vector{deliveries[0].tag});
      });
      return tasks > 0;
    });
    return tasks;
  }
  std::string queue_path(const std::string& queue) const {
    return fmt::format("queues/{}/{}{}", server->vhost(), prefix, queue);
  }
  // The server's names of our connections whose own name is this one.
  Names connections(const std::string& name) const {
    Names found;
    for (const Json& connection :
         server->ask(fmt::format("vhosts/{}/connections", server->vhost())))
      if (connection.value("/client_properties/connection_name"_json_pointer, "") == name)
        found.push_back(connection.at("name"));
    return found;
  }

  RabbitMqServer* server = RabbitMqServer::find();
  SystemRandom random;
  std::unique_ptr<Log> log = silent_log();
  std::string prefix = fmt::format("opscore.{:x}.", random.next());
  RabbitMqOptions options{.connection_name = fmt::format("opscore worker {:x}", random.next())};
};

std::string encoded(std::string text) {
  for (size_t at = 0; (at = text.find_first_of(" >", at)) != std::string::npos; at += 3)
    text.replace(at, 1, text[at] == ' ' ? "%20" : "%3E");
  return text;
}

TEST_F(RabbitMq, ConnectionsHaveNamesAndQueuesAreDurableQuorumQueues) {
  auto broker = open();
  announce(*broker, "q", 1);
  broker->subscribe({"q"});
  until("both are listed", [&] {
    return connections(options.connection_name).size() == 1 &&
           connections(options.connection_name + " announcing").size() == 1;
  });
  Json queue = server->ask(queue_path("q"));
  EXPECT_EQ(queue.at("durable"), true);
  EXPECT_EQ(queue.at("arguments").at("x-queue-type"), "quorum");
}

TEST_F(RabbitMq, AConnectionThatAnOperatorClosesComesBack) {
  auto broker = open();
  broker->subscribe({"q"});
  announce(*broker, "q", 7);
  auto held = broker->receive(Deadline::after(20s));
  ASSERT_THAT(held, SizeIs(1));
  Names names;
  until("the connection is listed",
        [&] { return !(names = connections(options.connection_name)).empty(); });
  server->admin("DELETE", "connections/" + encoded(names[0]));
  std::string words = problem([&] {
    until("the loss is noticed", [&] { return !broker->receive(Deadline::after(20s)).empty(); });
  });
  EXPECT_THAT(words, HasSubstr("Closed via management plugin"));
  // The hint was not answered, so it comes again, under another tag; the old one means nothing.
  persist([&] { broker->ack(std::vector{held[0].tag}); });
  EXPECT_EQ(take(*broker), 7u);
  announce(*broker, "q", 8);
  EXPECT_EQ(take(*broker), 8u);
  EXPECT_TRUE(broker->state().connected);
}

TEST_F(RabbitMq, AQueueWithOtherArgumentsIsRefusedAndExplained) {
  server->admin("PUT", queue_path("taken"),
                R"({"durable":true,"arguments":{"x-queue-type":"classic"}})");
  auto broker = open();
  auto refused = broker->announce(std::vector{Hint{"taken", 1}, Hint{"free", 2}, Hint{"taken", 3}});
  ASSERT_THAT(refused, SizeIs(1));
  EXPECT_EQ(refused[0].queue, "taken");
  EXPECT_THAT(refused[0].why,
              AllOf(HasSubstr("'" + prefix + "taken'"), HasSubstr("x-queue-type = 'quorum'"),
                    HasSubstr("x-queue-type = 'classic'"), HasSubstr("rabbitmqctl delete_queue"),
                    HasSubstr("a vhost of its own"), HasSubstr(server->vhost())));
  broker->subscribe({"taken", "free"});
  EXPECT_EQ(take(*broker), 2u);
  BrokerState state = broker->state();
  EXPECT_TRUE(state.connected);
  ASSERT_THAT(state.refused, SizeIs(1));
  EXPECT_EQ(state.refused[0].why, refused[0].why);

  server->admin("DELETE", queue_path("taken"));
  until("it is accepted", [&] { return broker->announce(std::vector{Hint{"taken", 4}}).empty(); });
  EXPECT_EQ(take(*broker), 4u);
  EXPECT_THAT(broker->state().refused, IsEmpty());
}

TEST_F(RabbitMq, AQueueThatIsDeletedIsMadeAgain) {
  auto broker = open();
  announce(*broker, "q", 1);
  server->admin("DELETE", queue_path("q"));
  announce(*broker, "q", 2);
  broker->subscribe({"q"});
  EXPECT_EQ(take(*broker), 2u);
}

TEST_F(RabbitMq, AQueueThatDoesNotAnswerHoldsUpNoOther) {
  options.call_timeout = 1500ms;
  auto broker = open();
  announce(*broker, "silent", 1);
  announce(*broker, "q", 1);
  const std::vector<Hint> both{Hint{"silent", 2}, Hint{"q", 2}};
  {
    SuspendedQueue suspended(*server, server->vhost(), prefix + "silent");
    auto refused = broker->announce(both);
    ASSERT_THAT(refused, SizeIs(1));
    EXPECT_EQ(refused[0].queue, "silent");
    EXPECT_THAT(refused[0].why, HasSubstr("does not answer"));
    EXPECT_THAT(broker->state().refused, SizeIs(1));
    // Held up by it, each of these would take as long as a call may.
    Deadline deadline = Deadline::after(20 * options.call_timeout);
    for (int i = 0; i < 40; ++i)
      EXPECT_THAT(broker->announce(both), ElementsAre(testing::Field(&Refusal::queue, "silent")));
    EXPECT_FALSE(deadline.passed());
  }
  until("it answers again", [&] { return broker->announce(both).empty(); });
  EXPECT_THAT(broker->state().refused, IsEmpty());
  broker->subscribe({"silent"});
  EXPECT_THAT(broker->receive(Deadline::after(20s)), Not(IsEmpty()));
}

TEST_F(RabbitMq, ManyHintsForAQueueThatDoesNotAnswerHoldUpNoOther) {
  options.call_timeout = 1500ms;
  auto broker = open();
  announce(*broker, "silent", 1);
  announce(*broker, "q", 1);
  std::vector<Hint> hints(1000, Hint{"silent", 1});
  hints.push_back({"q", 2});
  SuspendedQueue suspended(*server, server->vhost(), prefix + "silent");
  EXPECT_THAT(broker->announce(hints), ElementsAre(testing::Field(&Refusal::queue, "silent")));
  broker->subscribe({"q"});
  size_t tasks = 0;
  until("both hints have come", [&] {
    for (const Delivery& each : broker->receive(Deadline::after(10s))) tasks += each.hint.tasks;
    return tasks == 3;
  });
}

TEST_F(RabbitMq, AMessageThatIsNoHintIsDropped) {
  auto broker = open();
  broker->subscribe({"q"});
  server->admin("POST", fmt::format("exchanges/{}/amq.default/publish", server->vhost()),
                fmt::format(R"({{"properties":{{}},"routing_key":"{}q","payload":"nonsense",)"
                            R"("payload_encoding":"string"}})",
                            prefix));
  announce(*broker, "q", 5);
  EXPECT_EQ(take(*broker), 5u);
  EXPECT_EQ(broker->queues(Names{"q"}).at(0).ready, 0u);
}

TEST_F(RabbitMq, NamesThatAreTooLongAreRefused) {
  std::string name(65536, 'q');
  auto broker = open();
  auto refused = broker->announce(std::vector{Hint{name, 1}, Hint{"q", 2}});
  ASSERT_THAT(refused, SizeIs(1));
  EXPECT_EQ(refused[0].queue, name);
  EXPECT_THAT(refused[0].why, HasSubstr("at most 230"));
  EXPECT_LT(refused[0].why.size(), 500u);
  broker->subscribe({name, "q"});
  EXPECT_EQ(take(*broker), 2u);
  EXPECT_THAT(broker->queues(Names{name}), IsEmpty());
  options.connection_name = name;
  EXPECT_THROW(open(), Error);
  EXPECT_THROW(open("amqp://h/" + name), Error);
}

TEST_F(RabbitMq, WhatIsWrongWithTheUrlIsSaidWithoutThePassword) {
  const AmqpUrl& url = server->url();
  uint16_t closed = TcpProxy(1).port();
  struct Case {
    std::string url;
    std::string words;
  };
  for (const Case& wrong : std::vector<Case>{
           {fmt::format("amqp://{}:s3cret@127.0.0.1:{}/{}", url.user, url.port, server->vhost()),
            "its password is wrong"},
           {fmt::format("amqp://{}:{}@127.0.0.1:{}/nowhere", url.user, url.password, url.port),
            "vhost nowhere not found"},
           {fmt::format("amqp://{}:{}@127.0.0.1:{}/", url.user, url.password, url.port),
            "the vhost without a name"},
           {fmt::format("amqp://u:s3cret@127.0.0.1:{}/v", closed), "refused"},
           {fmt::format("amqps://u:s3cret@127.0.0.1:{}/v", url.port), "cannot connect"},
       }) {
    auto broker = open(wrong.url);
    std::string words = problem([&] { broker->announce(std::vector{Hint{"q", 1}}); });
    EXPECT_THAT(words, AllOf(HasSubstr(wrong.words), Not(HasSubstr("s3cret")),
                             Not(HasSubstr(url.password))));
    BrokerState state = broker->state();
    EXPECT_FALSE(state.connected);
    EXPECT_EQ(state.problem, words);
    EXPECT_THAT(state.where, Not(HasSubstr("s3cret")));
  }
}

TEST_F(RabbitMq, TheNextUrlOfTheListIsTried) {
  uint16_t closed = TcpProxy(1).port();
  auto broker = open(server->amqp(closed) + "," + server->amqp());
  announce(*broker, "q", 1);
  EXPECT_EQ(broker->state().where, AmqpUrl(parse_amqp_urls(server->amqp())->front()).where());
}

TEST_F(RabbitMq, NothingHangsWhenTheNetworkSwallowsEverything) {
  TcpProxy proxy(server->url().port);
  auto broker = open(server->amqp(proxy.port(), "?heartbeat=1&connection_timeout=500"));
  broker->subscribe({"q"});
  announce(*broker, "q", 1);
  auto held = broker->receive(Deadline::after(20s));
  ASSERT_THAT(held, SizeIs(1));

  proxy.stand_still(true);
  // Enough to fill every buffer on the way.
  std::vector<Hint> many(200'000, Hint{"q", 1});
  EXPECT_THAT(problem([&] { broker->announce(many); }), HasSubstr("RabbitMQ at amqp://"));
  EXPECT_THAT(problem([&] { broker->receive(Deadline::never()); }), HasSubstr("stands still"));
  problem([&] { broker->receive(Deadline::after(1s)); });
  EXPECT_FALSE(broker->state().connected);
  EXPECT_THAT(broker->state().problem, Not(IsEmpty()));

  proxy.stand_still(false);
  EXPECT_EQ(take(*broker), 1u);
}

TEST_F(RabbitMq, CutConnectionsAreMadeAgainWithoutLosingAHint) {
  TcpProxy proxy(server->url().port);
  auto broker = open(server->amqp(proxy.port()));
  persist([&] { broker->subscribe({"q"}); });
  for (size_t round = 1; round <= 5; ++round) {
    announce(*broker, "q", round);
    proxy.cut();
    EXPECT_EQ(take(*broker), round);
  }
}

TEST_F(RabbitMq, AWindowOfOneConfirmsEachHint) {
  options.announce_window = 1;
  options.consume_window = 1;
  auto broker = open();
  broker->subscribe({"q"});
  EXPECT_THAT(broker->announce(std::vector<Hint>(50, Hint{"q", 1})), IsEmpty());
  for (int i = 0; i < 50; ++i) EXPECT_EQ(take(*broker), 1u);
}

TEST_F(RabbitMq, AMemoryAlarmIsTold) {
  auto broker = open();
  auto worker = open();
  worker->subscribe({"q"});
  announce(*broker, "q", 1);
  ASSERT_TRUE(RabbitMqServer::ctl("set_vm_memory_high_watermark absolute 1MB"));
  std::string words = problem([&] {
    until("the alarm is told", [&] {
      broker->announce(std::vector{Hint{"q", 2}});
      return false;
    });
  });
  EXPECT_THAT(words, AllOf(HasSubstr("takes no messages for now"), HasSubstr("memory")));
  EXPECT_THAT(broker->state().blocked, HasSubstr("memory"));
  EXPECT_TRUE(broker->state().connected);
  // Consuming goes on.
  EXPECT_EQ(take(*worker), 1u);
  ASSERT_TRUE(RabbitMqServer::ctl("set_vm_memory_high_watermark 0.4"));
  until("it takes hints again", [&] { return broker->state().blocked.empty(); });
  announce(*broker, "q", 3);
}

TEST_F(RabbitMq, ARestartOfTheServerLosesNothing) {
  auto broker = open();
  broker->subscribe({"q"});
  announce(*broker, "other", 3);
  announce(*broker, "q", 1);
  auto held = broker->receive(Deadline::after(20s));
  ASSERT_THAT(held, SizeIs(1));
  ASSERT_TRUE(RabbitMqServer::ctl("stop_app"));
  problem([&] {
    until("it is away", [&] { return broker->receive(Deadline::after(20s)).size() > 1; });
  });
  problem([&] { broker->announce(std::vector{Hint{"q", 2}}); });
  EXPECT_FALSE(broker->state().connected);
  ASSERT_TRUE(RabbitMqServer::ctl("start_app"));
  EXPECT_EQ(take(*broker), 1u);
  announce(*broker, "q", 2);
  EXPECT_EQ(take(*broker), 2u);
  persist([&] { broker->subscribe({"other"}); });
  EXPECT_EQ(take(*broker), 3u);
}

}  // namespace
}  // namespace opscore

INSTANTIATE_BROKER_CONFORMANCE(rabbitmq, opscore::rabbitmq_factory());
