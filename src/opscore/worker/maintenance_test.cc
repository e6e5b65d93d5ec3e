#include "opscore/worker/maintenance.h"

#include <gmock/gmock.h>

#include "opscore/model/decide.h"
#include "opscore/store/intercepted_store.h"
#include "opscore/store/memory/memory_store.h"
#include "opscore/worker/queue_shares.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

Session seen(int64_t id, uint64_t renewals) {
  Session session;
  session.id = SessionId{id};
  session.renewals = renewals;
  return session;
}

TEST(SessionWatch, a_counter_that_stands_still_for_the_ttl_means_lost) {
  SessionWatch watch(15s);
  SteadyPoint start{1h};
  EXPECT_THAT(watch.lost({seen(1, 5)}, start), IsEmpty());
  EXPECT_THAT(watch.lost({seen(1, 5)}, start + 14999ms), IsEmpty());
  EXPECT_THAT(watch.lost({seen(1, 5)}, start + 15s), SizeIs(1));
}

TEST(SessionWatch, a_renewal_starts_the_count_anew) {
  SessionWatch watch(15s);
  SteadyPoint start{1h};
  watch.lost({seen(1, 5), seen(2, 1)}, start);
  watch.lost({seen(1, 6), seen(2, 1)}, start + 10s);
  auto lost = watch.lost({seen(1, 6), seen(2, 1)}, start + 20s);
  ASSERT_THAT(lost, SizeIs(1));
  EXPECT_EQ(lost[0].id, SessionId{2});
}

TEST(SessionWatch, a_gap_in_observation_starts_the_count_anew) {
  SessionWatch watch(15s);
  SteadyPoint start{1h};
  watch.lost({seen(1, 5)}, start);
  watch.interrupted();
  EXPECT_THAT(watch.lost({seen(1, 5)}, start + 15s), IsEmpty());
  EXPECT_THAT(watch.lost({seen(1, 5)}, start + 30s), SizeIs(1));
}

TEST(SessionWatch, what_ended_is_not_lost) {
  SessionWatch watch(15s);
  Session ended = seen(1, 5);
  ended.ended_at = from_ms(1);
  watch.lost({ended}, SteadyPoint{1h});
  EXPECT_THAT(watch.lost({ended}, SteadyPoint{2h}), IsEmpty());
}

struct MaintenanceTest : testing::Test {
  std::unique_ptr<Store> open() {
    return inject_faults(open_memory_store(clock, random, {.announce = true}), random,
                         {.before = 1, .enabled = [this](std::string_view) { return away; }});
  }
  MaintenanceOptions options() {
    MaintenanceOptions options;
    options.session = [this] { return leader; };
    return options;
  }
  TaskKey submit(TaskSpec spec = {}) {
    spec.type = "t";
    InsertItem item;
    item.spec = std::move(spec);
    return store->tasks().insert({item}, InsertMode::all_or_nothing)[0].key;
  }
  ClaimedTask claim(SessionId session) {
    ClaimRequest request;
    request.session = session;
    request.queues = {{"default", 1}};
    request.types = std::make_shared<const std::vector<std::string>>(1, "t");
    return store->tasks().claim(request).tasks.at(0);
  }
  Task task(TaskKey key) { return store->reader().find(key).value(); }
  void renew_leader() { store->fleet().renew(leader, {}); }

  FakeClock clock;
  SeededRandom random{19};
  std::unique_ptr<Log> log = silent_log();
  Metrics metrics;
  bool away = false;
  std::unique_ptr<Store> store = open();
  SessionId leader = store->fleet().open_session("leader:1", "{}");
  Maintenance maintenance{*store, clock, *log, metrics, options()};
};

TEST_F(MaintenanceTest, what_is_due_is_promoted_and_the_next_one_is_waited_for) {
  TaskKey soon = submit({.run_at = clock.now() + 100ms});
  TaskKey later = submit({.run_at = clock.now() + 400ms});
  EXPECT_EQ(maintenance.tick(), 100ms);
  clock.advance(100ms);
  EXPECT_EQ(maintenance.tick(), 300ms);
  EXPECT_EQ(task(soon).state(), State::pending);
  EXPECT_EQ(task(later).state(), State::scheduled);
}

TEST_F(MaintenanceTest, what_is_too_late_fails) {
  TaskSpec spec;
  spec.options.deadline = clock.now() + 1s;
  TaskKey key = submit(spec);
  maintenance.tick();
  EXPECT_EQ(task(key).state(), State::pending);
  clock.advance(1s);
  maintenance.tick();
  EXPECT_EQ(task(key).state(), State::failed);
  EXPECT_EQ(task(key).error.kind, "deadline");
}

