#include <gmock/gmock.h>

#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using testing::ElementsAre;
using Kind = InsertResult::Kind;

InsertItem with_idempotency(TaskSpec spec, const std::string& key, std::string hash) {
  spec.options.idempotency_key = key;
  UniqueKey name{UniqueKey::Kind::idempotency, spec.type, key};
  return keyed_item(std::move(spec), name, std::move(hash));
}

InsertItem adopted(TaskSpec spec, const std::string& id, const std::string& message_id) {
  InsertItem item = item_with_id(std::move(spec), id, "hash of " + message_id);
  item.keys.push_back({UniqueKey::Kind::message_id, "", message_id});
  item.message_id = message_id;
  item.origin = "raw bytes";
  item.on_conflict = InsertItem::OnConflict::derive_id;
  return item;
}

TEST_P(StoreInsert, WhatWasSubmittedCanBeRead) {
  TaskSpec all = spec("mail.send", "mail");
  all.input = R"({"to":  "a@b", "n": 1.0e2, "u": "\u00e9 é"})";
  all.priority = 7;
  all.max_attempts = 3;
  all.options.name = "a name";
  all.options.labels = {{"customer", "42"}, {"env", "test"}};
  all.options.metadata = R"({"a": [1]})";
  all.options.retry = RetryPolicy{Duration(5), Duration(50), 3, 0.5, 1.5};
  all.options.timeout = Duration(1234);
  all.options.deadline = clock_.now() + Duration(99'000);
  TaskKey key = insert(all);
  Task read = task(key);
  EXPECT_EQ(read.key, key);
  EXPECT_EQ(read.type, "mail.send");
  EXPECT_EQ(read.queue, "mail");
  EXPECT_EQ(read.input, all.input);
  EXPECT_EQ(read.priority, 7);
  EXPECT_EQ(read.max_attempts, 3);
  EXPECT_EQ(read.options, all.options);
  EXPECT_EQ(read.live, decide_submit(all, clock_.now()));
  EXPECT_EQ(read.created_at(), clock_.now());
  EXPECT_EQ(read.updated_at, clock_.now());
  EXPECT_FALSE(read.started_at || read.finished_at);
  EXPECT_EQ(read.error, ErrorInfo{});
  EXPECT_THAT(store_->reader().inputs(key), ElementsAre(all.input));
  EXPECT_TRUE(store_->reader().attempts(key).empty());
  EXPECT_TRUE(store_->reader().events(key).empty());
}

TEST_P(StoreInsert, PayloadBytesAreKeptAsTheyAre) {
  TaskSpec big = spec();
  big.input = "\"" + std::string(1 << 20, 'x') + "\\u0000\"";
  EXPECT_EQ(task(insert(big)).input, big.input);
}

TEST_P(StoreInsert, StartsAsDecided) {
  TaskSpec later = spec(), past = spec(), waiting = spec();
  later.run_at = clock_.now() + Duration(1);
  past.run_at = clock_.now() - Duration(1000);
  waiting.waiting = true;
  EXPECT_EQ(state(insert(later)), State::scheduled);
  EXPECT_EQ(state(insert(past)), State::pending);
  EXPECT_EQ(state(insert(waiting)), State::waiting);
  EXPECT_EQ(state(insert(spec())), State::pending);
}

TEST_P(StoreInsert, KeysGrowAlsoWhenTheClockStepsBack) {
  TaskKey first = insert(spec());
  clock_.jump(Duration(-60'000));
  auto more = insert_many(5000, spec());
  EXPECT_LT(first, more.front());
  EXPECT_TRUE(std::is_sorted(more.begin(), more.end()));
  EXPECT_EQ(std::adjacent_find(more.begin(), more.end()), more.end());
}

TEST_P(StoreInsert, AnEmptyBatchIsNothing) {
  EXPECT_TRUE(store_->tasks().insert({}, InsertMode::all_or_nothing).empty());
}

TEST_P(StoreInsert, TheSameRequestIsReplayed) {
  InsertResult first = insert_item(with_idempotency(spec(), "k", "h"));
  InsertResult again = insert_item(with_idempotency(spec(), "k", "h"));
  EXPECT_EQ(first.kind, Kind::inserted);
  EXPECT_EQ(again.kind, Kind::replayed);
  EXPECT_EQ(again.key, first.key);
  EXPECT_EQ(again.state, State::pending);
  EXPECT_EQ(claim().size(), 1u);
  EXPECT_EQ(insert_item(with_idempotency(spec(), "k", "h")).state, State::running);
}

TEST_P(StoreInsert, AReplayOfAFinishedTaskSaysSo) {
  TaskKey key = insert_item(with_idempotency(spec(), "k", "h")).key;
  finish(claim_one(), Outcome::complete("1"));
  InsertResult again = insert_item(with_idempotency(spec(), "k", "h"));
  EXPECT_EQ(again.kind, Kind::replayed);
  EXPECT_EQ(again.key, key);
  EXPECT_EQ(again.state, State::completed);
}

TEST_P(StoreInsert, AnotherRequestWithTheKeyIsAConflict) {
  InsertResult first = insert_item(with_idempotency(spec(), "k", "h"));
  InsertResult other = insert_item(with_idempotency(spec(), "k", "other"));
  EXPECT_EQ(other.kind, Kind::conflict);
  EXPECT_EQ(other.key, first.key);
  EXPECT_EQ(other.conflicting.kind, UniqueKey::Kind::idempotency);
  EXPECT_EQ(other.conflicting.key, "k");
  EXPECT_EQ(claim().size(), 1u);
}

TEST_P(StoreInsert, KeysOfOtherScopesAndKindsDoNotClash) {
  insert_item(with_idempotency(spec("a"), "k", "h1"));
  EXPECT_EQ(insert_item(with_idempotency(spec("b"), "k", "h2")).kind, Kind::inserted);
  EXPECT_EQ(insert_item(item_with_id(spec(), "k", "h3")).kind, Kind::inserted);
}

TEST_P(StoreInsert, RefuseMakesAnyTakenKeyAConflict) {
  insert_item(item_with_id(spec(), "mine"));
  InsertItem same = item_with_id(spec(), "mine");
  same.on_conflict = InsertItem::OnConflict::refuse;
  EXPECT_EQ(insert_item(same).kind, Kind::conflict);
}

TEST_P(StoreInsert, OwnIdsResolve) {
  TaskKey key = insert_item(item_with_id(spec(), "order:4711")).key;
  EXPECT_EQ(store_->reader().resolve("order:4711"), key);
  EXPECT_EQ(store_->reader().resolve(store_->ids().encode(key)), key);
  EXPECT_EQ(store_->id_of(task(key)), "order:4711");
  EXPECT_EQ(store_->reader().resolve("order:4712"), std::nullopt);
  EXPECT_EQ(store_->reader().resolve(""), std::nullopt);
}

TEST_P(StoreInsert, AllOrNothingMeansNothingAfterOneConflict) {
  insert_item(item_with_id(spec(), "taken", "h"));
  std::vector<InsertItem> items{item_with_id(spec(), "new"), item_with_id(spec(), "taken", "x"),
                                item_with_id(spec(), "newer")};
  auto results = store_->tasks().insert(items, InsertMode::all_or_nothing);
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[1].kind, Kind::conflict);
  EXPECT_NE(results[0].kind, Kind::conflict);
  EXPECT_NE(results[2].kind, Kind::conflict);
  EXPECT_EQ(claim().size(), 1u);
  EXPECT_EQ(queue("q").running, 1);
  EXPECT_EQ(queue("q").pending, 0);
  EXPECT_EQ(store_->reader().resolve("new"), std::nullopt);
  EXPECT_EQ(insert_item(item_with_id(spec(), "new", "another request")).kind, Kind::inserted);
}

TEST_P(StoreInsert, AReplayIsNotAConflictOfItsBatch) {
  insert_item(item_with_id(spec(), "a", "h"));
  std::vector<InsertItem> items{item_with_id(spec(), "a", "h"), item_with_id(spec(), "b")};
  auto results = store_->tasks().insert(items, InsertMode::all_or_nothing);
  EXPECT_EQ(results.at(0).kind, Kind::replayed);
  EXPECT_EQ(results.at(1).kind, Kind::inserted);
}

TEST_P(StoreInsert, PerItemLeavesOnlyTheConflictOut) {
  insert_item(item_with_id(spec(), "taken", "h"));
  std::vector<InsertItem> items{item_with_id(spec(), "a"), item_with_id(spec(), "taken", "x"),
                                item_with_id(spec(), "b")};
  auto results = store_->tasks().insert(items, InsertMode::per_item);
  EXPECT_EQ(results.at(0).kind, Kind::inserted);
  EXPECT_EQ(results.at(1).kind, Kind::conflict);
  EXPECT_EQ(results.at(2).kind, Kind::inserted);
  EXPECT_LT(results.at(0).key, results.at(2).key);
  EXPECT_EQ(claim().size(), 3u);
}

TEST_P(StoreInsert, DuplicatesInABatchBehaveLikeEarlierOnes) {
  std::vector<InsertItem> items{item_with_id(spec(), "a", "h"), item_with_id(spec(), "a", "h"),
                                item_with_id(spec(), "a", "other")};
  auto results = store_->tasks().insert(items, InsertMode::per_item);
  EXPECT_EQ(results.at(0).kind, Kind::inserted);
  EXPECT_EQ(results.at(1).kind, Kind::replayed);
  EXPECT_EQ(results.at(1).key, results.at(0).key);
  EXPECT_EQ(results.at(2).kind, Kind::conflict);
  EXPECT_EQ(claim().size(), 1u);
}

TEST_P(StoreInsert, ADuplicateWithinAnAtomicBatchUndoesIt) {
  std::vector<InsertItem> items{item_with_id(spec(), "a", "h"), item_with_id(spec(), "a", "x")};
  auto results = store_->tasks().insert(items, InsertMode::all_or_nothing);
  EXPECT_EQ(results.at(1).kind, Kind::conflict);
  EXPECT_TRUE(claim().empty());
  EXPECT_EQ(store_->reader().resolve("a"), std::nullopt);
}

TEST_P(StoreInsert, AnAdoptedMessageKeepsItsIdWhenItIsFree) {
  InsertResult first = insert_item(adopted(spec(), "m-1", "m-1"));
  EXPECT_EQ(first.kind, Kind::inserted);
  EXPECT_EQ(store_->reader().resolve("m-1"), first.key);
}

TEST_P(StoreInsert, AnAdoptedMessageWithATakenIdGetsADerivedOne) {
  insert_item(item_with_id(spec(), "m-1"));
  InsertResult second = insert_item(adopted(spec(), "m-1", "m-1"));
  EXPECT_EQ(second.kind, Kind::inserted);
  std::string derived = derived_task_id("m-1");
  EXPECT_EQ(store_->reader().resolve(derived), second.key);
  EXPECT_EQ(task(second.key).options.id, derived);
  EXPECT_EQ(insert_item(adopted(spec(), "m-1", "m-1")).kind, Kind::replayed);
  EXPECT_EQ(insert_item(adopted(spec(), "m-1", "m-1")).key, second.key);
}

TEST_P(StoreInsert, RemovalFreesTheKeys) {
  TaskKey key = insert_item(item_with_id(spec(), "again", "h")).key;
  EXPECT_EQ(store_->tasks().remove(std::vector{key}), 1u);
  EXPECT_EQ(store_->reader().resolve("again"), std::nullopt);
  EXPECT_EQ(insert_item(item_with_id(spec(), "again", "other")).kind, Kind::inserted);
}

}  // namespace
}  // namespace opscore
