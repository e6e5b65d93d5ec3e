// Timeouts, cancels, drains, lost sessions, and actors that do not stop.

#include <gmock/gmock.h>

#include "opscore/model/error_kind.h"
#include "opscore/worker/conformance/runner_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TaskOptions with_timeout(Duration timeout) {
  TaskOptions options;
  options.timeout = timeout;
  return options;
}

TEST_P(RunnerConformance, a_timeout_stops_the_actor) {
  start_runner();
  run("gate", 1, with_timeout(3s));
  ASSERT_TRUE(gate_.wait_entered(1));
  clock_.advance(3s);
  Finished finished = only_posted();
  EXPECT_EQ(finished.outcome.kind, Outcome::Kind::timed_out);
  EXPECT_EQ(finished.outcome.error.kind, error_kind::kTimeout);
  EXPECT_THAT(finished.outcome.error.message, HasSubstr("3s"));
  EXPECT_EQ(finished.ended_at - finished.started_at, 3s);
}

TEST_P(RunnerConformance, a_deadline_ends_an_attempt_before_its_timeout) {
  start_runner();
  TaskOptions options = with_timeout(1h);
  options.deadline = clock_.now() + 2s;
  run("gate", 1, options);
  ASSERT_TRUE(gate_.wait_entered(1));
  clock_.advance(2s);
  EXPECT_EQ(only_posted().outcome.kind, Outcome::Kind::timed_out);
}

TEST_P(RunnerConformance, a_jump_of_the_wall_clock_times_nothing_out) {
  start_runner();
  run("gate", 1, with_timeout(3s));
  ASSERT_TRUE(gate_.wait_entered(1));
  clock_.jump(24h);
  gate_.open();
  EXPECT_EQ(only_posted().outcome.kind, Outcome::Kind::completed);
}

TEST_P(RunnerConformance, a_cancel_stops_what_runs) {
  start_runner();
  Lease lease = run("gate")[0];
  ASSERT_TRUE(gate_.wait_entered(1));
  runner_->stop(lease, StopReason::cancel);
  Finished finished = only_posted();
  EXPECT_EQ(finished.outcome.kind, Outcome::Kind::stopped);
  EXPECT_EQ(finished.outcome.error.kind, error_kind::kCancelled);
  EXPECT_EQ(finished.outcome.error.detail, "was asked to stop");
}

TEST_P(RunnerConformance, a_cancel_ends_what_waits_for_a_slot) {
  start_runner(1);
  run("gate");
  ASSERT_TRUE(gate_.wait_entered(1));
  Lease waiting = run("noop")[0];
  EXPECT_TRUE(runner_->holds(waiting));
  runner_->stop(waiting, StopReason::cancel);
  Finished finished = only_posted();
  EXPECT_EQ(finished.task.lease(), waiting);
  EXPECT_EQ(finished.outcome.kind, Outcome::Kind::stopped);
  EXPECT_EQ(finished.started_at, TimePoint{});
  EXPECT_FALSE(runner_->holds(waiting));
}

TEST_P(RunnerConformance, completing_beats_a_cancel) {
  registry_.add("stubborn", std::function<std::string(TaskContext&)>([&](TaskContext& task) {
                  gate_.pass(task.stop());
                  return "\"done anyway\"";
                }));
  start_runner();
  Lease lease = run("stubborn")[0];
  ASSERT_TRUE(gate_.wait_entered(1));
  runner_->stop(lease, StopReason::cancel);
  Finished finished = only_posted();
  EXPECT_EQ(finished.outcome.kind, Outcome::Kind::completed);
  EXPECT_EQ(finished.outcome.result, "\"done anyway\"");
}

TEST_P(RunnerConformance, the_first_reason_to_stop_counts) {
  registry_.add("slow_to_stop", std::function<Outcome(TaskContext&)>([&](TaskContext&) {
                  gate_.pass_heedless();
                  return Outcome::fail({"gave_up", "late", {}});
                }));
  start_runner(1);
  Lease lease = run("slow_to_stop")[0];
  ASSERT_TRUE(gate_.wait_entered(1));
  runner_->stop(lease, StopReason::cancel);
  runner_->stop(lease, StopReason::drain);
  gate_.open();
  EXPECT_EQ(only_posted().outcome.kind, Outcome::Kind::stopped);
}

