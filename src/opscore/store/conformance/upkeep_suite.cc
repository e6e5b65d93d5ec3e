#include <gmock/gmock.h>

#include "opscore/model/error_kind.h"
#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

Retention keep(Duration completed, Duration failed) {
  return {completed, failed, {}};
}

TaskSpec due_in(TaskSpec spec, TimePoint now, Duration delay) {
  spec.run_at = now + delay;
  return spec;
}

TEST_P(StoreUpkeep, PromoteMakesDueTasksPending) {
  TaskKey soon = insert(due_in(spec(), clock_.now(), 10ms));
  TaskKey later = insert(due_in(spec(), clock_.now(), 20ms));
  Promoted none = store_->tasks().promote(10);
  EXPECT_EQ(none.tasks, 0u);
  EXPECT_EQ(none.next_due_at, clock_.now() + 10ms);
  clock_.advance(10ms);
  Live before = task(soon).live;
  Promoted one = store_->tasks().promote(10);
  EXPECT_EQ(one.tasks, 1u);
  EXPECT_EQ(one.next_due_at, clock_.now() + 10ms);
  EXPECT_EQ(task(soon).live, decide_promote(soon, before, clock_.now()).live);
  EXPECT_EQ(state(later), State::scheduled);
  clock_.advance(10ms);
  EXPECT_EQ(store_->tasks().promote(10).tasks, 1u);
  EXPECT_EQ(store_->tasks().promote(10).next_due_at, std::nullopt);
  EXPECT_THAT(keys_of(claim()), ElementsAre(soon, later));
}

TEST_P(StoreUpkeep, PromoteStopsAtItsLimitWithTheEarliest) {
  TaskKey second = insert(due_in(spec(), clock_.now(), 2ms));
  TaskKey first = insert(due_in(spec(), clock_.now(), 1ms));
  TaskKey third = insert(due_in(spec(), clock_.now(), 3ms));
  clock_.advance(10ms);
  Promoted two = store_->tasks().promote(2);
  EXPECT_EQ(two.tasks, 2u);
  EXPECT_EQ(two.next_due_at, clock_.now() - 7ms);
  EXPECT_EQ(state(first), State::pending);
  EXPECT_EQ(state(second), State::pending);
  EXPECT_EQ(state(third), State::scheduled);
}

TEST_P(StoreUpkeep, WhatIsDueStaysDueWhenTheClockStepsBack) {
  TaskSpec urgent = spec();
  urgent.priority = 10;
  TaskKey first = insert(spec()), second = insert(due_in(spec(), clock_.now(), 10ms));
  TaskKey before_both = insert(urgent);
  TaskKey later = insert(due_in(spec(), clock_.now(), 1min));
  clock_.advance(10ms);
  store_->tasks().promote(10);
  clock_.jump(-1h);
  store_->tasks().promote(10);
  EXPECT_THAT(keys_of(claim()), ElementsAre(before_both, first, second));
  EXPECT_EQ(state(later), State::scheduled);
  clock_.advance(1h);
  store_->tasks().promote(10);
  EXPECT_EQ(state(later), State::scheduled);
  clock_.advance(1min);
  EXPECT_THAT(keys_of(claim()), ElementsAre(later));
}

TEST_P(StoreUpkeep, ExpireFailsWhatMissedItsDeadline) {
  TaskSpec pending = spec(), scheduled = spec(), waiting = spec(), running = spec();
  for (TaskSpec* each : {&pending, &scheduled, &waiting, &running})
    each->options.deadline = clock_.now() + 100ms;
  running.priority = 100;
  scheduled.run_at = clock_.now() + 1h;
  waiting.waiting = true;
  TaskKey keys[] = {insert(pending), insert(scheduled), insert(waiting)};
  TaskKey busy = insert(running);
  ASSERT_EQ(claim(1).at(0).key, busy);
  insert(spec());
  clock_.advance(99ms);
  EXPECT_EQ(store_->tasks().expire(10), 0u);
  clock_.advance(1ms);
  EXPECT_EQ(store_->tasks().expire(10), 3u);
  for (TaskKey key : keys) {
    Task expired = task(key);
    EXPECT_EQ(expired.state(), State::failed);
    EXPECT_EQ(expired.error.kind, error_kind::kDeadline);
    EXPECT_EQ(expired.finished_at, clock_.now());
    EXPECT_THAT(store_->reader().attempts(key), IsEmpty());
  }
  EXPECT_EQ(state(busy), State::running);
  EXPECT_EQ(store_->tasks().expire(10), 0u);
  EXPECT_EQ(claim().size(), 1u);
}

TEST_P(StoreUpkeep, ExpireStopsAtItsLimit) {
  TaskSpec hurried = spec();
  hurried.options.deadline = clock_.now() + 1ms;
  insert_many(5, hurried);
  clock_.advance(1ms);
  EXPECT_EQ(store_->tasks().expire(2), 2u);
  EXPECT_EQ(store_->tasks().expire(10), 3u);
}

