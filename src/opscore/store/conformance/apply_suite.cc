#include <gmock/gmock.h>

#include "opscore/model/error_kind.h"
#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const ErrorInfo kNo{"actor_error", "no", "a traceback"};

TEST_P(StoreApply, ACompletedTaskKeepsItsResultAndAttempt) {
  TaskKey key = insert(spec());
  clock_.advance(Duration(10));
  ClaimedTask claimed = claim_one();
  TimePoint claimed_at = clock_.now();
  clock_.advance(Duration(10));
  TimePoint started_at = clock_.now();
  clock_.advance(Duration(10));
  Plan plan = decide_finish(claimed, Outcome::complete(R"({"r":  1.50})"), started_at, clock_.now(),
                            random_);
  EXPECT_EQ(apply(plan), Applied::applied);
  Task done = task(key);
  EXPECT_EQ(done.state(), State::completed);
  EXPECT_EQ(done.result, R"({"r":  1.50})");
  EXPECT_EQ(done.error, ErrorInfo{});
  EXPECT_EQ(done.live.attempt, 1);
  EXPECT_EQ(done.live.charged, 1);
  EXPECT_EQ(done.worker, session_);
  EXPECT_EQ(done.started_at, started_at);
  EXPECT_EQ(done.finished_at, clock_.now());
  EXPECT_EQ(done.updated_at, clock_.now());
  auto attempts = store_->reader().attempts(key);
  ASSERT_EQ(attempts.size(), 1u);
  EXPECT_EQ(attempts[0].number, 1);
  EXPECT_EQ(attempts[0].end, AttemptEnd::completed);
  EXPECT_TRUE(attempts[0].charged);
  EXPECT_EQ(attempts[0].worker, session_);
  EXPECT_EQ(attempts[0].claimed_at, claimed_at);
  EXPECT_EQ(attempts[0].started_at, started_at);
  EXPECT_EQ(attempts[0].ended_at, clock_.now());
}

TEST_P(StoreApply, AFailedAttemptIsKeptAndTheTaskRunsAgainLater) {
  TaskKey key = insert(spec());
  ClaimedTask first = claim_one();
  Plan plan = plan_finish(first, Outcome::fail(kNo, true, Duration(500)));
  EXPECT_EQ(apply(plan), Applied::applied);
  Task retrying = task(key);
  EXPECT_EQ(retrying.live, plan.live);
  EXPECT_EQ(retrying.state(), State::scheduled);
  EXPECT_EQ(retrying.error, kNo);
  EXPECT_EQ(retrying.worker, session_);
  EXPECT_FALSE(retrying.finished_at);
  EXPECT_THAT(claim(), IsEmpty());
  clock_.advance(Duration(500));
  ClaimedTask second = claim_one();
  EXPECT_EQ(second.live.charged, 1);
  EXPECT_EQ(finish(second, Outcome::complete("2")), Applied::applied);
  auto attempts = store_->reader().attempts(key);
  ASSERT_EQ(attempts.size(), 2u);
  EXPECT_EQ(attempts[0].end, AttemptEnd::error);
  EXPECT_EQ(attempts[0].error, kNo);
  EXPECT_EQ(attempts[1].number, 2);
  EXPECT_EQ(attempts[1].end, AttemptEnd::completed);
  EXPECT_EQ(task(key).error, ErrorInfo{});
}

