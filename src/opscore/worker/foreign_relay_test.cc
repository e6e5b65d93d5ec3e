#include "opscore/worker/foreign_relay.h"

#include <gmock/gmock.h>

#include "opscore/broker/dramatiq/golden_fixture.h"
#include "opscore/broker/memory/memory_foreign_broker.h"
#include "opscore/broker/memory/memory_results.h"
#include "opscore/engine/foreign_rows.h"
#include "opscore/model/decide.h"
#include "opscore/store/memory/memory_store.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

struct ForeignRelayTest : testing::Test {
  TaskKey adopt(const std::string& body, Adopted adopted) {
    InsertItem item;
    item.spec.type = "add";
    item.spec.max_attempts = 1;
    item.spec.options.adopted = adopted;
    item.message_id = "m-1";
    item.origin = body;
    return store->tasks().insert({item}, InsertMode::per_item).at(0).key;
  }
  void finish(const Outcome& outcome) {
    ClaimRequest request;
    request.session = session;
    request.queues = {{"default", 1}};
    request.types = std::make_shared<const std::vector<std::string>>(1, "add");
    auto claimed = store->tasks().claim(request).tasks;
    ASSERT_THAT(claimed, SizeIs(1));
    store->tasks().apply({decide_finish(claimed[0], outcome, clock.now(), clock.now(), random)});
  }
  std::vector<std::string> bodies(const std::string& queue) {
    std::vector<std::string> bodies;
    for (const ForeignMessage& message : hub->contents(queue)) bodies.push_back(message.body);
    return bodies;
  }
  bool outbox_empty() { return store->outbox().due(OutboxRow::Kind::amqp, 1).empty(); }

  FakeClock clock;
  SeededRandom random{5};
  std::unique_ptr<Log> log = silent_log();
  Metrics metrics;
  bool leads = true;
  std::unique_ptr<Store> store = open_memory_store(clock, random, {});
  SessionId session = store->fleet().open_session("worker:1", "{}");
  Service service{*store, clock, *log, metrics, {}};
  std::shared_ptr<MemoryForeignHub> hub = open_memory_foreign();
  std::unique_ptr<ForeignBroker> broker = hub->connect();
  std::unique_ptr<MemoryResults> results = open_memory_results();
  ForeignRelay relay{service, broker.get(),
                     clock,   *log,
                     metrics, {.leads = [this] { return leads; }, .results = results.get()}};
};

constexpr char kMember[] = "26_group_callback_run_0";
constexpr char kOtherMember[] = "26_group_callback_run_1";

std::string group() {
  return *text_option(golden(kMember).options, "group_completion_uuid");
}

TEST_F(ForeignRelayTest, TheNextStageIsPublishedOnce) {
  adopt(golden_body("25_pipeline_run_0"), {"default", true, false, ""});
  finish(Outcome::complete("3"));
  relay.step();
  relay.step();
  EXPECT_THAT(bodies("default"), ElementsAre(golden_body("25_pipeline_run_1")));
  EXPECT_TRUE(outbox_empty());
}

TEST_F(ForeignRelayTest, AFailureIsTheOriginalOnTheDeadLetterQueue) {
  adopt(golden_body("02_args"), {"default", false, false, ""});
  finish(Outcome::fail({"ValueError", "boom", ""}));
  relay.step();
  auto dead = hub->contents("default.XQ");
  ASSERT_THAT(dead, SizeIs(1));
  EXPECT_EQ(dead[0].body, golden_body("02_args"));
  EXPECT_EQ(dead[0].headers.at(0),
            (std::pair<std::string, std::string>(kReasonHeader, "ValueError: boom")));
}

TEST_F(ForeignRelayTest, RowsStayWhileTheBrokerIsAwayAndOnlyTheLeaderPublishes) {
  adopt(golden_body("02_args"), {"default", false, false, ""});
  finish(Outcome::fail({"k", "m", ""}));
  hub->set_away(true);
  relay.step();
  EXPECT_FALSE(outbox_empty());
  hub->set_away(false);
  leads = false;
  relay.step();
  EXPECT_FALSE(outbox_empty());
  leads = true;
  relay.step();
  EXPECT_TRUE(outbox_empty());
  EXPECT_THAT(bodies("default.XQ"), SizeIs(1));
}

TEST_F(ForeignRelayTest, AWarningIsAnEventOfTheTask) {
  DramatiqMessage message = golden("02_args");
  message.options.set("on_success", "\"nobody\"");
  TaskKey key = adopt(encode_dramatiq(message), {"default", true, false, ""});
  finish(Outcome::complete("3"));
  relay.step();
  EXPECT_THAT(bodies("default"), SizeIs(1));
  EXPECT_TRUE(outbox_empty());
  Task task = *store->reader().find(key);
  TaskEvent last = service.events(task).back();
  EXPECT_EQ(last.kind, "callback_warning");
  EXPECT_THAT(last.data, HasSubstr("'nobody' is not declared here"));
}

