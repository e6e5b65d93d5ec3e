#include "opscore/worker/adopter.h"

#include <gmock/gmock.h>

#include "opscore/broker/memory/memory_foreign_broker.h"
#include "opscore/engine/foreign_rows.h"
#include "opscore/store/intercepted_store.h"
#include "opscore/store/memory/memory_store.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

ServiceOptions declaring(std::vector<std::string> types) {
  ServiceOptions options;
  for (std::string& type : types) {
    CatalogueEntry entry;
    entry.type = std::move(type);
    options.declared.push_back(std::move(entry));
  }
  return options;
}

struct AdopterTest : testing::Test {
  static std::string body(const std::string& id, const std::string& actor = "add",
                          const std::string& queue = "default") {
    DramatiqMessage message;
    message.queue_name = queue;
    message.actor_name = actor;
    message.message_id = id;
    message.message_timestamp = "1000";
    return encode_dramatiq(message);
  }
  void send(const std::string& body, const std::string& queue = "default") {
    python->publish(std::vector{ForeignMessage{queue, body, {}, {}}});
  }
  void step() { adopter.step(Deadline::at({})); }
  std::vector<Task> tasks() { return store->reader().list({}, {}, 100).tasks; }
  uint64_t unanswered_or_ready() {
    broker.reset();
    return hub->contents("default").size() + hub->contents("default.DQ").size();
  }
  std::vector<OutboxRow> parked() { return store->outbox().due(OutboxRow::Kind::amqp, 10); }

  FakeClock clock;
  SeededRandom random{3};
  std::unique_ptr<Log> log = silent_log();
  Metrics metrics;
  std::string failing;  // the call of the store that fails, and how
  Errc failure = Errc::unavailable;
  std::unique_ptr<Store> store =
      intercept(open_memory_store(clock, random, {}),
                [this](std::string_view call, const std::function<void()>& run) {
                  if (call == failing) throw Error(failure, std::string(call) + " fails");
                  run();
                });
  Service service{*store, clock, *log, metrics, declaring({"add", "agent_task"})};
  std::shared_ptr<MemoryForeignHub> hub = open_memory_foreign(2000);
  std::unique_ptr<ForeignBroker> python = hub->connect();
  std::unique_ptr<ForeignBroker> broker = hub->connect();
  Adopter adopter{service, *broker, clock, random, *log, metrics, {.queues = {"default"}}};
};

TEST_F(AdopterTest, MessagesBecomeTasksAndAreAnswered) {
  step();
  send(body("m-1"));
  send(body("m-2", "add", "default.DQ"), "default.DQ");
  step();
  EXPECT_THAT(tasks(), SizeIs(2));
  EXPECT_EQ(unanswered_or_ready(), 0u);
}

TEST_F(AdopterTest, AMessageThatComesTwiceIsOneTask) {
  send(body("m-1"));
  send(body("m-1"));
  step();
  send(body("m-1"));
  step();
  EXPECT_THAT(tasks(), SizeIs(1));
  EXPECT_EQ(unanswered_or_ready(), 0u);
}

// The store had committed when the process died; nobody answered the broker.
TEST_F(AdopterTest, ACrashBetweenInsertAndAnswerMakesNoSecondTask) {
  send(body("m-1"));
  broker->subscribe({"default"});
  auto deliveries = broker->receive(Deadline::at({}));
  AdoptionContext context{.find_actor =
                              [this](const std::string& name) {
                                return &service.catalogue().view()->find(name)->entry;
                              },
                          .now = clock.now(),
                          .fresh_id = "x",
                          .input_bytes_max = 1000};
  store->tasks().insert({decide_adoption(deliveries.at(0), context).item}, InsertMode::per_item);
  hub->set_away(true);
  hub->set_away(false);
  step();
  EXPECT_THAT(tasks(), SizeIs(1));
  EXPECT_EQ(unanswered_or_ready(), 0u);
}

TEST_F(AdopterTest, NothingIsAnsweredWhileTheStoreIsAway) {
  send(body("m-1"));
  failing = "insert";
  EXPECT_THROW(step(), Error);
  EXPECT_THAT(hub->contents("default"), SizeIs(1));
  failing.clear();
  step();
  EXPECT_THAT(tasks(), SizeIs(1));
}

TEST_F(AdopterTest, WhatTheStoreCannotKeepIsDeadAndItsNeighboursAreNot) {
  failing = "insert";
  failure = Errc::internal;
  send(body("m-1"));
  step();
  ASSERT_THAT(hub->contents("default.XQ"), SizeIs(1));
  EXPECT_THAT(hub->contents("default.XQ")[0].headers.at(0).second,
              HasSubstr("it cannot be stored: insert fails"));
}

