// Limits of queues and actors: what an insert and a claim make of them.

#include <gmock/gmock.h>

#include <thread>

#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;
using Kind = InsertResult::Kind;

void set(Store& store, const std::string& queue, QueueLimits chosen, QueueLimits configured = {}) {
  store.tasks().change_settings(
      [&](Settings& settings) { settings.queues[queue].limits = {chosen, configured}; });
}

std::vector<Kind> kinds(const std::vector<InsertResult>& results) {
  std::vector<Kind> kinds;
  for (const InsertResult& result : results) kinds.push_back(result.kind);
  return kinds;
}

std::vector<InsertItem> items(std::vector<TaskSpec> specs) {
  std::vector<InsertItem> items;
  for (TaskSpec& spec : specs) items.emplace_back().spec = std::move(spec);
  return items;
}

TEST_P(StoreLimits, AFullQueueRefuses) {
  set(*store_, "q", {.max_pending = 2});
  auto results = store_->tasks().insert(items({spec(), spec("t", "other"), spec(), spec()}),
                                        InsertMode::per_item);
  EXPECT_THAT(kinds(results),
              ElementsAre(Kind::inserted, Kind::inserted, Kind::inserted, Kind::queue_full));
  EXPECT_EQ(results[3].limit, 2);
  EXPECT_EQ(queue("q").pending, 2);
  EXPECT_EQ(insert_item({spec()}).kind, Kind::queue_full);
  EXPECT_EQ(insert_item({spec("t", "other")}).kind, Kind::inserted);
}

TEST_P(StoreLimits, ABatchThatDoesNotFitIsRefusedWhole) {
  set(*store_, "q", {.max_pending = 2});
  auto results =
      store_->tasks().insert(items({spec(), spec(), spec()}), InsertMode::all_or_nothing);
  EXPECT_THAT(kinds(results), ElementsAre(Kind::inserted, Kind::inserted, Kind::queue_full));
  EXPECT_THAT(results, Each(testing::Field(&InsertResult::key, TaskKey{})));
  EXPECT_EQ(queue("q").pending, 0);
  insert_many(2, spec());
}

TEST_P(StoreLimits, ScheduledTasksCountAndRunningOnesDoNot) {
  set(*store_, "q", {.max_pending = 2});
  TaskSpec later = spec();
  later.run_at = clock_.now() + 1h;
  insert(later);
  insert(spec());
  EXPECT_EQ(insert_item({spec()}).kind, Kind::queue_full);
  claim_one();
  EXPECT_EQ(insert_item({spec()}).kind, Kind::inserted);
  EXPECT_EQ(insert_item({spec()}).kind, Kind::queue_full);
}

TEST_P(StoreLimits, AReplayIsAnsweredByAFullQueue) {
  set(*store_, "q", {.max_pending = 1});
  InsertItem item = item_with_id(spec(), "mine");
  EXPECT_EQ(insert_item(item).kind, Kind::inserted);
  EXPECT_EQ(insert_item(item).kind, Kind::replayed);
  EXPECT_EQ(insert_item(item_with_id(spec(), "other")).kind, Kind::queue_full);
  cancel(task(store_->reader().resolve("mine").value()).key);
  EXPECT_EQ(insert_item(item_with_id(spec(), "other")).kind, Kind::inserted) << "no key was kept";
}

TEST_P(StoreLimits, ConcurrentInsertsFillItExactly) {
  set(*store_, "q", {.max_pending = 100});
  std::vector<std::jthread> threads;
  for (int n = 0; n < 4; ++n)
    threads.emplace_back([&, n] {
      for (int i = 0; i < 20; ++i)
        store_->tasks().insert(items({spec(), spec(), spec()}),
                               n % 2 ? InsertMode::per_item : InsertMode::all_or_nothing);
    });
  threads.clear();
  EXPECT_LE(queue("q").pending, 100);
  EXPECT_GT(queue("q").pending, 97);
  while (insert_item({spec()}).kind == Kind::inserted) {
  }
  EXPECT_EQ(queue("q").pending, 100);
}

TEST_P(StoreLimits, ALargeInputIsRefused) {
  set(*store_, "q", {.max_input_bytes = 4});
  TaskSpec fits = spec(), too_large = spec();
  fits.input = "1234";
  too_large.input = "12345";
  auto results = store_->tasks().insert(items({too_large, fits}), InsertMode::per_item);
  EXPECT_THAT(kinds(results), ElementsAre(Kind::input_too_large, Kind::inserted));
  EXPECT_EQ(results[0].limit, 4);
}

