#include "opscore/model/decide.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/model/error_kind.h"
#include "opscore/model/limits.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

const TimePoint kNow = from_ms(1'750'000'000'000);
const TaskKey kKey{42};

// Always the same share of the jitter's range, in 0..1.
class FixedRandom final : public Random {
 public:
  explicit FixedRandom(double share) : share_(share) {}
  uint64_t next() override { return static_cast<uint64_t>(share_ * 0x1.0p63) * 2; }

 private:
  double share_;
};

struct DecideTest : testing::Test {
  FixedRandom random{0.5};

  Live running(int charged = 0, int budget = 5) {
    Live live;
    live.state = State::running;
    live.run_at = kNow - 1min;
    live.attempt = charged + 3;
    live.charged = charged;
    live.budget = budget;
    live.session = SessionId{7};
    live.claimed_at = kNow - 2s;
    live.started_at = kNow - 1s;
    return live;
  }
  ClaimedTask claimed(Live live, TaskOptions options = {}) {
    ClaimedTask task;
    task.key = kKey;
    task.type = "t";
    task.queue = "q";
    task.options = std::move(options);
    task.live = live;
    return task;
  }
  Task task_in(State state) {
    Task task;
    task.key = kKey;
    task.max_attempts = 5;
    task.live = running(2);
    task.live.state = state;
    return task;
  }
  Plan finish(Live live, Outcome outcome, TaskOptions options = {}) {
    return decide_finish(claimed(live, std::move(options)), outcome, kNow - 1s, kNow, random);
  }
  Plan lose(Live live, Loss loss, TaskOptions options = {}) {
    return decide_loss(kKey, live, options, loss, "worker h:1 died", kNow, random);
  }
  static Outcome error(bool retryable = true, std::optional<Duration> after = {}) {
    return Outcome::fail({error_kind::kActorError, "no luck", "trace"}, retryable, after);
  }
  static Outcome of(Outcome::Kind kind, ErrorInfo error = {"k", "m", "d"}) {
    Outcome outcome;
    outcome.kind = kind;
    outcome.error = std::move(error);
    return outcome;
  }
  static TaskOptions deadline_in(Duration left) {
    TaskOptions options;
    options.deadline = kNow + left;
    return options;
  }
};

// What every plan that ends an attempt says of it.
void expect_ended(const Plan& plan, AttemptEnd end, bool charged) {
  EXPECT_EQ(plan.key, kKey);
  EXPECT_EQ(plan.expected, State::running);
  EXPECT_EQ(plan.ended, end);
  EXPECT_EQ(plan.charged, charged);
  EXPECT_EQ(plan.worker, SessionId{7});
  EXPECT_EQ(plan.claimed_at, kNow - 2s);
  EXPECT_EQ(plan.at, kNow);
}

// The task is to be run again, `wait` from now, and nobody holds it.
void expect_again(const Plan& plan, Duration wait) {
  EXPECT_EQ(plan.next, wait > 0ms ? State::scheduled : State::pending);
  EXPECT_EQ(plan.live.state, plan.next);
  EXPECT_EQ(plan.live.run_at, kNow + wait);
  EXPECT_EQ(plan.live.session, SessionId{});
  EXPECT_EQ(plan.live.claimed_at, TimePoint{});
  EXPECT_EQ(plan.live.started_at, TimePoint{});
  EXPECT_FALSE(plan.live.cancel_requested);
}

TEST_F(DecideTest, ASubmittedTaskStartsWhereItsTimeSays) {
  TaskSpec spec;
  spec.max_attempts = 3;
  Live live = decide_submit(spec, kNow);
  EXPECT_EQ(live.state, State::pending);
  EXPECT_EQ(live.run_at, kNow);
  EXPECT_EQ(live.budget, 3);
  EXPECT_EQ(live.attempt, 0);
  EXPECT_EQ(live.charged, 0);
  spec.run_at = kNow;
  EXPECT_EQ(decide_submit(spec, kNow).state, State::pending);
  spec.run_at = kNow - 1h;
  EXPECT_EQ(decide_submit(spec, kNow).state, State::pending);
  EXPECT_EQ(decide_submit(spec, kNow).run_at, kNow - 1h);
  spec.run_at = kNow + 1ms;
  EXPECT_EQ(decide_submit(spec, kNow).state, State::scheduled);
  spec.waiting = true;
  EXPECT_EQ(decide_submit(spec, kNow).state, State::waiting);
}

