// How much a runner says it can take, and what it reports.

#include "opscore/worker/conformance/runner_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;

// Of the actor of this name; nothing when it has no limit.
std::optional<size_t> room_of(const Runner& runner, const std::string& name) {
  for (const auto& room : runner.room())
    if (std::find(room.types.begin(), room.types.end(), name) != room.types.end()) return room.max;
  return std::nullopt;
}

TEST_P(RunnerConformance, slots_are_free_until_they_are_taken) {
  start_runner(3);
  EXPECT_EQ(runner_->free(), 3u);
  EXPECT_TRUE(runner_->idle());
  run("gate", 2);
  EXPECT_EQ(runner_->free(), 1u);
  EXPECT_FALSE(runner_->idle());
  run("gate", 2);
  EXPECT_EQ(runner_->free(), 0u);
  gate_.open();
  posted(4);
  EXPECT_TRUE(eventually([&] { return runner_->free() == 3 && runner_->idle(); }));
}

TEST_P(RunnerConformance, an_end_makes_room) {
  start_runner(1);
  const int before = rooms_;
  run("noop");
  posted(1);
  EXPECT_TRUE(eventually([&] { return rooms_ > before; }));
}

TEST_P(RunnerConformance, a_limited_type_has_as_much_room_as_is_left) {
  ActorOptions limited;
  limited.concurrency = 2;
  limited.aliases = {"other_name"};
  registry_.add("limited", std::function<std::string(TaskContext&)>([&](TaskContext& task) {
                  gate_.pass(task.stop());
                  return "null";
                }),
                limited);
  start_runner(4);
  EXPECT_EQ(room_of(*runner_, "limited"), 2u);
  run("limited");
  EXPECT_EQ(room_of(*runner_, "limited"), 1u);
  run("other_name");
  EXPECT_EQ(room_of(*runner_, "limited"), 0u);
  EXPECT_EQ(room_of(*runner_, "other_name"), 0u);
  EXPECT_EQ(room_of(*runner_, "noop"), std::nullopt);
  gate_.open();
  EXPECT_TRUE(eventually([&] { return room_of(*runner_, "limited") == 2; }));
}

TEST_P(RunnerConformance, a_limit_that_is_set_while_running_wins) {
  ActorOptions limited;
  limited.concurrency = 2;
  registry_.add("limited", std::function<std::string(TaskContext&)>([&](TaskContext& task) {
                  gate_.pass(task.stop());
                  return "null";
                }),
                limited);
  start_runner(4);
  run("limited");
  runner_->set_concurrency({{"limited", 4}, {"noop", 1}});
  EXPECT_EQ(room_of(*runner_, "limited"), 3u);
  EXPECT_EQ(room_of(*runner_, "noop"), 1u);
  runner_->set_concurrency({{"limited", kUnlimited}});
  EXPECT_EQ(room_of(*runner_, "limited"), std::nullopt);
  runner_->set_concurrency({});
  EXPECT_EQ(room_of(*runner_, "limited"), 1u);
  gate_.open();
  posted(1);
}

TEST_P(RunnerConformance, room_comes_back_with_what_never_started) {
  ActorOptions limited;
  limited.concurrency = 1;
  registry_.add("limited",
                std::function<std::string(TaskContext&)>([](TaskContext&) { return "null"; }),
                limited);
  start_runner(1);
  run("gate");
  ASSERT_TRUE(gate_.wait_entered(1));
  run("limited");
  EXPECT_EQ(room_of(*runner_, "limited"), 0u);
  EXPECT_EQ(runner_->hand_back_unstarted(0s), 1u);
  EXPECT_EQ(room_of(*runner_, "limited"), 1u);
}

TEST_P(RunnerConformance, appetite_is_at_least_what_is_free) {
  start_runner(3);
  EXPECT_GE(runner_->appetite(0ms), 3u);
  run("gate", 3);
  ASSERT_TRUE(gate_.wait_entered(3));
  EXPECT_EQ(runner_->free(), 0u);
}

TEST_P(RunnerConformance, appetite_grows_with_the_pace) {
  start_runner(2);
  size_t at_first = runner_->appetite(50ms);
  run("noop", 200);  // they take no time at all: the clock stands still
  posted(200);
  ASSERT_TRUE(eventually([&] { return runner_->idle(); }));
  EXPECT_GT(runner_->appetite(50ms), 100 * at_first);
}

TEST_P(RunnerConformance, slow_tasks_are_not_hoarded) {
  registry_.add("slow", std::function<std::string(TaskContext&)>([this](TaskContext&) {
                  clock_.advance(1min);
                  return "null";
                }));
  start_runner(2);
  run("noop", 200);
  posted(200);
  run("slow", 4);
  posted(204);
  ASSERT_TRUE(eventually([&] { return runner_->idle(); }));
  EXPECT_EQ(runner_->appetite(50ms), 2u);
}

TEST_P(RunnerConformance, the_report_says_what_runs_and_what_waits) {
  start_runner(2);
  auto leases = run("gate", 2);
  ASSERT_TRUE(gate_.wait_entered(2));
  clock_.advance(1s);
  run("noop", 3);
  clock_.advance(1s);
  SessionReport report;
  runner_->fill(report);
  EXPECT_EQ(report.slots, 2);
  EXPECT_EQ(report.busy, 2);
  EXPECT_EQ(report.unstarted, 3);
  EXPECT_EQ(report.abandoned, 0);
  EXPECT_EQ(report.oldest_unstarted_at, clock_.now() - 1s);
  ASSERT_EQ(report.running.size(), 2u);
  for (const auto& running : report.running) {
    Lease lease{running.key, running.attempt};
    EXPECT_TRUE(lease == leases[0] || lease == leases[1]);
    EXPECT_TRUE(runner_->holds(lease));
    EXPECT_EQ(running.started_at, clock_.now() - 2s);
  }
  EXPECT_NE(report.running[0].slot, report.running[1].slot);
}

TEST_P(RunnerConformance, an_idle_runner_reports_nothing) {
  start_runner(2);
  run("noop");
  posted(1);
  ASSERT_TRUE(eventually([&] { return runner_->idle(); }));
  SessionReport report;
  runner_->fill(report);
  EXPECT_EQ(report.busy, 0);
  EXPECT_EQ(report.unstarted, 0);
  EXPECT_EQ(report.oldest_unstarted_at, std::nullopt);
  EXPECT_TRUE(report.running.empty());
}

}  // namespace
}  // namespace opscore