TEST_F(AdopterTest, BadMessagesAreDeadWithTheReasonAndHoldUpNoOther) {
  const std::vector<std::string> bad{"not json", "[]", "", R"({"queue_name":"default"})",
                                     body("m", "add", "other")};
  for (const std::string& message : bad) send(message);
  send(std::string(3000, 'x'));  // beyond what is read
  send(body("good"));
  step();
  EXPECT_THAT(tasks(), SizeIs(1));
  auto dead = hub->contents("default.XQ");
  ASSERT_THAT(dead, SizeIs(6));
  std::vector<std::string> bodies;
  for (const ForeignMessage& message : dead) {
    bodies.push_back(message.body);
    if (message.body.size() < 3000) {
      EXPECT_EQ(message.headers.at(0).first, kReasonHeader);
    }
  }
  EXPECT_THAT(bodies, testing::IsSupersetOf(bad));
  EXPECT_EQ(unanswered_or_ready(), 0u);
}

TEST_F(AdopterTest, WhatMayNotBeMovedIsMovedByTheBroker) {
  hub->set_refused("default.XQ", "no permission");
  send("bad");
  step();
  EXPECT_EQ(unanswered_or_ready(), 0u);
}

TEST_F(AdopterTest, TheMessagesOfOthersAreParkedAndGoBack) {
  send(body("m-1", "theirs"));
  step();
  EXPECT_THAT(tasks(), IsEmpty());
  EXPECT_THAT(parked(), IsEmpty());
  clock.advance(1s);
  ASSERT_THAT(parked(), SizeIs(1));
  ForeignMessage back = to_message(parked()[0]);
  EXPECT_EQ(back.queue, "default");
  EXPECT_EQ(integer_option(decode_dramatiq(back.body).value().options, "opscore_hops"), 1);
  EXPECT_EQ(unanswered_or_ready(), 0u);
}

TEST_F(AdopterTest, AConsumerOfOthersIsSeen) {
  python->subscribe({"default"});
  send(body("m-1", "theirs"));
  python->give_back(std::vector{python->receive(Deadline::at({})).at(0).tag});
  step();
  clock.advance(1s);
  EXPECT_TRUE(is_true(decode_dramatiq(to_message(parked().at(0)).body).value().options,
                      "opscore_consumer_seen"));
}

TEST_F(AdopterTest, ItIsDeadWhenNobodyComes) {
  send(body("m-1", "theirs"));
  step();
  clock.advance(10min);
  send(to_message(parked().at(0)).body);
  step();
  auto dead = hub->contents("default.XQ");
  ASSERT_THAT(dead, SizeIs(1));
  EXPECT_EQ(dead[0].body, body("m-1", "theirs"));
  EXPECT_THAT(dead[0].headers.at(0).second, HasSubstr("nobody runs actor 'theirs'"));
}

TEST_F(AdopterTest, AFullQueueFillsUpThere) {
  service.set_limits("default", {.max_pending = LimitValue(1)});
  send(body("m-1"));
  send(body("m-2"));
  step();
  EXPECT_THAT(tasks(), SizeIs(1));
  step();  // it takes no more for now
  EXPECT_EQ(python->queues(std::vector<std::string>{"default"}).at(0).consumers, 0u);
  EXPECT_THAT(hub->contents("default"), SizeIs(1));
  service.set_limits("default", {.max_pending = LimitValue(5)});
  clock.advance(5s);
  step();
  EXPECT_THAT(tasks(), SizeIs(2));
}

TEST_F(AdopterTest, ItsReportSaysWhatKeepsItFromAdopting) {
  SessionReport report;
  adopter.report(report);
  EXPECT_THAT(report.adopts, ElementsAre("default"));
  EXPECT_EQ(report.adoption_problem, "");
  hub->set_away(true);
  adopter.report(report);
  EXPECT_EQ(report.adoption_problem, "the broker is away");
}

TEST_F(AdopterTest, TheIdOfASenderThatIsTakenIsKept) {
  SubmitRequest request;
  request.type = "add";
  request.task_id = "order-7";
  service.submit(request);
  DramatiqMessage message = decode_dramatiq(body("m-1")).value();
  message.kwargs = R"({"task_id":"order-7"})";
  send(encode_dramatiq(message));
  step();
  Task task = service.get(derived_task_id("m-1"));
  EXPECT_THAT(task.options.metadata, HasSubstr(R"("dramatiq_task_id":"order-7")"));
  EXPECT_EQ(service.events(task).at(1).kind, "task_id_taken");
}

}  // namespace
}  // namespace opscore
