#include <gmock/gmock.h>

#include "opscore/model/limits.h"
#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST_P(StoreClaim, GivesWhatARunNeeds) {
  TaskSpec wanted = spec();
  wanted.options.labels = {{"a", "b"}};
  wanted.options.timeout = Duration(77);
  wanted.priority = 3;
  TaskKey key = insert(wanted);
  Live before = task(key).live;
  clock_.advance(Duration(500));
  ClaimedTask claimed = claim_one();
  EXPECT_EQ(claimed.key, key);
  EXPECT_EQ(claimed.type, "t");
  EXPECT_EQ(claimed.queue, "q");
  EXPECT_EQ(claimed.input, wanted.input);
  EXPECT_EQ(claimed.priority, 3);
  EXPECT_EQ(claimed.options, wanted.options);
  EXPECT_EQ(claimed.live, decide_claim(before, session_, clock_.now()));
  EXPECT_EQ(task(key).live, claimed.live);
  EXPECT_EQ(task(key).worker, session_);
  EXPECT_FALSE(task(key).started_at);
}

TEST_P(StoreClaim, ShowsARunningAttempt) {
  insert(spec());
  ClaimedTask claimed = claim_one();
  auto attempts = store_->reader().attempts(claimed.key);
  ASSERT_EQ(attempts.size(), 1u);
  EXPECT_EQ(attempts[0].number, 1);
  EXPECT_FALSE(attempts[0].end);
  EXPECT_EQ(attempts[0].worker, session_);
  EXPECT_EQ(attempts[0].claimed_at, clock_.now());
  EXPECT_FALSE(attempts[0].started_at);
  EXPECT_FALSE(attempts[0].ended_at);
}

TEST_P(StoreClaim, NothingIsClaimedTwice) {
  auto keys = insert_many(10, spec());
  EXPECT_EQ(claim(4).size(), 4u);
  EXPECT_EQ(claim().size(), 6u);
  EXPECT_THAT(claim(), IsEmpty());
}

TEST_P(StoreClaim, FirstInFirstOutAmongEquals) {
  auto keys = insert_many(50, spec());
  EXPECT_EQ(keys_of(claim()), keys);
}

TEST_P(StoreClaim, OrderIsRunAtMinusPriority) {
  auto at = [&](int priority, int64_t offset_ms) {
    TaskSpec one = spec();
    one.priority = priority;
    one.run_at = clock_.now() + Duration(offset_ms);
    return insert(one);
  };
  TaskKey normal = at(0, -1000);
  TaskKey urgent = at(1, 0);
  TaskKey aged = at(0, -7000);  // a priority is worth 6 s
  TaskKey low = at(-1, -6500);
  EXPECT_THAT(keys_of(claim()), ElementsAre(aged, urgent, normal, low));
}

TEST_P(StoreClaim, QueuesAreServedInTheOrderOfTheRequest) {
  TaskKey a = insert(spec("t", "a")), b = insert(spec("t", "b"));
  ClaimRequest both = request();
  both.queues = {{"b", 10}, {"a", 10}};
  EXPECT_THAT(keys_of(store_->tasks().claim(both).tasks), ElementsAre(b, a));
}

TEST_P(StoreClaim, EachQueueHasItsOwnMax) {
  insert_many(3, spec("t", "a"));
  insert_many(3, spec("t", "b"));
  ClaimRequest both = request();
  both.queues = {{"a", 1}, {"b", 2}};
  ClaimResult result = store_->tasks().claim(both);
  EXPECT_EQ(result.tasks.size(), 3u);
  EXPECT_TRUE(result.more);
  both.queues = {{"a", 0}, {"b", 1}};
  EXPECT_EQ(store_->tasks().claim(both).tasks.size(), 1u);
  both.queues = {{"a", 5}, {"b", 5}};
  result = store_->tasks().claim(both);
  EXPECT_EQ(result.tasks.size(), 2u);
  EXPECT_FALSE(result.more);
}

TEST_P(StoreClaim, AnUnknownQueueIsEmpty) {
  ClaimRequest nowhere = request();
  nowhere.queues = {{"nowhere", 5}};
  ClaimResult result = store_->tasks().claim(nowhere);
  EXPECT_THAT(result.tasks, IsEmpty());
  EXPECT_FALSE(result.more);
  EXPECT_FALSE(result.next_due_at);
}

TEST_P(StoreClaim, TypesThatTheWorkerLacksAreSkippedAndNamed) {
  insert(spec("other"));
  TaskKey mine = insert(spec("t"));
  insert(spec("other"));
  ClaimResult result = store_->tasks().claim(request());
  EXPECT_THAT(keys_of(result.tasks), ElementsAre(mine));
  EXPECT_THAT(result.skipped_types, ElementsAre("other"));
  EXPECT_FALSE(result.more);
  EXPECT_THAT(store_->tasks().claim(request()).skipped_types, ElementsAre("other"));
}

TEST_P(StoreClaim, WhatIsNotDueIsNotNamedAsSkipped) {
  TaskSpec later = spec("other");
  later.run_at = clock_.now() + Duration(10);
  insert(later);
  EXPECT_THAT(store_->tasks().claim(request()).skipped_types, IsEmpty());
}

TEST_P(StoreClaim, RoomCapsAType) {
  auto slow = insert_many(5, spec("slow"));
  auto fast = insert_many(5, spec("fast"));
  ClaimRequest capped = request();
  capped.types = types({"fast", "slow"});
  capped.room = {{{"slow"}, 2}};
  auto tasks = store_->tasks().claim(capped).tasks;
  EXPECT_EQ(tasks.size(), 7u);
  EXPECT_EQ(std::count_if(tasks.begin(), tasks.end(), [](auto& t) { return t.type == "slow"; }), 2);
  capped.room = {{{"slow"}, 0}};
  EXPECT_THAT(store_->tasks().claim(capped).tasks, IsEmpty());
  capped.room = {};
  EXPECT_EQ(keys_of(store_->tasks().claim(capped).tasks),
            std::vector(slow.begin() + 2, slow.end()));
}