TEST_F(ForeignRelayTest, ADeletedTaskHasNothingToTell) {
  TaskKey key = adopt(golden_body("02_args"), {"default", false, false, ""});
  finish(Outcome::fail({"k", "m", ""}));
  store->tasks().remove(std::span(&key, 1));
  relay.step();
  EXPECT_TRUE(outbox_empty());
  EXPECT_THAT(bodies("default.XQ"), IsEmpty());
}

TEST_F(ForeignRelayTest, TheResultIsThereBeforeTheCallback) {
  DramatiqMessage message = golden("02_args");
  message.options.set("on_success", "\"f\"");
  adopt(encode_dramatiq(message), {"default", true, false, "", true, false});
  finish(Outcome::complete("3"));
  hub->set_away(true);
  relay.step();
  EXPECT_EQ(results->result(message.message_id), "3");
  hub->set_away(false);
  relay.step();
  EXPECT_THAT(bodies("default"), SizeIs(1));
  EXPECT_TRUE(outbox_empty());
}

TEST_F(ForeignRelayTest, AFailureIsTheResultToo) {
  adopt(golden_body("02_args"), {"default", false, false, "", true, false});
  finish(Outcome::fail({"ValueError", "boom", ""}));
  relay.step();
  EXPECT_THAT(*results->result(golden("02_args").message_id), HasSubstr("ValueError"));
  EXPECT_THAT(bodies("default.XQ"), SizeIs(1));
}

TEST_F(ForeignRelayTest, TheLastMemberSendsTheCallbacksOfItsGroup) {
  results->create_barrier(group(), 2);
  for (const char* member : {kMember, kOtherMember}) {
    EXPECT_THAT(bodies("default"), IsEmpty());
    adopt(golden_body(member), {"default", false, false, "", false, true});
    finish(Outcome::complete("3"));
    relay.step();
  }
  EXPECT_THAT(bodies("default"), ElementsAre(golden_body("26_group_callback_run_2")));
  EXPECT_TRUE(outbox_empty());
}

TEST_F(ForeignRelayTest, AMemberCountsOnceHoweverOftenItsEndIsTold) {
  results->create_barrier(group(), 2);
  adopt(golden_body(kMember), {"default", false, false, "", false, true});
  finish(Outcome::complete("3"));
  const auto told = store->outbox().due(OutboxRow::Kind::amqp, 10);
  relay.step();
  store->outbox().add(told);  // as if it had died before it could settle them
  relay.step();
  EXPECT_THAT(bodies("default"), IsEmpty());
  const std::vector<GroupMember> other{{group(), "other"}};
  EXPECT_THAT(results->count(other), ElementsAre(Barrier::cleared));
}

TEST_F(ForeignRelayTest, AFailedMemberIsNotCounted) {
  results->create_barrier(group(), 1);
  adopt(golden_body(kMember), {"default", false, false, "", false, true});
  finish(Outcome::fail({"k", "m", ""}));
  relay.step();
  EXPECT_THAT(bodies("default"), IsEmpty());
  EXPECT_TRUE(outbox_empty());
}

TEST_F(ForeignRelayTest, ABarrierThatIsGoneIsAnEventOfTheTask) {
  TaskKey key = adopt(golden_body(kMember), {"default", false, false, "", false, true});
  finish(Outcome::complete("3"));
  relay.step();
  EXPECT_THAT(bodies("default"), IsEmpty());
  EXPECT_TRUE(outbox_empty());
  Task task = *store->reader().find(key);
  EXPECT_THAT(service.events(task).back().data, HasSubstr("the group's barrier is gone"));
}

TEST_F(ForeignRelayTest, WithoutItsBackendARowWaitsAndHoldsUpNoOther) {
  results->set_away(true);
  adopt(golden_body("02_args"), {"default", false, false, "", true, false});
  finish(Outcome::complete("3"));
  store->outbox().add({to_row({"default", "parked", {}, {}}, clock.now())});
  relay.step();
  EXPECT_THAT(bodies("default"), ElementsAre("parked"));
  EXPECT_FALSE(outbox_empty());
  results->set_away(false);
  relay.step();
  EXPECT_EQ(results->result(golden("02_args").message_id), std::nullopt);  // not asked again yet
  clock.advance(3s);
  relay.step();
  EXPECT_EQ(results->result(golden("02_args").message_id), "3");
  EXPECT_TRUE(outbox_empty());
}

TEST_F(ForeignRelayTest, AProcessWithoutABackendLeavesTheRowToOneThatHasIt) {
  adopt(golden_body("02_args"), {"default", false, false, "", true, false});
  finish(Outcome::complete("3"));
  ForeignRelay without{service, broker.get(), clock, *log, metrics, {.leads = [] { return true; }}};
  without.step();
  EXPECT_FALSE(outbox_empty());
  relay.step();
  EXPECT_TRUE(outbox_empty());
}

