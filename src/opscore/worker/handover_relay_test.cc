// ForeignRelay, as far as it hands over tasks that Python runs.

#include <gmock/gmock.h>

#include "opscore/broker/dramatiq/message.h"
#include "opscore/broker/memory/memory_foreign_broker.h"
#include "opscore/model/decide.h"
#include "opscore/model/report.h"
#include "opscore/store/memory/memory_store.h"
#include "opscore/worker/foreign_relay.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

class HandoverRelayTest : public testing::Test {
 protected:
  TaskKey insert(TaskSpec spec = {}) {
    spec.type = "add";
    spec.queue = "q";
    spec.input = "[1,2]";
    spec.options.dramatiq = "{}";
    InsertItem item;
    item.spec = std::move(spec);
    return store_->tasks().insert({item}, InsertMode::per_item).at(0).key;
  }
  void step(int times = 1) {
    for (int i = 0; i < times; ++i) relay_.step();
  }
  std::vector<DramatiqMessage> messages(const std::string& queue = "q") {
    std::vector<DramatiqMessage> found;
    for (const ForeignMessage& message : hub_->contents(queue))
      found.push_back(decode_dramatiq(message.body).value());
    return found;
  }
  std::vector<std::string> event_kinds(TaskKey key) {
    std::vector<std::string> kinds;
    for (const TaskEvent& event : store_->reader().events(key)) kinds.push_back(event.kind);
    return kinds;
  }
  void report(TaskKey key, Report::Kind kind, int attempt = 1) {
    Report report;
    report.kind = kind;
    report.attempt = attempt;
    report.at = clock_.now();
    store_->tasks().apply(decide_report(store_->reader().find(key).value(), report).plans);
  }

  FakeClock clock_;
  SeededRandom random_{3};
  std::unique_ptr<Log> log_ = silent_log();
  Metrics metrics_;
  std::unique_ptr<Store> store_ = open_memory_store(clock_, random_);
  std::shared_ptr<MemoryForeignHub> hub_ = open_memory_foreign();
  std::unique_ptr<ForeignBroker> broker_ = hub_->connect();
  bool leads_ = true;
  Service service_{*store_, clock_, *log_, metrics_, {}};
  ForeignRelay relay_{service_, broker_.get(), clock_,
                      *log_,    metrics_,      {[this] { return leads_; }}};
};

TEST_F(HandoverRelayTest, HandsATaskOverOnce) {
  TaskKey key = insert();
  step(3);
  ASSERT_EQ(messages().size(), 1u);
  EXPECT_EQ(messages()[0].args, "[1,2]");
  EXPECT_EQ(messages()[0].message_id, store_->ids().encode(key));
  EXPECT_THAT(event_kinds(key), ElementsAre(event_kind::kHandedToDramatiq));
  EXPECT_THAT(store_->outbox().due(OutboxRow::Kind::amqp, 10), IsEmpty());
}

TEST_F(HandoverRelayTest, OnlyTheLeaderPublishes) {
  insert();
  leads_ = false;
  step();
  EXPECT_THAT(messages(), IsEmpty());
}

TEST_F(HandoverRelayTest, WhatIsDueLaterWaitsOnTheDelayQueue) {
  TaskSpec later;
  later.run_at = clock_.now() + 5s;
  insert(later);
  step();
  ASSERT_EQ(messages("q.DQ").size(), 1u);
  EXPECT_EQ(integer_option(messages("q.DQ")[0].options, "eta"), to_ms(*later.run_at));
}

TEST_F(HandoverRelayTest, AnOutageCostsTimeOnly) {
  hub_->set_away(true);
  TaskKey key = insert();
  step(3);
  EXPECT_THAT(event_kinds(key), IsEmpty());
  hub_->set_away(false);
  step();
  EXPECT_EQ(messages().size(), 1u);
}

TEST_F(HandoverRelayTest, ARefusedQueueHoldsUpNoOther) {
  hub_->set_refused("q", "precondition failed");
  TaskKey key = insert();
  store_->tasks().apply({});
  step(2);
  EXPECT_THAT(event_kinds(key), IsEmpty());
  hub_->set_refused("q", "");
  step();
  EXPECT_THAT(messages(), IsEmpty()) << "asked again after a while only";
  clock_.advance(1min);
  step();
  EXPECT_EQ(messages().size(), 1u);
}

TEST_F(HandoverRelayTest, APausedQueueGetsNothing) {
  store_->tasks().set_paused("q", true);
  insert();
  step();
  clock_.advance(2s);
  step();
  EXPECT_THAT(messages(), IsEmpty());
  store_->tasks().set_paused("q", false);
  clock_.advance(2s);
  step();
  EXPECT_EQ(messages().size(), 1u);
}

TEST_F(HandoverRelayTest, ARetryIsAnotherMessageThatCountsOn) {
  TaskKey key = insert();
  step();
  report(key, Report::Kind::failed, 3);
  Task failed = store_->reader().find(key).value();
  store_->tasks().apply({decide_retry(failed, {}, clock_.now()).value()});
  step();
  ASSERT_EQ(messages().size(), 2u);
  EXPECT_EQ(messages()[1].message_id, messages()[0].message_id);
  EXPECT_EQ(messages()[1].options.encode(), R"({"opscore_attempts":3})");
}

TEST_F(HandoverRelayTest, WhatHasMovedOnIsNotSent) {
  hub_->set_away(true);
  TaskKey key = insert();
  step();
  report(key, Report::Kind::running);
  hub_->set_away(false);
  step();
  EXPECT_THAT(messages(), IsEmpty());
  EXPECT_THAT(store_->outbox().due(OutboxRow::Kind::amqp, 10), IsEmpty());
}

}  // namespace
}  // namespace opscore