TEST_P(StoreClaim, RoomIsSharedByTheQueuesOfARequest) {
  insert_many(2, spec("t", "a"));
  insert_many(2, spec("t", "b"));
  ClaimRequest capped = request();
  capped.queues = {{"a", 9}, {"b", 9}};
  capped.room = {{{"t"}, 3}};
  EXPECT_EQ(store_->tasks().claim(capped).tasks.size(), 3u);
}

TEST_P(StoreClaim, APausedQueueGivesNothingUntilResumed) {
  insert_many(3, spec());
  ClaimedTask running = claim(1).at(0);
  store_->tasks().set_paused("q", true);
  EXPECT_THAT(claim(), IsEmpty());
  EXPECT_TRUE(queue("q").paused);
  EXPECT_EQ(finish(running, Outcome::complete("1")), Applied::applied);
  insert(spec());
  EXPECT_THAT(claim(), IsEmpty());
  store_->tasks().set_paused("q", false);
  EXPECT_EQ(claim().size(), 3u);
}

TEST_P(StoreClaim, APauseHoldsOnlyItsQueue) {
  insert(spec("t", "a"));
  store_->tasks().set_paused("b", true);
  ClaimRequest both = request();
  both.queues = {{"b", 5}, {"a", 5}};
  EXPECT_EQ(store_->tasks().claim(both).tasks.size(), 1u);
}

TEST_P(StoreClaim, ScheduledTasksAreClaimableWhenDueThoughNotPromoted) {
  TaskSpec later = spec();
  later.run_at = clock_.now() + Duration(100);
  TaskKey key = insert(later);
  clock_.advance(Duration(99));
  ClaimResult early = store_->tasks().claim(request());
  EXPECT_THAT(early.tasks, IsEmpty());
  EXPECT_EQ(early.next_due_at, later.run_at);
  clock_.advance(Duration(1));
  EXPECT_THAT(keys_of(claim()), ElementsAre(key));
}

TEST_P(StoreClaim, ScheduledAndPendingShareOneOrder) {
  TaskSpec later = spec();
  later.run_at = clock_.now() + Duration(50);
  TaskKey scheduled = insert(later);
  TaskKey first = insert(spec());
  clock_.advance(Duration(80));
  TaskKey last = insert(spec());
  EXPECT_THAT(keys_of(claim()), ElementsAre(first, scheduled, last));
}

TEST_P(StoreClaim, WaitingTasksAreNotClaimed) {
  TaskSpec waiting = spec();
  waiting.waiting = true;
  insert(waiting);
  EXPECT_THAT(claim(), IsEmpty());
}

TEST_P(StoreClaim, AfterItsDeadlineATaskIsNotClaimed) {
  TaskSpec hurried = spec();
  hurried.options.deadline = clock_.now() + Duration(10);
  TaskKey key = insert(hurried), other = insert(spec());
  clock_.advance(Duration(10));
  EXPECT_THAT(keys_of(claim()), ElementsAre(other));
  store_->tasks().expire(100);
  EXPECT_EQ(state(key), State::failed);
}

TEST_P(StoreClaim, SuspectsAreHandedOutSparingly) {
  insert_many(3, spec());
  auto first = claim();
  LostSession crash = lost_session(session_, LostSession::Cause::crashed);
  store_->tasks().rescue(crash);
  session_ = store_->fleet().open_session("host:2", "{}");
  clock_.advance(limits::kTimeout);  // past any backoff
  TaskKey normal = insert(spec());
  ClaimRequest none = request();
  none.suspects = 0;
  EXPECT_THAT(keys_of(store_->tasks().claim(none).tasks), ElementsAre(normal));
  auto one = claim();
  ASSERT_EQ(one.size(), 1u);
  EXPECT_TRUE(one[0].live.suspect);
  EXPECT_EQ(one[0].live.attempt, 2);
  EXPECT_EQ(claim().size(), 1u);
  EXPECT_EQ(claim().size(), 1u);
  EXPECT_THAT(claim(), IsEmpty());
}

TEST_P(StoreClaim, AnEndedSessionGetsNothing) {
  insert(spec());
  store_->tasks().rescue(lost_session(session_, LostSession::Cause::gone));
  EXPECT_THAT(claim(), IsEmpty());
  session_ = store_->fleet().open_session("host:2", "{}");
  EXPECT_EQ(claim().size(), 1u);
}

TEST_P(StoreClaim, AttemptNumbersGrowWithEveryClaim) {
  TaskSpec stubborn = spec();
  stubborn.options.retry = retry_at_once();
  insert(stubborn);
  for (int number = 1; number <= 4; ++number) {
    ClaimedTask claimed = claim_one();
    EXPECT_EQ(claimed.live.attempt, number);
    finish(claimed, Outcome::fail({"actor_error", "no", ""}));
  }
}

TEST_P(StoreClaim, ARetryGoesBehindWhatBecameDueBefore) {
  TaskSpec stubborn = spec();
  stubborn.options.retry = retry_at_once();
  TaskKey retried = insert(stubborn);
  ClaimedTask first = claim_one();
  TaskKey other = insert(spec());
  clock_.advance(Duration(5));
  finish(first, Outcome::fail({"actor_error", "no", ""}));
  EXPECT_THAT(keys_of(claim()), ElementsAre(other, retried));
}

}  // namespace
}  // namespace opscore
