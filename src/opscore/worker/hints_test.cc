#include "opscore/worker/hints.h"

#include <gmock/gmock.h>

#include "opscore/broker/memory/memory_broker.h"
#include "opscore/model/limits.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct HintsTest : testing::Test {
  void announce(size_t tasks, const std::string& queue = "a") {
    broker->announce(std::vector{Hint{queue, tasks}});
  }
  void receive() { hints.receive(Deadline::at({})); }
  // As after a claim of what is wanted that found nothing.
  void look_once() {
    for (const char* queue : {"a", "b"}) claimed(queue, limits::kClaimBatch, 0);
  }
  void claimed(const std::string& queue, size_t asked, size_t got, ClaimResult result = {},
               bool restricted = false) {
    for (size_t i = 0; i < got; ++i) result.tasks.push_back({.queue = queue});
    hints.claimed({{queue, asked}}, result, restricted);
  }
  BrokerQueue state(const std::string& name = "a") {
    auto queues = broker->queues(std::vector{name});
    return queues.empty() ? BrokerQueue{name, 0, 0, 0} : queues[0];
  }
  void expect_hints(uint64_t ready, uint64_t unanswered) {
    EXPECT_EQ(state().ready, ready);
    EXPECT_EQ(state().unanswered, unanswered);
  }

  FakeClock clock;
  std::unique_ptr<Log> log = silent_log();
  Metrics metrics;
  std::shared_ptr<MemoryBrokerHub> hub = open_memory_broker();
  std::unique_ptr<Broker> broker = hub->connect();
  std::unique_ptr<Broker> own = hub->connect();
  Hints hints{*own, clock, *log, metrics};
};

// One that listens and has looked at everything that it must look at in the beginning.
struct ListeningHints : HintsTest {
  ListeningHints() {
    EXPECT_TRUE(hints.listen({"a", "b"}));
    look_once();
  }
};

TEST_F(HintsTest, every_queue_is_looked_at_in_the_beginning) {
  EXPECT_EQ(hints.wanted("a"), 0u);
  hints.listen({"a", "b"});
  EXPECT_EQ(hints.wanted("a"), limits::kClaimBatch);
  EXPECT_EQ(hints.wanted("b"), limits::kClaimBatch);
  look_once();
  EXPECT_EQ(hints.wanted("a"), 0u);
  hints.listen({"a", "b", "c"});
  EXPECT_EQ(hints.wanted("a"), 0u);
  EXPECT_EQ(hints.wanted("c"), limits::kClaimBatch);
}

TEST_F(ListeningHints, as_many_tasks_are_wanted_as_hints_stand_for) {
  announce(3);
  announce(4);
  receive();
  EXPECT_EQ(hints.wanted("a"), 7u);
  EXPECT_EQ(hints.wanted("b"), 0u);
}

TEST_F(ListeningHints, a_hint_is_answered_once_its_tasks_are_claimed) {
  announce(3);
  announce(4);
  receive();
  claimed("a", 2, 2);
  expect_hints(0, 2);
  EXPECT_EQ(hints.wanted("a"), 5u);
  claimed("a", 2, 2);
  expect_hints(0, 1);
  claimed("a", 3, 3);
  expect_hints(0, 0);
  EXPECT_EQ(hints.wanted("a"), 0u);
}

TEST_F(ListeningHints, all_hints_are_answered_when_nothing_is_left) {
  for (int i = 0; i < 5; ++i) announce(1);
  receive();
  claimed("a", 5, 2);
  expect_hints(0, 0);
  EXPECT_THAT(metrics.expose(), HasSubstr("opscore_hints_stale_total 3"));
  EXPECT_THAT(metrics.expose(), HasSubstr("opscore_hints_received_total 5"));
}

TEST_F(ListeningHints, a_backlog_is_worked_off_without_hints) {
  announce(1);
  receive();
  claimed("a", 1, 1, {.more = true});
  expect_hints(0, 0);
  EXPECT_EQ(hints.wanted("a"), limits::kClaimBatch);
  claimed("a", 8, 3);
  EXPECT_EQ(hints.wanted("a"), 0u);
}

TEST_F(ListeningHints, what_nobody_wants_is_answered) {
  announce(3);
  receive();
  ASSERT_TRUE(hints.holds("a"));
  hints.dismiss("a");
  EXPECT_FALSE(hints.holds("a"));
  expect_hints(0, 0);
}