TEST_P(StoreApply, EveryOutcomeLeavesTheRowThatWasDecided) {
  std::vector<Outcome> outcomes{Outcome::fail(kNo),
                                Outcome::fail(kNo, false),
                                Outcome::snooze(Duration(2000), "later"),
                                Outcome{},
                                Outcome{},
                                Outcome{},
                                Outcome{}};
  outcomes[3].kind = Outcome::Kind::timed_out;
  outcomes[4].kind = Outcome::Kind::handed_back;
  outcomes[5].kind = Outcome::Kind::lost;
  outcomes[6].kind = Outcome::Kind::stopped;
  for (size_t i = 3; i < outcomes.size(); ++i) outcomes[i].error = kNo;
  for (const Outcome& outcome : outcomes) {
    TaskKey key = insert(spec());
    ClaimedTask claimed = store_->tasks().claim(request()).tasks.at(0);
    ASSERT_EQ(claimed.key, key);
    Plan plan = plan_finish(claimed, outcome);
    EXPECT_EQ(apply(plan), Applied::applied);
    Task after = task(key);
    SCOPED_TRACE(std::string(to_string(after.state())));
    EXPECT_EQ(after.state(), plan.next);
    EXPECT_EQ(after.error, plan.error);
    EXPECT_EQ(after.live.charged, plan.live.charged);
    if (is_terminal(plan.next)) {
      EXPECT_EQ(after.finished_at, plan.at);
    } else {
      EXPECT_EQ(after.live, plan.live);
    }
    auto attempts = store_->reader().attempts(key);
    ASSERT_EQ(attempts.size(), 1u);
    EXPECT_EQ(attempts[0].end, plan.ended);
    EXPECT_EQ(attempts[0].charged, plan.charged);
    EXPECT_EQ(attempts[0].error, plan.error);
    EXPECT_EQ(attempts[0].ended_at, plan.at);
    store_->tasks().remove(std::vector{key});
  }
}

TEST_P(StoreApply, TheLastChargedAttemptFailsTheTask) {
  TaskSpec twice = spec();
  twice.max_attempts = 2;
  twice.options.retry = retry_at_once();
  TaskKey key = insert(twice);
  finish(claim_one(), Outcome::fail({"actor_error", "first", ""}));
  EXPECT_EQ(state(key), State::pending);
  finish(claim_one(), Outcome::fail({"actor_error", "second", ""}));
  EXPECT_EQ(state(key), State::failed);
  EXPECT_EQ(task(key).error.message, "second");
  EXPECT_EQ(task(key).live.charged, 2);
  EXPECT_EQ(store_->reader().attempts(key).size(), 2u);
  EXPECT_THAT(claim(), IsEmpty());
}

TEST_P(StoreApply, AnAttemptThatNeverStartedHasNoStart) {
  TaskKey key = insert(spec());
  Outcome back;
  back.kind = Outcome::Kind::handed_back;
  Plan plan = decide_finish(claim_one(), back, TimePoint{}, clock_.now(), random_);
  EXPECT_EQ(apply(plan), Applied::applied);
  EXPECT_FALSE(store_->reader().attempts(key).at(0).started_at);
  EXPECT_FALSE(task(key).started_at);
}

TEST_P(StoreApply, TheSameFinishTwiceIsOnRecord) {
  insert(spec());
  ClaimedTask claimed = claim_one();
  Plan plan = plan_finish(claimed, Outcome::complete("1"));
  EXPECT_EQ(apply(plan), Applied::applied);
  EXPECT_EQ(apply(plan), Applied::already_applied);
  EXPECT_EQ(store_->reader().attempts(claimed.key).size(), 1u);
}

TEST_P(StoreApply, ARetriedAttemptIsOnRecordToo) {
  TaskSpec stubborn = spec();
  stubborn.options.retry = retry_at_once();
  TaskKey key = insert(stubborn);
  Plan plan = plan_finish(claim_one(), Outcome::fail(kNo));
  EXPECT_EQ(apply(plan), Applied::applied);
  EXPECT_EQ(apply(plan), Applied::already_applied);
  ClaimedTask second = claim_one();
  EXPECT_EQ(apply(plan), Applied::already_applied);
  EXPECT_EQ(state(key), State::running);
  finish(second, Outcome::complete("1"));
  EXPECT_EQ(apply(plan), Applied::already_applied);
  EXPECT_EQ(state(key), State::completed);
  EXPECT_EQ(store_->reader().attempts(key).size(), 2u);
}