struct OverHttpTest : ForeignRelayTest {
  OverHttpTest() {
    CatalogueEntry add;
    add.type = "add";
    service.declare({add});
  }
  // The task of a message whose ends others are to hear of.
  Submitted take(const char* option, const std::string& value) {
    DramatiqMessage message = golden("02_args");
    message.options.set("max_retries", "0");
    message.options.set(option, value);
    return service.take_message(encode_dramatiq(message));
  }
  std::vector<Task> tasks() { return store->reader().list({}, {}, 100).tasks; }
  ForeignRelay alone{service, nullptr, clock, *log, metrics, {.leads = [] { return true; }}};
};

TEST_F(OverHttpTest, WhatFollowsIsATaskWithoutAnyBroker) {
  take("on_success", "\"add\"");
  finish(Outcome::complete("3"));
  alone.step();
  ASSERT_THAT(tasks(), SizeIs(2));
  EXPECT_THAT(tasks()[0].input, HasSubstr(R"("message_id":")"));
  EXPECT_THAT(tasks()[0].input, HasSubstr(R"(,3],"kwargs":{})"));
  EXPECT_TRUE(tasks()[0].options.adopted->over_http);
  EXPECT_TRUE(outbox_empty());
}

TEST_F(OverHttpTest, AFailureIsToldAndHasNoDeadMessage) {
  take("on_retry_exhausted", "\"add\"");
  finish(Outcome::fail({"k", "m", ""}));
  relay.step();
  EXPECT_THAT(tasks(), SizeIs(2));
  EXPECT_THAT(bodies("default.XQ"), IsEmpty());
  EXPECT_TRUE(outbox_empty());
}

TEST_F(OverHttpTest, WhatIsForSomebodyElseIsPublishedOrSaid) {
  take("on_success", "\"theirs\"");
  finish(Outcome::complete("3"));
  relay.step();
  EXPECT_THAT(bodies("default"), ElementsAre(HasSubstr(R"("actor_name":"theirs")")));
  const std::string second = R"({"queue_name":"default","actor_name":"add","args":[],"kwargs":{},)"
                             R"("options":{"on_success":"theirs"},"message_id":"second",)"
                             R"("message_timestamp":1})";
  Submitted taken = service.take_message(second);
  finish(Outcome::complete("3"));
  alone.step();
  Task task = service.get(taken.key);
  EXPECT_THAT(service.events(task).back().data, HasSubstr("no actor 'theirs' is known"));
  EXPECT_TRUE(outbox_empty());
}

TEST_F(OverHttpTest, AFullQueueIsAskedAgain) {
  take("on_success", "\"add\"");
  finish(Outcome::complete("3"));
  service.set_limits("default", {.max_pending = 0});
  alone.step();
  EXPECT_FALSE(outbox_empty());
  service.set_limits("default", {.max_pending = 10});
  clock.advance(10s);
  alone.step();
  EXPECT_THAT(tasks(), SizeIs(2));
  EXPECT_TRUE(outbox_empty());
}

TEST_F(OverHttpTest, MessagesOfRabbitMqWaitForIt) {
  adopt(golden_body("25_pipeline_run_0"), {"default", true, false, ""});
  finish(Outcome::complete("3"));
  alone.step();
  EXPECT_FALSE(outbox_empty());
  relay.step();
  EXPECT_THAT(bodies("default"), SizeIs(1));
  EXPECT_TRUE(outbox_empty());
}

TEST_F(ForeignRelayTest, ParkedMessagesGoBackInTheirTime) {
  ForeignMessage message{"default", "{}", 3, {{"a", "b"}}};
  store->outbox().add({to_row(message, clock.now() + 1s)});
  relay.step();
  EXPECT_THAT(hub->contents("default"), IsEmpty());
  clock.advance(1s);
  relay.step();
  EXPECT_THAT(hub->contents("default"), ElementsAre(message));
}

TEST_F(ForeignRelayTest, ARefusedQueueHoldsUpNoOther) {
  hub->set_refused("bad", "no permission");
  store->outbox().add(
      {to_row({"bad", "1", {}, {}}, clock.now()), to_row({"good", "2", {}, {}}, clock.now())});
  relay.step();
  EXPECT_THAT(bodies("good"), ElementsAre("2"));
  hub->set_refused("bad", "");
  relay.step();
  EXPECT_THAT(bodies("bad"), IsEmpty());  // not asked again yet
  clock.advance(10s);
  relay.step();
  EXPECT_THAT(bodies("bad"), ElementsAre("1"));
}

TEST_F(ForeignRelayTest, ARowThatMakesNoMessageHoldsUpNoOther) {
  OutboxRow broken{0, OutboxRow::Kind::amqp, "q", "x", "not json", clock.now()};
  store->outbox().add({broken, to_row({"good", "2", {}, {}}, clock.now())});
  relay.step();
  EXPECT_THAT(bodies("good"), ElementsAre("2"));
  EXPECT_TRUE(outbox_empty());
}

}  // namespace
}  // namespace opscore
