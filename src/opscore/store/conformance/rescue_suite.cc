#include <gmock/gmock.h>

#include "opscore/model/error_kind.h"
#include "opscore/model/limits.h"
#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using testing::IsEmpty;
using Cause = LostSession::Cause;

TEST_P(StoreRescue, GivesBackWhatASessionHeld) {
  insert_many(3, spec());
  auto held = claim(2);
  finish(held[0], Outcome::complete("1"));
  clock_.advance(Duration(100));
  EXPECT_EQ(store_->tasks().rescue(lost_session(session_, Cause::gone, "host lost")), 1u);
  Task back = task(held[1].key);
  EXPECT_EQ(back.state(), State::pending);
  EXPECT_EQ(back.live.losses, 1);
  EXPECT_EQ(back.live.charged, 0);
  EXPECT_EQ(back.error.kind, error_kind::kWorkerLost);
  EXPECT_THAT(back.error.message, testing::HasSubstr("host lost"));
  EXPECT_EQ(state(held[0].key), State::completed);
}

TEST_P(StoreRescue, IsIdempotent) {
  insert_many(2, spec());
  claim();
  auto lost = lost_session(session_, Cause::gone, "first");
  EXPECT_EQ(store_->tasks().rescue(lost), 2u);
  clock_.advance(Duration(1000));
  lost.words = "second";
  EXPECT_EQ(store_->tasks().rescue(lost), 0u);
  Session ended = store_->fleet().sessions(std::chrono::hours(1)).at(0);
  EXPECT_EQ(ended.last_words, "first");
  EXPECT_EQ(ended.ended_at, clock_.now() - Duration(1000));
}

TEST_P(StoreRescue, AnUnknownSessionHoldsNothing) {
  EXPECT_EQ(store_->tasks().rescue(lost_session(SessionId{987654}, Cause::gone)), 0u);
}

TEST_P(StoreRescue, LeavesOtherSessionsAlone) {
  insert_many(2, spec());
  ClaimedTask mine = claim(1).at(0);
  SessionId dead = session_;
  session_ = store_->fleet().open_session("host:2", "{}");
  ClaimedTask others = claim(1).at(0);
  EXPECT_EQ(store_->tasks().rescue(lost_session(dead, Cause::gone)), 1u);
  EXPECT_EQ(state(mine.key), State::pending);
  EXPECT_EQ(state(others.key), State::running);
  EXPECT_EQ(finish(others, Outcome::complete("1")), Applied::applied);
}

// What one lost task becomes, for every way a session can be lost.
struct LossCase {
  const char* what;
  Cause cause;
  bool entered_known, entered, blamed, other_blamed;
  Loss loss;
};

const LossCase kLossCases[] = {
    {"gone, all taken as entered", Cause::gone, false, false, false, false, Loss::host},
    {"gone, entered", Cause::gone, true, true, false, false, Loss::host},
    {"gone, not entered", Cause::gone, true, false, false, false, Loss::not_entered},
    {"crashed, nothing known", Cause::crashed, false, false, false, false, Loss::crash},
    {"crashed, entered", Cause::crashed, true, true, false, false, Loss::crash},
    {"crashed, not entered", Cause::crashed, true, false, false, false, Loss::not_entered},
    {"crashed, blamed", Cause::crashed, true, true, true, false, Loss::crash},
    {"crashed, another blamed", Cause::crashed, true, true, false, true, Loss::bystander},
    {"crashed, another blamed, not entered", Cause::crashed, true, false, false, true,
     Loss::not_entered},
    {"drained", Cause::drained, true, false, false, false, Loss::not_entered},
    {"drained, nothing known", Cause::drained, false, false, false, false, Loss::not_entered},
};

TEST_P(StoreRescue, EveryCauseIsWhatDecideLossSays) {
  for (const LossCase& one : kLossCases) {
    SCOPED_TRACE(one.what);
    TaskSpec at_once = spec();
    at_once.options.retry = retry_at_once();
    insert_many(2, at_once);
    auto held = claim();
    ASSERT_EQ(held.size(), 2u);
    LostSession lost = lost_session(session_, one.cause, "words");
    lost.entered_known = one.entered_known;
    if (one.entered) lost.entered[held[0].lease()] = {};
    if (one.blamed) lost.blamed = held[0].lease();
    if (one.other_blamed) {
      lost.blamed = held[1].lease();
      lost.entered[held[1].lease()] = {};
    }
    clock_.advance(Duration(100));
    Plan plan = decide_loss(held[0].key, held[0].live, held[0].options, one.loss, "words",
                            clock_.now(), random_);
    EXPECT_EQ(store_->tasks().rescue(lost), 2u);
    Task after = task(held[0].key);
    EXPECT_EQ(after.live, plan.live);
    EXPECT_EQ(after.error, plan.error);
    auto attempt = store_->reader().attempts(held[0].key).at(0);
    EXPECT_EQ(attempt.end, plan.ended);
    EXPECT_EQ(attempt.charged, plan.charged);
    EXPECT_EQ(attempt.worker, session_);
    EXPECT_EQ(attempt.ended_at, clock_.now());
    EXPECT_EQ(store_->reader().events(held[0].key).size(), plan.events.size());
    run_job(*store_, JobAction::remove, of_queue("q"));
    session_ = store_->fleet().open_session("next", "{}");
  }
}

