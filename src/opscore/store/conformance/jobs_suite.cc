#include <gmock/gmock.h>

#include "opscore/model/limits.h"
#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

Outcome no(const std::string& why = "no") {
  return Outcome::fail({"actor_error", why, ""}, false);
}

TEST_P(StoreJobs, CancelEndsWhatHasNotRunAndStopsWhatRuns) {
  TaskKey running = insert(spec());
  ASSERT_EQ(claim_one().key, running);
  std::vector<TaskKey> pending = insert_many(5, spec());
  TaskKey elsewhere = insert(spec("t", "other"));
  Job job = run_job(*store_, JobAction::cancel, of_queue("q"), 2);
  EXPECT_EQ(job.state, JobState::completed);
  EXPECT_EQ(job.counts.matched, 6);
  EXPECT_EQ(job.counts.done, 6);
  EXPECT_EQ(job.counts.examined, 7);
  EXPECT_THAT(job.counts.skipped, IsEmpty());
  EXPECT_EQ(job.ended_at, clock_.now());
  for (TaskKey key : pending) EXPECT_EQ(state(key), State::cancelled);
  EXPECT_TRUE(task(running).live.cancel_requested);
  EXPECT_EQ(state(elsewhere), State::pending);
  EXPECT_EQ(queue("q").cancelled, 5);
  EXPECT_EQ(store_->jobs().find(job.id)->counts, job.counts);
}

TEST_P(StoreJobs, RetryRunsEachFailedTaskOnceMore) {
  std::vector<TaskKey> failed = insert_many(4, spec());
  for (const ClaimedTask& claimed : claim()) finish(claimed, no());
  TaskKey done = complete_one(spec());
  TaskFilter filter = of_queue("q", default_states(JobAction::retry));
  Job job = store_->jobs().create({JobAction::retry, filter});
  job = store_->jobs().advance(job, {store_->jobs().look(job, 2)});
  EXPECT_EQ(job.state, JobState::running);
  EXPECT_EQ(job.started_at, clock_.now());
  EXPECT_EQ(job.origin, failed[0]);
  EXPECT_EQ(job.bound, done);
  EXPECT_GT(job.progress(), 0);
  EXPECT_LT(job.progress(), 1);
  // What it has retried fails again while the job goes on: that is not retried a second time.
  for (const ClaimedTask& claimed : claim()) finish(claimed, no("again"));
  while (!is_ended(job.state)) job = store_->jobs().advance(job, {store_->jobs().look(job, 2)});
  EXPECT_EQ(job.counts.done, 4);
  EXPECT_EQ(state(failed[0]), State::failed);
  EXPECT_EQ(state(failed[1]), State::failed);
  EXPECT_EQ(state(failed[2]), State::pending);
  EXPECT_EQ(state(done), State::completed);
  EXPECT_THAT(keys_of(claim()), ElementsAre(failed[2], failed[3]));
}

TEST_P(StoreJobs, DeleteSkipsWhatRunsAndCountsIt) {
  TaskKey running = insert(spec());
  claim_one();
  TaskKey later = insert(spec());
  TaskKey done = insert(spec("done"));
  cancel(done);
  Job job = run_job(*store_, JobAction::remove, {});
  EXPECT_EQ(job.counts.matched, 3);
  EXPECT_EQ(job.counts.done, 2);
  EXPECT_THAT(job.counts.skipped, ElementsAre(Pair("running", 1)));
  EXPECT_TRUE(store_->reader().find(running));
  EXPECT_FALSE(store_->reader().find(later));
  EXPECT_FALSE(store_->reader().find(done));
}

TEST_P(StoreJobs, AStateThatForbidsTheActionIsSkippedByName) {
  complete_one(spec());
  cancel(insert(spec()));
  TaskFilter ended;
  ended.states = StateSet(State::completed, State::cancelled, State::pending);
  TaskKey pending = insert(spec());
  Job job = run_job(*store_, JobAction::cancel, ended);
  EXPECT_EQ(job.counts.matched, 3);
  EXPECT_EQ(job.counts.done, 1);
  EXPECT_THAT(job.counts.skipped, UnorderedElementsAre(Pair("completed", 1), Pair("cancelled", 1)));
  EXPECT_EQ(state(pending), State::cancelled);
}