TEST_F(ListeningHints, a_worker_without_room_gives_back_what_it_holds) {
  announce(3);
  receive();
  claimed("a", 1, 1);
  hints.rest(100ms);
  clock.advance(99ms);
  hints.rest(100ms);
  expect_hints(0, 1);  // a slot may come free at any moment
  clock.advance(1ms);
  hints.rest(100ms);
  expect_hints(1, 0);
  EXPECT_EQ(state().consumers, 0u);
  announce(1);
  hints.rest(100ms);
  expect_hints(2, 0);
  EXPECT_EQ(hints.wanted("a"), 0u);

  hints.listen({"a", "b"});
  EXPECT_EQ(state().consumers, 1u);
  receive();
  EXPECT_EQ(hints.wanted("a"), 4u);
}

TEST_F(ListeningHints, what_could_not_be_claimed_here_is_announced_again_after_a_second) {
  announce(5);
  receive();
  claimed("a", 5, 2, {.skipped_types = {"other"}});
  expect_hints(0, 0);
  clock.advance(999ms);
  hints.pass_on();
  expect_hints(0, 0);
  clock.advance(1ms);
  hints.pass_on();
  expect_hints(1, 0);
  receive();
  EXPECT_EQ(hints.wanted("a"), 3u);
  clock.advance(10s);
  hints.pass_on();
  expect_hints(0, 1);  // once
}

TEST_F(ListeningHints, hints_that_cannot_be_passed_on_now_are_later) {
  announce(5);
  receive();
  claimed("a", 5, 0, {.skipped_types = {"other"}});
  hub->set_away(true);
  clock.advance(1s);
  hints.pass_on();
  hub->set_away(false);
  clock.advance(1s);
  hints.pass_on();
  expect_hints(1, 0);
}

TEST_F(ListeningHints, what_limits_have_left_is_looked_at_again_and_told_to_others) {
  announce(2);
  receive();
  claimed("a", 2, 0, {}, true);
  EXPECT_EQ(hints.wanted("a"), 0u);
  EXPECT_LE(hints.wait(), 50ms);
  clock.advance(50ms);
  EXPECT_EQ(hints.wanted("a"), limits::kClaimBatch);
  clock.advance(1s);
  hints.pass_on();
  expect_hints(1, 0);
}

TEST_F(ListeningHints, a_flood_of_stale_hints_costs_few_claims) {
  for (int i = 0; i < 2000; ++i) announce(1);
  int claims = 0;
  for (auto end = clock.steady() + 1s; clock.steady() < end; clock.advance(1ms)) {
    announce(1);
    receive();
    if (size_t wanted = hints.wanted("a")) {
      claimed("a", wanted, 0);
      ++claims;
    }
  }
  EXPECT_LE(claims, 20 + 51);
  EXPECT_LE(hints.wait(), 20ms);
  clock.advance(20ms);
  receive();
  EXPECT_GT(hints.wanted("a"), 0u);
  claimed("a", 1000, 0);
  expect_hints(0, 0);
}

TEST_F(ListeningHints, while_the_broker_is_away_it_is_tried_every_second) {
  announce(1);
  receive();
  hub->set_away(true);
  receive();
  EXPECT_EQ(hints.wanted("a"), 0u);  // what it held is delivered again
  EXPECT_FALSE(hints.listen({"a", "b"}));
  hub->set_away(false);
  EXPECT_FALSE(hints.listen({"a", "b"}));
  clock.advance(1s);
  EXPECT_TRUE(hints.listen({"a", "b"}));
  EXPECT_EQ(hints.wanted("b"), limits::kClaimBatch);  // hints may have been lost
  receive();
  claimed("a", 10, 1);
  expect_hints(0, 0);
}

TEST_F(ListeningHints, a_queue_that_the_broker_refuses_is_looked_at_every_second) {
  hub->set_refused("a", "declared otherwise");
  EXPECT_EQ(hints.report().refused.at("a"), "declared otherwise");
  for (int second = 0; second < 3; ++second) {
    clock.advance(1s);
    hints.listen({"a", "b"});
    EXPECT_EQ(hints.wanted("a"), limits::kClaimBatch);
    EXPECT_EQ(hints.wanted("b"), 0u);
    claimed("a", 10, 0);
  }
}

TEST_F(ListeningHints, now_and_then_everything_is_looked_at) {
  clock.advance(15s);
  hints.listen({"a", "b"});
  EXPECT_EQ(hints.wanted("a"), limits::kClaimBatch);
}

}  // namespace
}  // namespace opscore