TEST_P(StoreRescue, ATaskThatKillsItsWorkerThriceIsPoison) {
  TaskSpec deadly = spec();
  deadly.max_attempts = 10;
  deadly.options.retry = retry_at_once();
  TaskKey key = insert(deadly);
  for (int death = 1; death <= limits::kDeaths; ++death) {
    ClaimedTask claimed = claim_one();
    EXPECT_EQ(claimed.live.deaths, death - 1);
    EXPECT_EQ(claimed.live.suspect, death > 1);
    store_->tasks().rescue(lost_session(session_, Cause::crashed, "died of SIGSEGV"));
    session_ = store_->fleet().open_session("host", "{}");
  }
  Task poison = task(key);
  EXPECT_EQ(poison.state(), State::failed);
  EXPECT_EQ(poison.error.kind, error_kind::kPoison);
  EXPECT_EQ(poison.live.charged, limits::kDeaths);
  EXPECT_EQ(store_->reader().attempts(key).back().end, AttemptEnd::crashed);
  EXPECT_EQ(store_->reader().events(key).back().kind, "quarantined");
  EXPECT_THAT(claim(), IsEmpty());
}

TEST_P(StoreRescue, ARetriedSuspectIsTrustedAgain) {
  TaskSpec once = spec();
  once.max_attempts = 1;
  TaskKey key = insert(once);
  claim_one();
  store_->tasks().rescue(lost_session(session_, Cause::crashed));
  EXPECT_EQ(state(key), State::failed);
  session_ = store_->fleet().open_session("host", "{}");
  EXPECT_EQ(retry(key), Applied::applied);
  ClaimRequest none = request();
  none.suspects = 0;
  EXPECT_EQ(store_->tasks().claim(none).tasks.size(), 1u);
}

TEST_P(StoreRescue, ACancelThatWasAskedForEndsTheLostTask) {
  TaskKey key = insert(spec());
  claim_one();
  cancel(key);
  EXPECT_EQ(store_->tasks().rescue(lost_session(session_, Cause::gone)), 1u);
  EXPECT_EQ(state(key), State::cancelled);
  EXPECT_EQ(store_->reader().attempts(key).at(0).end, AttemptEnd::lost);
}

TEST_P(StoreRescue, TheStartThatWasReportedIsKept) {
  TaskKey key = insert(spec());
  claim_one();
  clock_.advance(Duration(5));
  SessionReport report;
  report.running = {{key, 1, 0, clock_.now()}};
  store_->fleet().renew(session_, report);
  TimePoint started_at = clock_.now();
  clock_.advance(Duration(5));
  store_->tasks().rescue(lost_session(session_, Cause::gone));
  EXPECT_EQ(store_->reader().attempts(key).at(0).started_at, started_at);
}

// The worker died before its next renewal; its supervisor knows when each actor was entered.
TEST_P(StoreRescue, TheStartThatTheCrashPageHasIsKept) {
  insert_many(3, spec());
  auto held = claim();
  clock_.advance(Duration(5));
  const TimePoint started_at = clock_.now();
  SessionReport report;
  report.running = {{held[0].key, 1, 0, started_at}};
  store_->fleet().renew(session_, report);
  clock_.advance(Duration(5));
  LostSession lost = lost_session(session_, Cause::crashed, "died of SIGSEGV");
  lost.entered_known = true;
  lost.entered = {{held[0].lease(), clock_.now()}, {held[1].lease(), clock_.now()}};
  lost.blamed = held[1].lease();
  clock_.advance(Duration(5));
  store_->tasks().rescue(lost);
  auto attempt = [&](size_t n) { return store_->reader().attempts(held[n].key).at(0); };
  EXPECT_EQ(attempt(0).started_at, started_at) << "what was reported first";
  EXPECT_EQ(attempt(1).started_at, started_at + Duration(5));
  EXPECT_EQ(attempt(1).ended_at, started_at + Duration(10));
  EXPECT_EQ(attempt(1).end, AttemptEnd::crashed);
  EXPECT_EQ(attempt(2).started_at, std::nullopt) << "never entered";
  EXPECT_EQ(task(held[1].key).started_at, started_at + Duration(5));
}

TEST_P(StoreRescue, LossesAreFreeThreeTimes) {
  TaskSpec two = spec();
  two.max_attempts = 1;
  two.options.retry = retry_at_once();
  TaskKey key = insert(two);
  for (int loss = 0; loss < limits::kLosses; ++loss) {
    claim_one();
    store_->tasks().rescue(lost_session(session_, Cause::gone));
    EXPECT_EQ(state(key), State::pending);
    session_ = store_->fleet().open_session("host", "{}");
  }
  claim_one();
  store_->tasks().rescue(lost_session(session_, Cause::gone));
  EXPECT_EQ(state(key), State::failed);
}

}  // namespace
}  // namespace opscore
