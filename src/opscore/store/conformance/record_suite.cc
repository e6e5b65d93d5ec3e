#include <gmock/gmock.h>

#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using testing::IsEmpty;

Step step(int number, std::string response) {
  Step one;
  one.number = number;
  one.kind = "llm";
  one.name = "a-model";
  one.request = R"({"n": 1})";
  one.response = std::move(response);
  one.at = from_ms(1'750'000'000'123);
  one.took = Duration(45);
  return one;
}

TEST_P(StoreRecord, TheLastProgressOfARunningAttemptIsShown) {
  TaskKey key = insert(spec());
  EXPECT_EQ(task(key).progress, "");
  ClaimedTask claimed = claim_one();
  store_->tasks().record_progress({{claimed.lease(), R"({"done": 1})"}});
  EXPECT_EQ(task(key).progress, R"({"done": 1})");
  store_->tasks().record_progress(
      {{claimed.lease(), R"({"done": 2})"}, {claimed.lease(), R"({"done": 3})"}});
  EXPECT_EQ(task(key).progress, R"({"done": 3})");
}

TEST_P(StoreRecord, ProgressOfAStaleLeaseIsIgnored) {
  TaskSpec stubborn = spec();
  stubborn.options.retry = retry_at_once();
  TaskKey key = insert(stubborn);
  ClaimedTask first = claim_one();
  store_->tasks().record_progress({{first.lease(), "1"}});
  finish(first, Outcome::fail({"actor_error", "no", ""}));
  EXPECT_EQ(task(key).progress, "");
  store_->tasks().record_progress({{first.lease(), "2"}, {{TaskKey{77}, 1}, "2"}});
  EXPECT_EQ(task(key).progress, "");
  ClaimedTask second = claim_one();
  store_->tasks().record_progress({{first.lease(), "3"}});
  EXPECT_EQ(task(key).progress, "");
  store_->tasks().record_progress({{second.lease(), "4"}});
  EXPECT_EQ(task(key).progress, "4");
}

TEST_P(StoreRecord, StepsAreKeptInOrderWithAllTheirFields) {
  TaskKey key = insert(spec());
  ClaimedTask claimed = claim_one();
  EXPECT_EQ(store_->tasks().append_step(claimed.lease(), step(1, "\"a\"")), Applied::applied);
  EXPECT_EQ(store_->tasks().append_step(claimed.lease(), step(2, "\"b\"")), Applied::applied);
  auto steps = store_->reader().steps(key);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].number, 1);
  EXPECT_EQ(steps[0].kind, "llm");
  EXPECT_EQ(steps[0].name, "a-model");
  EXPECT_EQ(steps[0].request, R"({"n": 1})");
  EXPECT_EQ(steps[0].response, "\"a\"");
  EXPECT_EQ(steps[0].attempt, 1);
  EXPECT_EQ(steps[0].at, from_ms(1'750'000'000'123));
  EXPECT_EQ(steps[0].took, Duration(45));
  EXPECT_EQ(steps[1].response, "\"b\"");
}

TEST_P(StoreRecord, AStepIsJournaledOnce) {
  TaskKey key = insert(spec());
  ClaimedTask claimed = claim_one();
  EXPECT_EQ(store_->tasks().append_step(claimed.lease(), step(1, "1")), Applied::applied);
  EXPECT_EQ(store_->tasks().append_step(claimed.lease(), step(1, "2")), Applied::already_applied);
  EXPECT_EQ(store_->reader().steps(key).at(0).response, "1");
}

TEST_P(StoreRecord, OnlyTheRunningAttemptJournals) {
  TaskSpec stubborn = spec();
  stubborn.options.retry = retry_at_once();
  TaskKey key = insert(stubborn);
  EXPECT_EQ(store_->tasks().append_step({key, 0}, step(1, "1")), Applied::lease_lost);
  ClaimedTask first = claim_one();
  store_->tasks().append_step(first.lease(), step(1, "1"));
  finish(first, Outcome::fail({"actor_error", "no", ""}));
  EXPECT_EQ(store_->tasks().append_step(first.lease(), step(2, "late")), Applied::lease_lost);
  ClaimedTask second = claim_one();
  EXPECT_EQ(store_->tasks().append_step(first.lease(), step(2, "late")), Applied::lease_lost);
  EXPECT_EQ(store_->tasks().append_step(second.lease(), step(2, "2")), Applied::applied);
  auto steps = store_->reader().steps(key);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0].attempt, 1);
  EXPECT_EQ(steps[1].attempt, 2);
  EXPECT_EQ(store_->tasks().append_step({TaskKey{99}, 1}, step(1, "1")), Applied::lease_lost);
}

TEST_P(StoreRecord, AStepOfAnEarlierAttemptIsNeverOverwritten) {
  TaskSpec stubborn = spec();
  stubborn.options.retry = retry_at_once();
  TaskKey key = insert(stubborn);
  ClaimedTask first = claim_one();
  store_->tasks().append_step(first.lease(), step(1, "1"));
  finish(first, Outcome::fail({"actor_error", "no", ""}));
  EXPECT_NE(store_->tasks().append_step(claim_one().lease(), step(1, "other")), Applied::applied);
  EXPECT_EQ(store_->reader().steps(key).at(0).response, "1");
}

TEST_P(StoreRecord, StepsOutliveTheTasksEnd) {
  TaskKey key = insert(spec());
  ClaimedTask claimed = claim_one();
  store_->tasks().append_step(claimed.lease(), step(1, "1"));
  finish(claimed, Outcome::complete("1"));
  EXPECT_EQ(store_->reader().steps(key).size(), 1u);
}

TEST_P(StoreRecord, NothingIsKnownOfAnUnknownTask) {
  TaskKey nobody{424242};
  EXPECT_FALSE(store_->reader().find(nobody));
  EXPECT_THAT(store_->reader().attempts(nobody), IsEmpty());
  EXPECT_THAT(store_->reader().events(nobody), IsEmpty());
  EXPECT_THAT(store_->reader().steps(nobody), IsEmpty());
  EXPECT_THAT(store_->reader().inputs(nobody), IsEmpty());
}

}  // namespace
}  // namespace opscore