TEST_F(MaintenanceTest, what_a_silent_session_held_is_given_back) {
  TaskKey key = submit();
  SessionId silent = store->fleet().open_session("silent:1", "{}");
  claim(silent);
  maintenance.tick();
  for (int second = 0; second < 15; ++second) {
    EXPECT_EQ(task(key).state(), State::running) << second;
    clock.advance(1s);
    renew_leader();
    maintenance.tick();
  }
  EXPECT_EQ(task(key).state(), State::pending);
  auto sessions = store->fleet().sessions(0ms);
  ASSERT_THAT(sessions, SizeIs(1));
  EXPECT_EQ(sessions[0].id, leader);
}

TEST_F(MaintenanceTest, a_jump_of_the_wall_clock_loses_nobody) {
  TaskKey key = submit();
  SessionId other = store->fleet().open_session("other:1", "{}");
  claim(other);
  maintenance.tick();
  clock.jump(1h);
  maintenance.tick();
  EXPECT_EQ(task(key).state(), State::running);
}

TEST_F(MaintenanceTest, while_the_store_was_away_nobody_was_observed) {
  TaskKey key = submit();
  SessionId other = store->fleet().open_session("other:1", "{}");
  claim(other);
  maintenance.tick();
  away = true;
  EXPECT_THROW(maintenance.tick(), Error);
  away = false;
  clock.advance(limits::kSessionTtl);
  renew_leader();
  maintenance.tick();
  EXPECT_EQ(task(key).state(), State::running);
}

TEST_F(MaintenanceTest, finished_tasks_go_when_their_retention_is_over) {
  TaskKey key = submit();
  ClaimedTask claimed = claim(leader);
  store->tasks().apply(
      {decide_finish(claimed, Outcome::complete("1"), clock.now(), clock.now(), random)});
  maintenance.tick();
  EXPECT_TRUE(store->reader().find(key));
  clock.advance(limits::kKeepCompleted + 1s);
  renew_leader();
  maintenance.tick();
  EXPECT_FALSE(store->reader().find(key));
}

TEST_F(MaintenanceTest, hints_that_no_broker_takes_are_forgotten_in_the_end) {
  submit();
  clock.advance(10min);
  renew_leader();
  maintenance.tick();
  EXPECT_THAT(store->outbox().due(OutboxRow::Kind::token, 10), SizeIs(1));
  clock.advance(11s);
  renew_leader();
  maintenance.tick();
  EXPECT_THAT(store->outbox().due(OutboxRow::Kind::token, 10), IsEmpty());
}

TEST_F(MaintenanceTest, only_the_leader_does_anything) {
  SessionId first = store->fleet().open_session("first:1", "{}");
  ASSERT_TRUE(store->fleet().lead(first));
  TaskKey key = submit({.run_at = clock.now() + 1ms});
  clock.advance(1ms);
  maintenance.tick();
  EXPECT_EQ(task(key).state(), State::scheduled);
}

TEST(QueueShares, weights_divide_a_claim) {
  QueueShares shares({{"a", 3}, {"b", 1}});
  shares.see("a");
  shares.see("b");
  EXPECT_FALSE(shares.see("c"));
  auto divided = shares.divide(100);
  ASSERT_THAT(divided, SizeIs(2));
  EXPECT_EQ(divided[0].queue, "a");
  EXPECT_EQ(divided[0].max, 75u);
  EXPECT_EQ(divided[1].max, 25u);
}

TEST(QueueShares, each_time_another_queue_comes_first_and_none_gets_nothing) {
  QueueShares shares({{"a", 100}, {"*", 1}});
  shares.see("a");
  EXPECT_TRUE(shares.see("b"));
  EXPECT_FALSE(shares.see("b"));
  EXPECT_EQ(shares.divide(1)[0].queue, "a");
  EXPECT_EQ(shares.divide(1)[0].queue, "b");
  for (const auto& share : shares.divide(1)) EXPECT_EQ(share.max, 1u);
  EXPECT_THAT(shares.names(), ElementsAre("a", "b"));
}

TEST(QueueShares, a_claim_is_divided_among_the_queues_of_which_something_is_wanted) {
  QueueShares shares({{"a", 3}, {"b", 1}, {"c", 1}});
  for (const char* queue : {"a", "b", "c"}) shares.see(queue);
  auto divided = shares.divide(100, [](const std::string& queue) -> size_t {
    return queue == "a" ? 0 : queue == "b" ? 1 : 1000;
  });
  ASSERT_THAT(divided, SizeIs(2));
  EXPECT_EQ(divided[0].queue, "b");
  EXPECT_EQ(divided[0].max, 1u);
  EXPECT_EQ(divided[1].max, 50u);
}

TEST(QueueShares, without_queues_there_is_nothing_to_claim_from) {
  EXPECT_THAT(QueueShares({{"*", 1}}).divide(10), IsEmpty());
}

}  // namespace
}  // namespace opscore