TEST_F(DecideTest, AClaimNumbersTheAttemptAndChargesNothing) {
  for (State state : {State::pending, State::scheduled}) {
    Live live;
    live.state = state;
    live.attempt = 4;
    live.charged = 2;
    live.started_at = kNow - 1h;
    Live next = decide_claim(live, SessionId{9}, kNow);
    EXPECT_EQ(next.state, State::running);
    EXPECT_EQ(next.attempt, 5);
    EXPECT_EQ(next.charged, 2);
    EXPECT_EQ(next.session, SessionId{9});
    EXPECT_EQ(next.claimed_at, kNow);
    EXPECT_EQ(next.started_at, TimePoint{});
  }
}

TEST_F(DecideTest, CompletingIsChargedAndBeatsACancel) {
  Plan plan = finish(running(1), Outcome::complete("[1]"));
  expect_ended(plan, AttemptEnd::completed, true);
  EXPECT_EQ(plan.next, State::completed);
  EXPECT_EQ(plan.result, "[1]");
  EXPECT_EQ(plan.live.charged, 2);
  EXPECT_EQ(plan.started_at, kNow - 1s);
  EXPECT_FALSE(plan.yields_to_cancel);
}

TEST_F(DecideTest, AnErrorIsChargedAndTriedAgainWithBackoff) {
  Plan plan = finish(running(0), error());
  expect_ended(plan, AttemptEnd::error, true);
  EXPECT_EQ(plan.live.charged, 1);
  EXPECT_EQ(plan.attempt, 3);
  EXPECT_EQ(plan.live.attempt, 3);
  expect_again(plan, 500ms);  // half of min * 2^0
  EXPECT_EQ(plan.error.message, "no luck");
  EXPECT_TRUE(plan.yields_to_cancel);
  expect_again(finish(running(1), error()), 1s);
  expect_again(finish(running(3), error()), 4s);
}

TEST_F(DecideTest, TheLastChargedErrorFails) {
  Plan plan = finish(running(4, 5), error());
  expect_ended(plan, AttemptEnd::error, true);
  EXPECT_EQ(plan.next, State::failed);
  EXPECT_EQ(plan.live.charged, 5);
  EXPECT_EQ(plan.error, (ErrorInfo{error_kind::kActorError, "no luck", "trace"}));
  EXPECT_TRUE(plan.yields_to_cancel);
  EXPECT_EQ(finish(running(0, 1), error()).next, State::failed);
}