TEST_P(StoreJobs, WhatChangedSinceItWasLookedAtIsDecidedAnew) {
  TaskKey a = insert(spec()), b = insert(spec()), c = insert(spec());
  Job job = store_->jobs().create({JobAction::remove, of_queue("q", StateSet(State::pending))});
  JobSlice slice{store_->jobs().look(job, 10)};
  EXPECT_THAT(slice.look.found, ElementsAre(Pair(a, State::pending), Pair(b, State::pending),
                                            Pair(c, State::pending)));
  store_->tasks().remove(std::vector{a});
  cancel(b);
  job = store_->jobs().advance(job, slice);
  EXPECT_EQ(job.counts.done, 1);
  EXPECT_THAT(job.counts.skipped, UnorderedElementsAre(Pair("deleted", 1), Pair("cancelled", 1)));
  EXPECT_EQ(state(b), State::cancelled);
  EXPECT_FALSE(store_->reader().find(c));
}

TEST_P(StoreJobs, OnlyWhatExistedAtItsStartIsLookedAt) {
  insert_many(3, spec());
  Job job = store_->jobs().create({JobAction::cancel, of_queue("q", StateSet(State::pending))});
  TaskKey newer = insert(spec());
  while (!is_ended(job.state)) job = store_->jobs().advance(job, {store_->jobs().look(job, 2)});
  EXPECT_EQ(job.counts.done, 3);
  EXPECT_EQ(state(newer), State::pending);
  Job nothing = run_job(*store_, JobAction::cancel, of_queue("nowhere"));
  EXPECT_EQ(nothing.state, JobState::completed);
  EXPECT_EQ(nothing.counts.done, 0);
}

TEST_P(StoreJobs, ASliceFromAnOldCursorChangesNothing) {
  insert_many(4, spec());
  Job job = store_->jobs().create({JobAction::remove, of_queue("q", StateSet(State::pending))});
  JobSlice slice{store_->jobs().look(job, 2)};
  Job after = store_->jobs().advance(job, slice);
  EXPECT_EQ(after.counts.done, 2);
  Job again = store_->jobs().advance(job, slice);
  EXPECT_EQ(again.counts, after.counts);
  EXPECT_EQ(again.cursor, after.cursor);
  EXPECT_EQ(queue("q").pending, 2);
}

TEST_P(StoreJobs, AStoppedJobStaysWhereItIs) {
  insert_many(4, spec());
  Job job = store_->jobs().create({JobAction::remove, of_queue("q", StateSet(State::pending))});
  job = store_->jobs().advance(job, {store_->jobs().look(job, 1)});
  clock_.advance(5ms);
  auto stopped = store_->jobs().end(job.id, JobState::stopped, "enough");
  ASSERT_TRUE(stopped);
  EXPECT_EQ(stopped->state, JobState::stopped);
  EXPECT_EQ(stopped->error, "enough");
  EXPECT_EQ(stopped->ended_at, clock_.now());
  EXPECT_EQ(store_->jobs().advance(job, {store_->jobs().look(job, 1)}).counts.done, 1);
  EXPECT_EQ(queue("q").pending, 3);
  EXPECT_EQ(store_->jobs().end(job.id, JobState::failed, "late")->state, JobState::stopped);
  EXPECT_EQ(store_->jobs().end(JobId{99}, JobState::stopped, ""), std::nullopt);
  EXPECT_THAT(store_->jobs().unfinished(), IsEmpty());
}

TEST_P(StoreJobs, FiltersByTypeLabelsAndTime) {
  TaskSpec red = spec("paint"), blue = spec("paint");
  red.options.labels = {{"colour", "red"}, {"size", "s"}};
  blue.options.labels = {{"colour", "blue"}};
  insert(red);
  clock_.advance(10ms);
  TimePoint since = clock_.now();
  TaskKey wanted = insert(red);
  insert(blue);
  insert(spec("other"));
  clock_.advance(10ms);
  TimePoint before = clock_.now();
  insert(red);
  TaskFilter filter;
  filter.type = "paint";
  filter.labels = {{"colour", "red"}};
  filter.created_since = since;
  filter.created_before = before;
  filter.states = StateSet(State::pending);
  Job job = store_->jobs().create({JobAction::cancel, filter});
  JobLook look = store_->jobs().look(*store_->jobs().find(job.id), 10);
  EXPECT_THAT(look.found, ElementsAre(Pair(wanted, State::pending)));
  EXPECT_EQ(look.examined, 3u);
  EXPECT_TRUE(look.ended);
}

