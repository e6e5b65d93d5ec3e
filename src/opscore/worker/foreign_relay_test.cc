#include "opscore/worker/foreign_relay.h"

#include <gmock/gmock.h>

#include "opscore/broker/dramatiq/golden_fixture.h"
#include "opscore/broker/memory/memory_foreign_broker.h"
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
  ForeignRelay relay{service, *broker, clock, *log, metrics, {.leads = [this] { return leads; }}};
};

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