TEST_P(RunnerConformance, the_next_task_of_a_slot_is_not_stopped_with_the_last) {
  bool stop_seen = true;
  registry_.add("look", std::function<std::string(TaskContext&)>([&](TaskContext& task) {
                  stop_seen = task.stop().stop_requested();
                  return "null";
                }));
  start_runner(1);
  Lease lease = run("gate")[0];
  ASSERT_TRUE(gate_.wait_entered(1));
  runner_->stop(lease, StopReason::cancel);
  posted(1);
  run("look");
  EXPECT_EQ(posted(2)[1].outcome.kind, Outcome::Kind::completed);
  EXPECT_FALSE(stop_seen);
}

TEST_P(RunnerConformance, unknown_leases_are_ignored) {
  start_runner(1);
  Lease lease = run("gate")[0];
  ASSERT_TRUE(gate_.wait_entered(1));
  runner_->stop({lease.key, lease.attempt + 1}, StopReason::cancel);
  runner_->stop({TaskKey{lease.key.value + 1}, lease.attempt}, StopReason::cancel);
  gate_.open();
  EXPECT_EQ(only_posted().outcome.kind, Outcome::Kind::completed);
}

TEST_P(RunnerConformance, a_drain_hands_everything_back) {
  start_runner(1);
  run("gate");
  ASSERT_TRUE(gate_.wait_entered(1));
  run("noop", 3);
  runner_->stop_all(StopReason::drain);
  for (const Finished& finished : posted(4)) {
    EXPECT_EQ(finished.outcome.kind, Outcome::Kind::handed_back);
    EXPECT_EQ(finished.outcome.error.kind, error_kind::kHandedBack);
  }
  EXPECT_TRUE(eventually([&] { return runner_->idle(); }));
}

TEST_P(RunnerConformance, a_lost_session_posts_nothing) {
  start_runner(1);
  Lease running = run("gate")[0];
  ASSERT_TRUE(gate_.wait_entered(1));
  Lease waiting = run("noop")[0];
  runner_->stop_all(StopReason::session_lost);
  ASSERT_TRUE(eventually([&] { return runner_->idle(); }));
  EXPECT_FALSE(runner_->holds(running));
  EXPECT_FALSE(runner_->holds(waiting));
  Lease next = run("noop")[0];
  EXPECT_EQ(only_posted().task.lease(), next);
}

TEST_P(RunnerConformance, what_waited_too_long_for_a_slot_is_handed_back) {
  start_runner(1);
  run("gate");
  ASSERT_TRUE(gate_.wait_entered(1));
  run("noop", 2);
  clock_.advance(1500ms);
  Lease young = run("noop")[0];
  clock_.advance(500ms);
  EXPECT_EQ(runner_->hand_back_unstarted(2s), 2u);
  auto all = posted(2);
  ASSERT_EQ(all.size(), 2u);
  for (const Finished& finished : all) {
    EXPECT_EQ(finished.outcome.kind, Outcome::Kind::handed_back);
    EXPECT_EQ(finished.started_at, TimePoint{});
  }
  EXPECT_TRUE(runner_->holds(young));
  EXPECT_EQ(runner_->hand_back_unstarted(0s), 1u);
}

TEST_P(RunnerConformance, an_actor_that_does_not_stop_is_ended_without_its_consent) {
  start_runner(2);
  Lease lease = run("heedless", 1, with_timeout(1s))[0];
  ASSERT_TRUE(gate_.wait_entered(1));
  // The clock moves on until the runner has looked twice: the timeout, then the end of the grace.
  ASSERT_TRUE(eventually([&] {
    clock_.advance(1s);
    return posted_count() == 1;
  }));
  Finished finished = only_posted();
  EXPECT_EQ(finished.task.lease(), lease);
  EXPECT_EQ(finished.outcome.kind, Outcome::Kind::timed_out);
  EXPECT_THAT(finished.outcome.error.detail, HasSubstr("did not heed"));
  EXPECT_TRUE(runner_->idle());

  gate_.open();  // when it returns after all, it is not posted again and every slot is usable
  ASSERT_TRUE(eventually([&] { return runner_->free() == 2; }));
  Lease next = run("noop")[0];
  auto all = posted(2);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1].task.lease(), next);
}

TEST_P(RunnerConformance, an_actor_that_ignores_a_cancel_ends_as_cancelled) {
  start_runner(1);
  Lease lease = run("heedless")[0];
  ASSERT_TRUE(gate_.wait_entered(1));
  runner_->stop(lease, StopReason::cancel);
  clock_.advance(limits::kStopGrace);
  EXPECT_EQ(only_posted().outcome.kind, Outcome::Kind::stopped);
}

}  // namespace
}  // namespace opscore