TEST_P(StoreJobs, EveryTableOfStatesIsWalkedOldestFirst) {
  TaskKey pending = insert(spec());
  TaskKey cancelled = insert(spec());
  cancel(cancelled);
  TaskKey done = complete_one(spec("done"));
  auto found = [&](StateSet states) {
    Job job = store_->jobs().create({JobAction::export_tasks, of_queue("q", states)});
    std::vector<TaskKey> keys;
    for (const auto& [key, state] : store_->jobs().look(job, 10).found) keys.push_back(key);
    return keys;
  };
  EXPECT_THAT(found(default_states(JobAction::remove)), ElementsAre(pending, cancelled, done));
  EXPECT_THAT(found(StateSet(State::cancelled, State::failed)), ElementsAre(cancelled));
  EXPECT_THAT(found(StateSet(State::cancelled, State::completed)), ElementsAre(cancelled, done));
  EXPECT_THAT(found(StateSet(State::pending, State::scheduled)), ElementsAre(pending));
}

TEST_P(StoreJobs, AnExportKeepsItsCountsAndItsLength) {
  insert_many(3, spec());
  Job job =
      store_->jobs().create({JobAction::export_tasks, of_queue("q", StateSet(State::pending))});
  JobSlice slice{store_->jobs().look(job, 2)};
  slice.exported.done = 2;
  slice.bytes = 77;
  job = store_->jobs().advance(job, slice);
  EXPECT_EQ(job.bytes, 77);
  EXPECT_EQ(job.counts.done, 2);
  EXPECT_EQ(job.counts.matched, 2);
  EXPECT_EQ(store_->jobs().find(job.id)->bytes, 77);
  EXPECT_EQ(queue("q").pending, 3);
}

TEST_P(StoreJobs, AreListedNewestFirstAndForgotten) {
  Job first = run_job(*store_, JobAction::cancel, of_queue("q"));
  clock_.advance(1h);
  Job second = store_->jobs().create({JobAction::retry, of_queue("q", StateSet(State::failed))});
  auto listed = store_->jobs().list(10);
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0].id, second.id);
  EXPECT_EQ(listed[1].action, JobAction::cancel);
  EXPECT_EQ(store_->jobs().list(1).size(), 1u);
  EXPECT_EQ(store_->jobs().unfinished().at(0).id, second.id);
  EXPECT_THAT(store_->jobs().forget(clock_.now() - 1h), IsEmpty());
  EXPECT_THAT(store_->jobs().forget(clock_.now()), ElementsAre(first.id));
  EXPECT_FALSE(store_->jobs().find(first.id));
  EXPECT_GT(store_->jobs().create({JobAction::retry, of_queue("q", StateSet(State::failed))}).id,
            second.id);
}

TEST_P(StoreReopen, AJobGoesOnFromItsCursor) {
  insert_many(4, spec());
  TaskFilter filter = of_queue("q", StateSet(State::pending));
  filter.type = "t";
  filter.created_since = clock_.now() - 1h;
  filter.created_before = clock_.now() + 1h;
  Job job = store_->jobs().create({JobAction::cancel, filter});
  job = store_->jobs().advance(job, {store_->jobs().look(job, 1)});
  reopen();
  auto unfinished = store_->jobs().unfinished();
  ASSERT_EQ(unfinished.size(), 1u);
  EXPECT_EQ(unfinished[0].cursor, job.cursor);
  EXPECT_EQ(unfinished[0].counts, job.counts);
  EXPECT_EQ(encode_filter(unfinished[0].filter), encode_filter(filter));
  job = unfinished[0];
  while (!is_ended(job.state)) job = store_->jobs().advance(job, {store_->jobs().look(job, 2)});
  EXPECT_EQ(job.counts.done, 4);
  EXPECT_EQ(queue("q").cancelled, 4);
}

}  // namespace
}  // namespace opscore