TEST_F(DecideTest, AnUnlimitedBudgetNeverEnds) {
  Plan plan = finish(running(100'000, kUnlimitedAttempts), error());
  expect_again(plan, 5min);  // half of the bound
  EXPECT_TRUE(plan.charged);
}

TEST_F(DecideTest, AFatalErrorFailsAtOnce) {
  Plan plan = finish(running(0), error(false));
  expect_ended(plan, AttemptEnd::fatal, true);
  EXPECT_EQ(plan.next, State::failed);
  EXPECT_EQ(plan.live.charged, 1);
  EXPECT_EQ(plan.error.kind, error_kind::kActorError);
}

TEST_F(DecideTest, WhatTheActorWasNotAskedIsNotCharged) {
  Plan plan = finish(running(0), Outcome::refuse({error_kind::kInvalidInput, "bad", {}}));
  expect_ended(plan, AttemptEnd::fatal, false);
  EXPECT_EQ(plan.next, State::failed);
  EXPECT_EQ(plan.live.charged, 0);
}

TEST_F(DecideTest, RetryAfterWinsOverTheBackoff) {
  TaskOptions options;
  options.retry = RetryPolicy{1h, 2h, 2, 1, 1};
  expect_again(finish(running(0), error(true, 7s), options), 7s);
  expect_again(finish(running(0), error(true, 0s), options), 0s);
  expect_again(finish(running(0), error(), options), 1h);
  EXPECT_EQ(finish(running(4), error(true, 7s)).next, State::failed) << "but not over the budget";
}

TEST_F(DecideTest, ARetryThatWouldMissTheDeadlineFailsNow) {
  Plan plan = finish(running(0), error(true, 10s), deadline_in(10s));
  EXPECT_EQ(plan.next, State::failed);
  EXPECT_EQ(plan.error.kind, error_kind::kDeadline);
  EXPECT_THAT(plan.error.message, HasSubstr("no luck"));
  EXPECT_EQ(plan.error.detail, "trace");
  EXPECT_TRUE(plan.charged);
  expect_again(finish(running(0), error(true, 10s), deadline_in(10001ms)), 10s);
}

TEST_F(DecideTest, ATimeoutIsChargedAndTriedAgain) {
  Plan plan = finish(running(0), of(Outcome::Kind::timed_out));
  expect_ended(plan, AttemptEnd::timeout, true);
  expect_again(plan, 500ms);
  EXPECT_EQ(finish(running(4), of(Outcome::Kind::timed_out)).next, State::failed);
}

TEST_F(DecideTest, ATimeoutAtTheDeadlineIsTheDeadline) {
  for (Duration left : {0ms, Duration(-1)}) {
    Plan plan = finish(running(0), of(Outcome::Kind::timed_out), deadline_in(left));
    expect_ended(plan, AttemptEnd::timeout, true);
    EXPECT_EQ(plan.next, State::failed);
    EXPECT_EQ(plan.error.kind, error_kind::kDeadline);
  }
}

TEST_F(DecideTest, ASnoozeIsNotCharged) {
  Plan plan = finish(running(1), Outcome::snooze(45s, "quota"));
  expect_ended(plan, AttemptEnd::snoozed, false);
  EXPECT_EQ(plan.live.charged, 1);
  EXPECT_EQ(plan.live.snoozes, 1);
  expect_again(plan, 45s);
  EXPECT_TRUE(plan.yields_to_cancel);
  // Never at once: an actor that snoozes for nothing must not spin.
  expect_again(finish(running(1), Outcome::snooze(0s)), 1ms);
  expect_again(finish(running(1), Outcome::snooze(-5s)), 1ms);
  // Not even the last attempt's budget is touched.
  expect_again(finish(running(4, 5), Outcome::snooze(1s)), 1s);
}

TEST_F(DecideTest, AHundredSnoozesAreEnough) {
  Live live = running();
  live.snoozes = limits::kSnoozes - 1;
  expect_again(finish(live, Outcome::snooze(1s)), 1s);
  live.snoozes = limits::kSnoozes;
  Plan plan = finish(live, Outcome::snooze(1s));
  EXPECT_EQ(plan.next, State::failed);
  EXPECT_EQ(plan.error.kind, error_kind::kTooManySnoozes);
  EXPECT_FALSE(plan.charged);
}

TEST_F(DecideTest, ASnoozePastTheDeadlineFails) {
  Plan plan = finish(running(), Outcome::snooze(10s, "quota"), deadline_in(10s));
  EXPECT_EQ(plan.next, State::failed);
  EXPECT_EQ(plan.error.kind, error_kind::kDeadline);
  EXPECT_EQ(plan.error.detail, "quota");
  expect_again(finish(running(), Outcome::snooze(9s), deadline_in(10s)), 9s);
}

TEST_F(DecideTest, AHandBackIsFreeAndImmediate) {
  Plan plan = finish(running(4, 5), of(Outcome::Kind::handed_back));
  expect_ended(plan, AttemptEnd::handed_back, false);
  expect_again(plan, 0ms);
  EXPECT_EQ(plan.live.charged, 4);
  EXPECT_EQ(plan.live.losses, 0);
  EXPECT_TRUE(plan.yields_to_cancel);
}

TEST_F(DecideTest, AStoppedAttemptIsCancelledAndNotCharged) {
  Plan plan = finish(running(1), of(Outcome::Kind::stopped, {error_kind::kCancelled, "by a", ""}));
  expect_ended(plan, AttemptEnd::cancelled, false);
  EXPECT_EQ(plan.next, State::cancelled);
  EXPECT_EQ(plan.error.kind, error_kind::kCancelled);
  EXPECT_EQ(plan.live.charged, 1);
}

TEST_F(DecideTest, ThreeLossesAreFreeThenTheyAreCharged) {
  for (bool by_slot : {false, true}) {
    for (int losses = 0; losses < limits::kLosses; ++losses) {
      Live live = running(4, 5);
      live.losses = losses;
      Plan plan = by_slot ? finish(live, of(Outcome::Kind::lost)) : lose(live, Loss::host);
      expect_ended(plan, AttemptEnd::lost, false);
      EXPECT_EQ(plan.live.charged, 4);
      EXPECT_EQ(plan.live.losses, losses + 1);
      EXPECT_FALSE(plan.live.suspect);
      expect_again(plan, 0ms);
    }
    Live live = running(0, 5);
    live.losses = limits::kLosses;
    Plan charged = by_slot ? finish(live, of(Outcome::Kind::lost)) : lose(live, Loss::host);
    expect_ended(charged, AttemptEnd::lost, true);
    expect_again(charged, 500ms);
    live.charged = 4;
    Plan last = by_slot ? finish(live, of(Outcome::Kind::lost)) : lose(live, Loss::host);
    EXPECT_EQ(last.next, State::failed);
    EXPECT_EQ(last.live.charged, 5);
  }
}

TEST_F(DecideTest, ALossSaysWhoWasLost) {
  Plan plan = lose(running(), Loss::host);
  EXPECT_EQ(plan.error.kind, error_kind::kWorkerLost);
  EXPECT_EQ(plan.error.message, "worker h:1 died");
}

TEST_F(DecideTest, WhatWasNotEnteredIsHandedBack) {
  Live live = running(4, 5);
  live.losses = limits::kLosses;
  Plan plan = lose(live, Loss::not_entered);
  expect_ended(plan, AttemptEnd::handed_back, false);
  expect_again(plan, 0ms);
  EXPECT_EQ(plan.live.losses, limits::kLosses);
  EXPECT_EQ(plan.live.deaths, 0);
  EXPECT_FALSE(plan.live.suspect);
  EXPECT_EQ(plan.started_at, TimePoint{}) << "whatever the row said";
}

TEST_F(DecideTest, ACrashIsChargedAndMakesASuspect) {
  Plan plan = lose(running(0), Loss::crash);
  expect_ended(plan, AttemptEnd::crashed, true);
  EXPECT_EQ(plan.live.deaths, 1);
  EXPECT_TRUE(plan.live.suspect);
  EXPECT_EQ(plan.live.losses, 0);
  EXPECT_EQ(plan.error.kind, error_kind::kWorkerCrashed);
  expect_again(plan, 500ms);
  ASSERT_EQ(plan.events.size(), 1u);
  EXPECT_EQ(plan.events[0].kind, "suspect");
  EXPECT_EQ(plan.events[0].attempt, 3);
}

TEST_F(DecideTest, TheThirdDeathIsPoison) {
  for (int budget : {5, kUnlimitedAttempts}) {
    Live live = running(1, budget);
    live.deaths = 1;
    EXPECT_EQ(lose(live, Loss::crash).next, State::scheduled);
    live.deaths = 2;
    Plan plan = lose(live, Loss::crash);
    expect_ended(plan, AttemptEnd::crashed, true);
    EXPECT_EQ(plan.next, State::failed);
    EXPECT_EQ(plan.error.kind, error_kind::kPoison);
    EXPECT_THAT(plan.error.message, HasSubstr("died 3 times"));
    EXPECT_THAT(plan.error.message, HasSubstr("worker h:1 died"));
    ASSERT_EQ(plan.events.size(), 1u);
    EXPECT_EQ(plan.events[0].kind, "quarantined");
  }
}

TEST_F(DecideTest, ACrashWithoutBudgetFailsAsACrash) {
  Plan plan = lose(running(4, 5), Loss::crash);
  EXPECT_EQ(plan.next, State::failed);
  EXPECT_EQ(plan.error.kind, error_kind::kWorkerCrashed);
}

TEST_F(DecideTest, ABystanderIsSuspectButNotCharged) {
  Live live = running(4, 5);
  live.deaths = 2;
  Plan plan = lose(live, Loss::bystander);
  expect_ended(plan, AttemptEnd::lost, false);
  EXPECT_EQ(plan.live.deaths, 2) << "that death is not held against it";
  EXPECT_TRUE(plan.live.suspect);
  expect_again(plan, 0ms);
}

TEST_F(DecideTest, EveryLossYieldsToACancel) {
  for (Loss loss : {Loss::not_entered, Loss::host, Loss::crash, Loss::bystander})
    EXPECT_TRUE(lose(running(), loss).yields_to_cancel);
  for (auto kind : {Outcome::Kind::failed, Outcome::Kind::snoozed, Outcome::Kind::timed_out,
                    Outcome::Kind::stopped, Outcome::Kind::handed_back, Outcome::Kind::lost})
    EXPECT_TRUE(finish(running(), of(kind)).yields_to_cancel);
}

TEST_F(DecideTest, AYieldingPlanEndsCancelledAndKeepsWhatHappened) {
  Plan plan = yield_to_cancel(finish(running(0), error()));
  EXPECT_EQ(plan.next, State::cancelled);
  EXPECT_EQ(plan.ended, AttemptEnd::error);
  EXPECT_TRUE(plan.charged);
  EXPECT_EQ(plan.error.kind, error_kind::kCancelled);
  EXPECT_THAT(plan.error.detail, HasSubstr("no luck"));
  EXPECT_THAT(plan.error.detail, HasSubstr("trace"));
  Plan stopped = finish(running(), of(Outcome::Kind::stopped, {"cancelled", "by a person", ""}));
  EXPECT_EQ(yield_to_cancel(stopped).error.message, "by a person");
}

TEST_F(DecideTest, CancelEndsWhatIsNotRunningAndAsksWhatIs) {
  for (State state : {State::scheduled, State::waiting, State::pending}) {
    auto plan = decide_cancel(task_in(state), kNow);
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->expected, state);
    EXPECT_EQ(plan->next, State::cancelled);
    EXPECT_FALSE(plan->ended);
    EXPECT_EQ(plan->error.kind, error_kind::kCancelled);
  }
  auto asked = decide_cancel(task_in(State::running), kNow);
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->next, State::running);
  EXPECT_TRUE(asked->live.cancel_requested);
  EXPECT_EQ(asked->live.session, SessionId{7}) << "it goes on running there";
  EXPECT_FALSE(asked->ended);
  ASSERT_EQ(asked->events.size(), 1u);
  Task again = task_in(State::running);
  again.live.cancel_requested = true;
  EXPECT_TRUE(decide_cancel(again, kNow)->events.empty()) << "asking twice is said once";
}