TEST_P(StoreApply, ALateWorkerCannotOverwriteANewerAttempt) {
  TaskKey key = insert(spec());
  ClaimedTask late = claim_one();
  store_->tasks().rescue(lost_session(session_, LostSession::Cause::gone));
  EXPECT_EQ(finish(late, Outcome::complete(R"("late")")), Applied::lease_lost);
  EXPECT_EQ(state(key), State::pending);
  session_ = store_->fleet().open_session("host:2", "{}");
  ClaimedTask newer = claim_one();
  EXPECT_EQ(finish(late, Outcome::complete(R"("late")")), Applied::lease_lost);
  EXPECT_EQ(finish(newer, Outcome::complete(R"("newer")")), Applied::applied);
  EXPECT_EQ(finish(late, Outcome::complete(R"("late")")), Applied::lease_lost);
  EXPECT_EQ(task(key).result, R"("newer")");
}

TEST_P(StoreApply, NothingHappensToATaskThatIsGone) {
  insert(spec());
  ClaimedTask claimed = claim_one();
  finish(claimed, Outcome::complete("1"));
  Plan again = decide_retry(task(claimed.key), {}, clock_.now()).value();
  store_->tasks().remove(std::vector{claimed.key});
  EXPECT_EQ(apply(again), Applied::lease_lost);
  EXPECT_EQ(finish(claimed, Outcome::complete("1")), Applied::lease_lost);
  EXPECT_FALSE(store_->reader().find(claimed.key));
}

TEST_P(StoreApply, PlansOfABatchDoNotDisturbEachOther) {
  insert_many(3, spec());
  auto tasks = claim();
  Plan gone = plan_finish(tasks[1], Outcome::complete("1"));
  gone.attempt = 99;
  auto results = store_->tasks().apply({plan_finish(tasks[0], Outcome::complete("0")), gone,
                                        plan_finish(tasks[2], Outcome::fail(kNo)),
                                        plan_finish(tasks[0], Outcome::complete("0"))});
  EXPECT_THAT(results, ElementsAre(Applied::applied, Applied::lease_lost, Applied::applied,
                                   Applied::already_applied));
  EXPECT_EQ(state(tasks[0].key), State::completed);
  EXPECT_EQ(state(tasks[1].key), State::running);
  EXPECT_TRUE(store_->tasks().apply({}).empty());
}

TEST_P(StoreApply, CancelEndsWhatDoesNotRunAtOnce) {
  TaskSpec later = spec(), waiting = spec();
  later.run_at = clock_.now() + Duration(1000);
  waiting.waiting = true;
  for (TaskKey key : {insert(spec()), insert(later), insert(waiting)}) {
    EXPECT_EQ(cancel(key), Applied::applied);
    Task cancelled = task(key);
    EXPECT_EQ(cancelled.state(), State::cancelled);
    EXPECT_EQ(cancelled.error.kind, error_kind::kCancelled);
    EXPECT_EQ(cancelled.finished_at, clock_.now());
    EXPECT_FALSE(cancelled.worker);
    EXPECT_THAT(store_->reader().attempts(key), IsEmpty());
  }
  clock_.advance(Duration(2000));
  EXPECT_THAT(claim(), IsEmpty());
  EXPECT_EQ(store_->tasks().promote(10).tasks, 0u);
}

TEST_P(StoreApply, CancelBetweenTwoAttemptsKeepsTheHistory) {
  TaskKey key = insert(spec());
  finish(claim_one(), Outcome::fail(kNo, true, Duration(1000)));
  EXPECT_EQ(cancel(key), Applied::applied);
  EXPECT_EQ(task(key).error.kind, error_kind::kCancelled);
  auto attempts = store_->reader().attempts(key);
  ASSERT_EQ(attempts.size(), 1u);
  EXPECT_EQ(attempts[0].error, kNo);
}

TEST_P(StoreApply, CancellingWhatRunsAsks) {
  TaskKey key = insert(spec());
  ClaimedTask claimed = claim_one();
  EXPECT_EQ(cancel(key), Applied::applied);
  EXPECT_EQ(state(key), State::running);
  EXPECT_TRUE(task(key).live.cancel_requested);
  auto events = store_->reader().events(key);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].kind, "cancel_requested");
  EXPECT_EQ(events[0].number, 1);
  EXPECT_EQ(events[0].attempt, 1);
  EXPECT_EQ(events[0].at, clock_.now());
  EXPECT_EQ(cancel(key), Applied::applied);
  EXPECT_EQ(store_->reader().events(key).size(), 1u);
}

