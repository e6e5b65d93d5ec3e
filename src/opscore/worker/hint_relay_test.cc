#include "opscore/worker/hint_relay.h"

#include <gmock/gmock.h>

#include "opscore/broker/memory/memory_broker.h"
#include "opscore/store/memory/memory_store.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

struct HintRelayTest : testing::Test {
  void submit(size_t count, const std::string& queue = "default") {
    std::vector<InsertItem> items(count);
    for (InsertItem& item : items) {
      item.spec.type = "t";
      item.spec.queue = queue;
    }
    store->tasks().insert(items, InsertMode::all_or_nothing);
  }
  SessionId open_worker(int slots, int busy, std::vector<std::string> queues = {"*"}) {
    SessionId worker = store->fleet().open_session("worker:1", "{}");
    report(worker, slots, busy, std::move(queues));
    return worker;
  }
  RenewReply report(SessionId worker, int slots, int busy,
                    std::vector<std::string> queues = {"*"}) {
    SessionReport report;
    report.state = "consuming";
    report.queues = std::move(queues);
    report.slots = slots;
    report.busy = busy;
    return store->fleet().renew(worker, report);
  }
  void claim(SessionId worker, size_t count, const std::string& queue = "default") {
    ClaimRequest request;
    request.session = worker;
    request.queues = {{queue, count}};
    request.types = std::make_shared<const std::vector<std::string>>(1, "t");
    ASSERT_THAT(store->tasks().claim(request).tasks, SizeIs(count));
  }
  // "queue*tasks" of every hint that has reached the broker since the last call.
  std::vector<std::string> announced() {
    auto listener = hub->connect();
    listener->subscribe({"default", "mail"});
    std::vector<std::string> hints;
    for (const Delivery& delivery : listener->receive(Deadline::at({}))) {
      hints.push_back(fmt::format("{}*{}", delivery.hint.queue, delivery.hint.tasks));
      listener->ack(std::vector{delivery.tag});
    }
    return hints;
  }
  // Steps every second for so long.
  void pass(Duration time) {
    for (Duration passed{}; passed < time; passed += 1s) {
      clock.advance(1s);
      relay.step();
    }
  }
  bool outbox_empty() { return store->outbox().due(OutboxRow::Kind::token, 1).empty(); }

  FakeClock clock;
  SeededRandom random{19};
  std::unique_ptr<Log> log = silent_log();
  Metrics metrics;
  bool leads = true;
  std::unique_ptr<Store> store = open_memory_store(clock, random, {.announce = true});
  std::shared_ptr<MemoryBrokerHub> hub = open_memory_broker();
  std::unique_ptr<Broker> broker = hub->connect();
  HintRelay relay{*store, *broker, clock, *log, metrics, {.leads = [this] { return leads; }}};
};

TEST_F(HintRelayTest, what_became_due_is_announced_once) {
  submit(3);
  relay.step();
  relay.step();
  EXPECT_THAT(announced(), ElementsAre("default*3"));
  EXPECT_TRUE(outbox_empty());
}

TEST_F(HintRelayTest, one_hint_stands_for_the_tasks_of_many_submits) {
  for (int i = 0; i < 50; ++i) submit(1);
  relay.step();
  EXPECT_THAT(announced(), ElementsAre("default*50"));
  submit(2500);
  relay.step();
  EXPECT_THAT(announced(), ElementsAre("default*1000", "default*1000", "default*500"));
}

TEST_F(HintRelayTest, workers_of_a_queue_share_what_is_due) {
  open_worker(4, 4);
  open_worker(4, 0);
  open_worker(4, 0, {"mail"});
  submit(10);
  relay.step();
  EXPECT_THAT(announced(), ElementsAre("default*5", "default*5"));
}

TEST_F(HintRelayTest, only_the_leader_announces) {
  leads = false;
  submit(1);
  relay.step();
  EXPECT_THAT(announced(), IsEmpty());
  leads = true;
  relay.step();
  EXPECT_THAT(announced(), ElementsAre("default*1"));
}

TEST_F(HintRelayTest, hints_of_a_refused_queue_wait_and_hold_up_no_others) {
  SessionId worker = open_worker(1, 0);
  hub->set_refused("default", "declared otherwise");
  submit(1);
  submit(1, "mail");
  relay.step();
  EXPECT_THAT(announced(), ElementsAre("mail*1"));
  EXPECT_FALSE(outbox_empty());
  EXPECT_THAT(report(worker, 1, 0).commands, ElementsAre("look"));
  hub->set_refused("default", "");
  pass(3s);
  EXPECT_THAT(announced(), ElementsAre("default*1"));
  EXPECT_TRUE(outbox_empty());
}

TEST_F(HintRelayTest, while_the_broker_is_away_hints_wait_and_workers_are_told_to_look) {
  SessionId worker = open_worker(1, 0);
  hub->set_away(true);
  submit(1);
  relay.step();
  EXPECT_THAT(report(worker, 1, 0).commands, ElementsAre("look"));
  relay.step();
  EXPECT_THAT(report(worker, 1, 0).commands, IsEmpty());  // not again at once
  hub->set_away(false);
  pass(1s);
  EXPECT_THAT(announced(), ElementsAre("default*1"));
}

TEST_F(HintRelayTest, a_queue_that_nobody_takes_from_is_announced_again_after_ten_seconds) {
  open_worker(2, 1);
  submit(1200);
  relay.step();
  announced();  // and lost
  pass(9s);
  EXPECT_THAT(announced(), IsEmpty());
  pass(4s);
  EXPECT_THAT(announced(), ElementsAre("default*1000"));
  pass(9s);
  EXPECT_THAT(announced(), IsEmpty());
  pass(4s);
  EXPECT_THAT(announced(), ElementsAre("default*1000"));
}

TEST_F(HintRelayTest, a_queue_that_is_taken_from_is_not) {
  SessionId worker = open_worker(2, 1);
  submit(20);
  relay.step();
  announced();
  for (int i = 0; i < 5; ++i) {
    pass(5s);
    claim(worker, 1);
  }
  EXPECT_THAT(announced(), IsEmpty());
}

TEST_F(HintRelayTest, nothing_is_announced_again_while_no_worker_could_take_it) {
  open_worker(2, 2);
  open_worker(2, 0, {"mail"});
  submit(1);
  relay.step();
  announced();
  pass(30s);
  EXPECT_THAT(announced(), IsEmpty());
}

TEST_F(HintRelayTest, a_paused_queue_is_left_alone) {
  open_worker(2, 0);
  submit(1);
  relay.step();
  announced();
  store->tasks().set_paused("default", true);
  pass(30s);
  EXPECT_THAT(announced(), IsEmpty());
}

}  // namespace
}  // namespace opscore