TEST_P(StoreUpkeep, PruneDeletesWhatIsPastItsRetention) {
  TaskKey done = complete_one(spec());
  TaskKey failed = insert(spec());
  finish(claim_one(), Outcome::fail({"actor_error", "no", ""}, false));
  TaskKey cancelled = insert(spec());
  cancel(cancelled);
  TaskKey unfinished = insert(spec());
  clock_.advance(999ms);
  EXPECT_EQ(store_->tasks().prune(keep(1s, 2s), 1000), 0u);
  clock_.advance(1ms);
  EXPECT_EQ(store_->tasks().prune(keep(1s, 2s), 1000), 1u);
  EXPECT_FALSE(store_->reader().find(done));
  EXPECT_TRUE(store_->reader().find(failed));
  clock_.advance(1s);
  EXPECT_EQ(store_->tasks().prune(keep(1s, 2s), 1000), 2u);
  EXPECT_FALSE(store_->reader().find(failed));
  EXPECT_FALSE(store_->reader().find(cancelled));
  clock_.advance(1000h);
  EXPECT_EQ(store_->tasks().prune(keep(1s, 2s), 1000), 0u);
  EXPECT_TRUE(store_->reader().find(unfinished));
}

TEST_P(StoreUpkeep, RetentionMayDifferByType) {
  TaskKey a = complete_one(spec("a")), b = complete_one(spec("b"));
  Retention retention = keep(1h, 1h);
  retention.completed_by_type = {{"b", 1s}};
  clock_.advance(1min);
  EXPECT_EQ(store_->tasks().prune(retention, 1000), 1u);
  EXPECT_TRUE(store_->reader().find(a));
  EXPECT_FALSE(store_->reader().find(b));
}

TEST_P(StoreUpkeep, PruneInSmallStepsGetsEverywhere) {
  for (int i = 0; i < 20; ++i) {  // the oldest are the ones to be kept
    insert(spec());
    finish(claim_one(), Outcome::fail({"actor_error", "no", ""}, false));
  }
  for (int i = 0; i < 20; ++i) complete_one(spec());
  clock_.advance(1min);
  size_t pruned = 0;
  for (int i = 0; i < 60; ++i) pruned += store_->tasks().prune(keep(1s, 1h), 3);
  EXPECT_EQ(pruned, 20u);
  EXPECT_EQ(queue("q").completed, 0);
  EXPECT_EQ(queue("q").dead, 20);
}

TEST_P(StoreUpkeep, PruningTakesAllThatBelongsToTheTask) {
  TaskKey key = insert_item(item_with_id(spec(), "mine", "h")).key;
  ClaimedTask first = claim_one();
  Step step{1, "tool", "calculator", "{}", "1"};
  EXPECT_EQ(store_->tasks().append_step(first.lease(), step), Applied::applied);
  finish(first, Outcome::fail({"actor_error", "no", ""}, false));
  retry(key, "2");
  finish(claim_one(), Outcome::complete("1"));
  clock_.advance(1min);
  EXPECT_EQ(store_->tasks().prune(keep(1s, 1s), 1000), 1u);
  EXPECT_THAT(store_->reader().attempts(key), IsEmpty());
  EXPECT_THAT(store_->reader().events(key), IsEmpty());
  EXPECT_THAT(store_->reader().steps(key), IsEmpty());
  EXPECT_THAT(store_->reader().inputs(key), IsEmpty());
  EXPECT_EQ(store_->reader().resolve("mine"), std::nullopt);
  EXPECT_EQ(insert_item(item_with_id(spec(), "mine", "other")).kind, InsertResult::Kind::inserted);
}

TEST_P(StoreUpkeep, RemoveDeletesWhatDoesNotRun) {
  insert_many(2, spec());
  ClaimedTask running = claim(1).at(0);
  TaskKey done = complete_one(spec("done"));
  TaskKey later = insert(due_in(spec(), clock_.now(), 1h));
  TaskKey waiting = insert([&] {
    TaskSpec one = spec();
    one.waiting = true;
    return one;
  }());
  auto all = store_->reader().list({}, {}, 100).tasks;
  ASSERT_EQ(all.size(), 5u);
  std::vector<TaskKey> keys = keys_of(all);
  keys.push_back(TaskKey{12345});
  EXPECT_EQ(store_->tasks().remove(keys), 4u);
  EXPECT_EQ(keys_of(store_->reader().list({}, {}, 100).tasks), std::vector{running.key});
  for (TaskKey key : {done, later, waiting}) EXPECT_FALSE(store_->reader().find(key));
  EXPECT_THAT(claim(), IsEmpty());
  EXPECT_EQ(finish(running, Outcome::complete("1")), Applied::applied);
  EXPECT_EQ(store_->tasks().remove(std::vector{running.key}), 1u);
  EXPECT_EQ(store_->tasks().remove({}), 0u);
}

}  // namespace
}  // namespace opscore