TEST_P(StoreApply, CompletingBeatsACancel) {
  TaskKey key = insert(spec());
  ClaimedTask claimed = claim_one();
  cancel(key);
  EXPECT_EQ(finish(claimed, Outcome::complete("1")), Applied::applied);
  EXPECT_EQ(state(key), State::completed);
}

TEST_P(StoreApply, AnythingElseAfterACancelEndsCancelled) {
  for (auto kind : {Outcome::Kind::failed, Outcome::Kind::snoozed, Outcome::Kind::timed_out,
                    Outcome::Kind::stopped, Outcome::Kind::handed_back, Outcome::Kind::lost}) {
    TaskKey key = insert(spec());
    ClaimedTask claimed = claim_one();
    cancel(key);
    Outcome outcome = Outcome::fail(kNo);
    outcome.kind = kind;
    if (kind == Outcome::Kind::stopped) outcome.error = {error_kind::kCancelled, "stopped", ""};
    Plan plan = plan_finish(claimed, outcome);
    EXPECT_EQ(apply(plan), Applied::applied);
    Task ended = task(key);
    EXPECT_EQ(ended.state(), State::cancelled);
    EXPECT_EQ(ended.error, yield_to_cancel(plan).error);
    EXPECT_EQ(ended.error.kind, error_kind::kCancelled);
    EXPECT_EQ(ended.finished_at, plan.at);
    auto attempts = store_->reader().attempts(key);
    ASSERT_EQ(attempts.size(), 1u);
    EXPECT_EQ(attempts[0].end, plan.ended);
    EXPECT_EQ(apply(plan), Applied::already_applied);
  }
}

TEST_P(StoreApply, ACancelDecidedBeforeTheClaimLosesToIt) {
  TaskKey key = insert(spec());
  Plan plan = decide_cancel(task(key), clock_.now()).value();
  claim_one();
  EXPECT_EQ(apply(plan), Applied::lease_lost);
  EXPECT_EQ(state(key), State::running);
}

TEST_P(StoreApply, AnAskedCancelDoesNotTouchTheStart) {
  TaskKey key = insert(spec());
  ClaimedTask claimed = claim_one();
  Plan plan = decide_cancel(task(key), clock_.now()).value();
  clock_.advance(Duration(5));
  SessionReport report;
  report.running = {{key, 1, 0, clock_.now()}};
  store_->fleet().renew(session_, report);
  EXPECT_EQ(apply(plan), Applied::applied);
  EXPECT_EQ(task(key).started_at, clock_.now());
}

TEST_P(StoreApply, AManualRetryRunsTheTaskAgain) {
  TaskKey key = insert(spec());
  finish(claim_one(), Outcome::fail(kNo, false));
  clock_.advance(Duration(1000));
  Plan plan = decide_retry(task(key), {}, clock_.now()).value();
  EXPECT_EQ(apply(plan), Applied::applied);
  Task again = task(key);
  EXPECT_EQ(again.live, plan.live);
  EXPECT_EQ(again.state(), State::pending);
  EXPECT_EQ(again.live.attempt, 1);
  EXPECT_EQ(again.live.budget, 1 + 5);
  EXPECT_EQ(again.error, kNo);
  EXPECT_FALSE(again.finished_at);
  EXPECT_EQ(store_->reader().attempts(key).size(), 1u);
  EXPECT_EQ(store_->reader().events(key).at(0).kind, "failed");
  EXPECT_EQ(store_->reader().events(key).at(1).kind, "retried");
  ClaimedTask second = claim_one();
  EXPECT_EQ(second.live.attempt, 2);
  EXPECT_EQ(finish(second, Outcome::complete("2")), Applied::applied);
  auto attempts = store_->reader().attempts(key);
  ASSERT_EQ(attempts.size(), 2u);
  EXPECT_EQ(attempts[0].end, AttemptEnd::fatal);
  EXPECT_EQ(attempts[0].error, kNo);
  EXPECT_EQ(attempts[1].end, AttemptEnd::completed);
  EXPECT_EQ(task(key).live.charged, 2);
}