TEST_F(DecideTest, CancelOfAFinishedTaskIsAConflict) {
  for (State state : {State::completed, State::failed, State::cancelled}) {
    auto plan = decide_cancel(task_in(state), kNow);
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().code(), Errc::conflict);
    EXPECT_THAT(plan.error().message(), HasSubstr(std::string(to_string(state))));
  }
}

TEST_F(DecideTest, AManualRetryKeepsNumberingAndAddsAFreshBudget) {
  for (State state : {State::completed, State::failed, State::cancelled}) {
    Task task = task_in(state);
    task.live.charged = 5;
    task.live.snoozes = task.live.losses = task.live.deaths = 2;
    task.live.suspect = task.live.cancel_requested = true;
    auto plan = decide_retry(task, std::nullopt, kNow);
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->expected, state);
    expect_again(*plan, 0ms);
    EXPECT_EQ(plan->live.attempt, task.live.attempt);
    EXPECT_EQ(plan->live.charged, 5);
    EXPECT_EQ(plan->live.budget, 10);
    EXPECT_EQ(plan->live.snoozes + plan->live.losses + plan->live.deaths, 0);
    EXPECT_FALSE(plan->live.suspect);
    EXPECT_FALSE(plan->ended);
    EXPECT_EQ(plan->live.edits, task.live.edits);
    EXPECT_FALSE(plan->edited_input);
    ASSERT_EQ(plan->events.size(), 2u) << "how it had ended, and the retry";
    EXPECT_EQ(plan->events[0].kind, to_string(state));
    EXPECT_EQ(plan->events[1].kind, "retried");
  }
  Task unlimited = task_in(State::cancelled);
  unlimited.max_attempts = kUnlimitedAttempts;
  EXPECT_EQ(decide_retry(unlimited, {}, kNow)->live.budget, kUnlimitedAttempts);
}

