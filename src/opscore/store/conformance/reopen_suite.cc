#include <gmock/gmock.h>

#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

TEST_P(StoreReopen, TasksAndTheirHistorySurvive) {
  TaskKey done = complete_one(spec(), R"({"r": 1})");
  TaskKey failed = insert_item(item_with_id(spec(), "mine", "h")).key;
  ClaimedTask claimed = claim_one();
  store_->tasks().append_step(claimed.lease(), {1, "tool", "calculator", "{}", "1"});
  finish(claimed, Outcome::fail({"actor_error", "no", "detail"}, false));
  retry(failed, "2");
  finish(claim_one(), Outcome::fail({"actor_error", "still no", ""}, false));
  Task before = task(failed);
  std::string identity = store_->identity(), id = store_->ids().encode(done);
  reopen();
  EXPECT_EQ(store_->identity(), identity);
  EXPECT_EQ(store_->reader().resolve(id), done);
  EXPECT_EQ(task(done).result, R"({"r": 1})");
  EXPECT_EQ(store_->reader().resolve("mine"), failed);
  Task after = task(failed);
  EXPECT_EQ(after.live, before.live);
  EXPECT_EQ(after.error, before.error);
  EXPECT_EQ(after.input, "2");
  EXPECT_EQ(store_->reader().attempts(failed).size(), 2u);
  EXPECT_EQ(store_->reader().events(failed).size(), 2u);
  EXPECT_EQ(store_->reader().steps(failed).size(), 1u);
  EXPECT_EQ(store_->reader().inputs(failed).size(), 2u);
  EXPECT_EQ(insert_item(item_with_id(spec(), "mine", "h")).kind, InsertResult::Kind::replayed);
}

TEST_P(StoreReopen, PendingTasksKeepTheirOrder) {
  TaskSpec urgent = spec(), later = spec();
  urgent.priority = 50;
  later.run_at = clock_.now() + 100ms;
  TaskKey a = insert(spec()), b = insert(urgent), c = insert(later);
  reopen();
  session_ = store_->fleet().open_session("host:2", "{}");
  EXPECT_THAT(keys_of(claim()), ElementsAre(b, a));
  EXPECT_EQ(store_->tasks().claim(request()).next_due_at, later.run_at);
  clock_.advance(100ms);
  EXPECT_EQ(store_->tasks().promote(10).tasks, 1u);
  EXPECT_THAT(keys_of(claim()), ElementsAre(c));
}

TEST_P(StoreReopen, KeysAndSessionsGoOnGrowing) {
  TaskKey last = insert_many(100, spec()).back();
  SessionId before = session_;
  reopen();
  clock_.jump(-1h);
  EXPECT_GT(insert(spec()), last);
  EXPECT_GT(store_->fleet().open_session("host:2", "{}"), before);
}

TEST_P(StoreReopen, WhatWasDueStaysDueWhenTheClockHasSteppedBack) {
  TaskKey key = insert(spec());
  reopen();
  clock_.jump(-1h);
  session_ = store_->fleet().open_session("host:2", "{}");
  store_->tasks().promote(10);
  EXPECT_THAT(keys_of(claim()), ElementsAre(key));
}

TEST_P(StoreReopen, WhatRanIsHeldUntilItsSessionIsRescued) {
  TaskKey key = insert(spec());
  ClaimedTask claimed = claim_one();
  SessionId dead = session_;
  reopen();
  session_ = store_->fleet().open_session("host:2", "{}");
  EXPECT_EQ(state(key), State::running);
  EXPECT_TRUE(claim().empty());
  auto sessions = store_->fleet().sessions(0s);
  ASSERT_EQ(sessions.size(), 2u);
  EXPECT_EQ(sessions[1].id, dead);
  EXPECT_EQ(store_->tasks().rescue(lost_session(dead, LostSession::Cause::gone)), 1u);
  EXPECT_EQ(finish(claimed, Outcome::complete("1")), Applied::lease_lost);
  EXPECT_EQ(claim_one().live.attempt, 2);
}

TEST_P(StoreReopen, AFinishIsRecognisedAcrossTheRestart) {
  insert(spec());
  Plan plan = plan_finish(claim_one(), Outcome::complete("1"));
  apply(plan);
  reopen();
  EXPECT_EQ(apply(plan), Applied::already_applied);
}

TEST_P(StoreReopen, PausesCountsAndTheCatalogueSurvive) {
  complete_one(spec());
  insert_many(2, spec());
  TaskKey cancelled = insert(spec());
  cancel(cancelled);
  store_->tasks().set_paused("q", true);
  CatalogueEntry entry;
  entry.type = "t";
  entry.kind = "exec";
  store_->fleet().announce_actors({entry});
  reopen();
  session_ = store_->fleet().open_session("host:2", "{}");
  QueueStats stats = queue("q");
  EXPECT_TRUE(stats.paused);
  EXPECT_EQ(stats.completed, 1);
  EXPECT_EQ(stats.pending, 2);
  EXPECT_EQ(stats.cancelled, 1);
  EXPECT_EQ(stats.oldest_pending_at, clock_.now());
  EXPECT_TRUE(claim().empty());
  store_->tasks().set_paused("q", false);
  EXPECT_EQ(claim().size(), 2u);
  ASSERT_EQ(store_->fleet().catalogue().size(), 1u);
  EXPECT_EQ(store_->fleet().catalogue()[0].kind, "exec");
}

TEST_P(StoreReopen, LimitsSurvive) {
  LayeredLimits limits{{.max_pending = 7, .concurrency = kUnlimited}, {.max_input_bytes = 100}};
  store_->tasks().change_settings([&](Settings& settings) {
    settings.queues["q"].limits = limits;
    settings.actor_concurrency["t"] = 3;
  });
  reopen();
  session_ = store_->fleet().open_session("host:2", "{}");
  EXPECT_EQ(queue("q").limits, limits);
  EXPECT_FALSE(queue("q").paused);
  EXPECT_EQ(store_->fleet().renew(session_, {}).actor_concurrency.at("t"), 3);
}

TEST_P(StoreReopen, ASuspectStaysOne) {
  TaskSpec at_once = spec();
  at_once.options.retry = retry_at_once();
  insert(at_once);
  claim_one();
  store_->tasks().rescue(lost_session(session_, LostSession::Cause::crashed));
  reopen();
  session_ = store_->fleet().open_session("host:2", "{}");
  ClaimRequest none = request();
  none.suspects = 0;
  EXPECT_TRUE(store_->tasks().claim(none).tasks.empty());
  EXPECT_TRUE(claim_one().live.suspect);
}

TEST_P(StoreReopen, OutboxRowsWaitForTheRelay) {
  insert(spec());
  Plan plan = plan_finish(claim_one(), Outcome::complete("1"));
  plan.outbox.emplace_back();
  plan.outbox.back().kind = OutboxRow::Kind::effect;
  plan.outbox.back().destination = "somewhere";
  apply(plan);
  reopen();
  auto rows = store_->outbox().due(OutboxRow::Kind::effect, 10);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].destination, "somewhere");
}

TEST_P(StoreReopen, DeadlinesAreStillWatched) {
  TaskSpec hurried = spec();
  hurried.options.deadline = clock_.now() + 10ms;
  insert(hurried);
  reopen();
  clock_.advance(10ms);
  EXPECT_EQ(store_->tasks().expire(10), 1u);
}

}  // namespace
}  // namespace opscore