TEST_P(StoreLimits, ASessionGetsNoMoreThanTheConcurrency) {
  set(*store_, "q", {.concurrency = 2});
  insert_many(4, spec());
  auto first = claim();
  EXPECT_EQ(first.size(), 2u);
  EXPECT_THAT(claim(), IsEmpty());
  SessionId other = store_->fleet().open_session("other", "{}");
  ClaimRequest theirs = request(1);
  theirs.session = other;
  EXPECT_EQ(store_->tasks().claim(theirs).tasks.size(), 1u) << "it holds for each worker";
  finish(first[0], Outcome::complete("1"));
  EXPECT_EQ(claim().size(), 1u);
  EXPECT_THAT(claim(), IsEmpty());
}

TEST_P(StoreLimits, ALimitHoldsOnlyItsQueue) {
  set(*store_, "q", {.concurrency = 1});
  insert_many(3, spec());
  insert_many(3, spec("t", "free"));
  ClaimRequest both = request();
  both.queues = {{"q", 5}, {"free", 5}};
  EXPECT_EQ(store_->tasks().claim(both).tasks.size(), 4u);
}

TEST_P(StoreLimits, RoomIsSharedByTheNamesOfAnActor) {
  insert_many(2, spec("t"));
  insert_many(2, spec("alias"));
  ClaimRequest capped = request();
  capped.types = types({"t", "alias"});
  capped.room = {{{"t", "alias"}, 3}};
  EXPECT_EQ(store_->tasks().claim(capped).tasks.size(), 3u);
}

TEST_P(StoreLimits, AnEndInALimitedQueueIsNewsForWhoLooksForWork) {
  set(*store_, "q", {.concurrency = 1});
  insert_many(2, spec());
  for (bool completes : {true, false}) {
    ClaimedTask running = claim_one();
    uint64_t start = store_->changes().position();
    finish(running, completes ? Outcome::complete("1") : Outcome::fail({"k", "m", {}}, false));
    ChangeBatch news =
        store_->changes().wait(start, Changes::Interest::work, Deadline::after(kPatience));
    EXPECT_THAT(news.queues, Contains("q"));
  }
}

TEST_P(StoreLimits, AHigherLimitIsNewsForWhoLooksForWork) {
  set(*store_, "q", {.concurrency = 1});
  insert_many(2, spec());
  claim_one();
  uint64_t start = store_->changes().position();
  set(*store_, "q", {.concurrency = kUnlimited});
  ChangeBatch news =
      store_->changes().wait(start, Changes::Interest::work, Deadline::after(kPatience));
  EXPECT_THAT(news.queues, Contains("q"));
  claim_one();
}

TEST_P(StoreLimits, WhatWasChosenWinsOverTheConfiguration) {
  set(*store_, "q", {}, {.max_pending = 1});
  insert(spec());
  EXPECT_EQ(insert_item({spec()}).kind, Kind::queue_full);
  set(*store_, "q", {.max_pending = 2}, {.max_pending = 1});
  EXPECT_EQ(insert_item({spec()}).kind, Kind::inserted);
  EXPECT_EQ(insert_item({spec()}).kind, Kind::queue_full);
  set(*store_, "q", {.max_pending = kUnlimited}, {.max_pending = 1});
  EXPECT_EQ(insert_item({spec()}).kind, Kind::inserted);
  EXPECT_EQ(queue("q").limits.chosen.max_pending, kUnlimited);
  EXPECT_EQ(queue("q").limits.configured.max_pending, 1);
}

TEST_P(StoreLimits, AQueueWithALimitIsListedUntilNothingIsSet) {
  set(*store_, "new", {.concurrency = 3});
  auto listed = [&] {
    std::vector<std::string> names;
    for (const QueueStats& stats : store_->reader().queues()) names.push_back(stats.name);
    return names;
  };
  EXPECT_THAT(listed(), Contains("new"));
  EXPECT_EQ(queue("new").limits.chosen.concurrency, 3);
  set(*store_, "new", {});
  EXPECT_THAT(listed(), Not(Contains("new")));
}

TEST_P(StoreLimits, ActorLimitsReachTheSessions) {
  store_->fleet().announce_actors({{.type = "t", .kind = "exec", .concurrency = 8}});
  uint64_t start = store_->changes().position();
  store_->tasks().change_settings([](Settings& settings) { settings.actor_concurrency["t"] = 2; });
  ChangeBatch news =
      store_->changes().wait(start, Changes::Interest::work, Deadline::after(kPatience));
  EXPECT_THAT(news.sessions, Contains(session_));
  EXPECT_THAT(store_->fleet().renew(session_, {}).actor_concurrency, ElementsAre(Pair("t", 2)));
  CatalogueEntry entry = store_->fleet().catalogue().at(0);
  EXPECT_EQ(entry.concurrency, 8);
  EXPECT_EQ(entry.chosen_concurrency, 2);
  EXPECT_EQ(entry.concurrency_in_force(), 2);
}

}  // namespace
}  // namespace opscore