TEST_P(StoreApply, ARetryAppliesOnce) {
  TaskKey key = complete_one(spec());
  Plan plan = decide_retry(task(key), {}, clock_.now()).value();
  EXPECT_EQ(apply(plan), Applied::applied);
  EXPECT_EQ(apply(plan), Applied::lease_lost);
  EXPECT_EQ(task(key).result, "");
  EXPECT_EQ(claim().size(), 1u);
}

TEST_P(StoreApply, ARetryOfWhatNeverRanAddsNoAttempt) {
  TaskKey key = insert(spec());
  cancel(key);
  EXPECT_EQ(retry(key), Applied::applied);
  EXPECT_THAT(store_->reader().attempts(key), IsEmpty());
  EXPECT_EQ(task(key).error, ErrorInfo{});
  EXPECT_EQ(claim_one().live.attempt, 1);
}

TEST_P(StoreApply, AnEditedInputIsTheOneThatRunsAndTheOldOnesAreKept) {
  TaskKey key = insert(spec());
  finish(claim_one(), Outcome::fail(kNo, false));
  EXPECT_EQ(retry(key, R"({"n": 2})"), Applied::applied);
  EXPECT_EQ(task(key).input, R"({"n": 2})");
  ClaimedTask second = claim_one();
  EXPECT_EQ(second.input, R"({"n": 2})");
  EXPECT_EQ(second.live.edits, 1);
  finish(second, Outcome::fail(kNo, false));
  EXPECT_EQ(task(key).live.edits, 1);
  EXPECT_EQ(retry(key), Applied::applied);
  ClaimedTask third = claim_one();
  EXPECT_EQ(third.input, R"({"n": 2})");
  finish(third, Outcome::fail(kNo, false));
  EXPECT_EQ(retry(key, R"({"n": 3})"), Applied::applied);
  EXPECT_THAT(store_->reader().inputs(key),
              ElementsAre(R"({"n": 1})", R"({"n": 2})", R"({"n": 3})"));
  EXPECT_EQ(task(key).live.edits, 2);
  auto events = store_->reader().events(key);
  ASSERT_EQ(events.size(), 6u) << "each retry, and the end before it";
  for (int i = 0; i < 6; ++i) EXPECT_EQ(events[static_cast<size_t>(i)].number, i + 1);
}

TEST_P(StoreApply, WhatWasDecidedBeforeAnEditIsStale) {
  TaskKey key = insert(spec());
  Plan stale_cancel = decide_cancel(task(key), clock_.now()).value();
  cancel(key);
  Plan stale_retry = decide_retry(task(key), "7", clock_.now()).value();
  EXPECT_EQ(retry(key, "2"), Applied::applied);  // pending again, at the same attempt number
  EXPECT_EQ(apply(stale_cancel), Applied::lease_lost);
  cancel(key);
  EXPECT_EQ(apply(stale_retry), Applied::lease_lost);
  EXPECT_EQ(task(key).input, "2");
  EXPECT_EQ(task(key).live.edits, 1);
  EXPECT_THAT(store_->reader().inputs(key), ElementsAre(R"({"n": 1})", "2"));
}

TEST_P(StoreApply, AWaitingTaskIsReleased) {
  TaskSpec waiting = spec();
  waiting.waiting = true;
  TaskKey key = insert(waiting);
  Plan release;
  release.key = key;
  release.expected = State::waiting;
  release.next = State::pending;
  release.live = task(key).live;
  release.live.state = State::pending;
  release.at = clock_.now();
  EXPECT_EQ(apply(release), Applied::applied);
  EXPECT_THAT(keys_of(claim()), ElementsAre(key));
  EXPECT_THAT(store_->reader().attempts(key).size(), 1u);
}

}  // namespace
}  // namespace opscore