TEST_F(DecideTest, AManualRetryMayEditTheInput) {
  Task task = task_in(State::failed);
  task.live.edits = 1;
  auto plan = decide_retry(task, "[2]", kNow);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->edited_input, "[2]");
  EXPECT_EQ(plan->live.edits, 2);
}

TEST_F(DecideTest, RetryOfAnUnfinishedTaskIsAConflict) {
  for (State state : {State::scheduled, State::waiting, State::pending, State::running}) {
    auto plan = decide_retry(task_in(state), {}, kNow);
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().code(), Errc::conflict);
    EXPECT_THAT(plan.error().message(), HasSubstr(std::string(to_string(state))));
  }
}

TEST_F(DecideTest, OnlyARunningTaskCannotBeRemoved) {
  for (int i = 0; i < kStateCount; ++i) {
    auto state = static_cast<State>(i);
    auto removed = decide_remove(task_in(state));
    EXPECT_EQ(removed.has_value(), state != State::running) << to_string(state);
    if (!removed) {
      EXPECT_EQ(removed.error().code(), Errc::conflict);
    }
  }
}

TEST_F(DecideTest, PromotionChangesTheStateOnly) {
  Live live = task_in(State::scheduled).live;
  Plan plan = decide_promote(kKey, live, kNow);
  EXPECT_EQ(plan.expected, State::scheduled);
  EXPECT_EQ(plan.next, State::pending);
  Live expected = live;
  expected.state = State::pending;
  EXPECT_EQ(plan.live, expected);
}

TEST_F(DecideTest, AnExpiredTaskFailsWithItsDeadline) {
  for (State state : {State::scheduled, State::waiting, State::pending}) {
    TaskOptions options;
    options.deadline = kNow - 1s;
    Plan plan = decide_expire(kKey, task_in(state).live, options, kNow);
    EXPECT_EQ(plan.expected, state);
    EXPECT_EQ(plan.next, State::failed);
    EXPECT_EQ(plan.error.kind, error_kind::kDeadline);
    EXPECT_THAT(plan.error.message, HasSubstr(to_rfc3339(kNow - 1s)));
    EXPECT_FALSE(plan.ended);
    EXPECT_FALSE(plan.charged);
  }
}

TEST_F(DecideTest, NoticesBecomeEventsOfTheAttempt) {
  Outcome outcome = Outcome::complete("1");
  outcome.notices = {{"not_sandboxed", "{}"}};
  Plan plan = finish(running(1), outcome);
  ASSERT_EQ(plan.events.size(), 1U);
  EXPECT_EQ(plan.events[0].kind, "not_sandboxed");
  EXPECT_EQ(plan.events[0].data, "{}");
  EXPECT_EQ(plan.events[0].attempt, plan.attempt);
}

}  // namespace
}  // namespace opscore
