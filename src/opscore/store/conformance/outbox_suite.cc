#include <gmock/gmock.h>

#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

// "queue*count" of every due row, which is then settled.
std::vector<std::string> take_tokens(Outbox& outbox) {
  std::vector<std::string> tokens;
  std::vector<int64_t> ids;
  for (const OutboxRow& row : outbox.due(OutboxRow::Kind::token, 1000)) {
    tokens.push_back(row.destination + "*" + row.body);
    ids.push_back(row.id);
  }
  outbox.settle(ids);
  return tokens;
}

OutboxRow effect(const std::string& destination, TimePoint not_before = {}) {
  OutboxRow row;
  row.kind = OutboxRow::Kind::effect;
  row.destination = destination;
  row.body = R"({"b": 1})";
  row.properties = R"({"p": 1})";
  row.not_before = not_before;
  return row;
}

TEST_P(StoreOutbox, TokensCoalescePerTransactionAndQueue) {
  TaskSpec later = spec();
  later.run_at = clock_.now() + 1h;
  std::vector<InsertItem> items(6);
  for (InsertItem& item : items) item.spec = spec();
  items[4].spec = spec("t", "mail");
  items[5].spec = later;
  store_->tasks().insert(std::move(items), InsertMode::all_or_nothing);
  EXPECT_THAT(take_tokens(store_->outbox()), testing::UnorderedElementsAre("q*4", "mail*1"));
  EXPECT_THAT(take_tokens(store_->outbox()), IsEmpty());
}

TEST_P(StoreOutbox, ATokenIsDueWhateverTheClockSays) {
  insert(spec());
  clock_.jump(-1h);
  EXPECT_THAT(take_tokens(store_->outbox()), ElementsAre("q*1"));
}

TEST_P(StoreOutbox, WhateverBecomesDueIsAnnounced) {
  TaskSpec later = spec();
  later.run_at = clock_.now() + 10ms;
  TaskKey key = insert(later);
  EXPECT_THAT(take_tokens(store_->outbox()), IsEmpty());
  clock_.advance(10ms);
  store_->tasks().promote(10);
  EXPECT_THAT(take_tokens(store_->outbox()), ElementsAre("q*1"));
  ClaimedTask claimed = claim_one();
  Outcome back;
  back.kind = Outcome::Kind::handed_back;
  finish(claimed, back);
  EXPECT_THAT(take_tokens(store_->outbox()), ElementsAre("q*1"));
  claim_one();
  EXPECT_THAT(take_tokens(store_->outbox()), IsEmpty());
  store_->tasks().rescue(lost_session(session_, LostSession::Cause::gone));
  EXPECT_THAT(take_tokens(store_->outbox()), ElementsAre("q*1"));
  cancel(key);
  EXPECT_THAT(take_tokens(store_->outbox()), IsEmpty());
  retry(key);
  EXPECT_THAT(take_tokens(store_->outbox()), ElementsAre("q*1"));
}

TEST_P(StoreOutbox, ResumeAnnouncesAgain) {
  insert_many(3, spec());
  store_->tasks().set_paused("q", true);
  take_tokens(store_->outbox());
  store_->tasks().set_paused("q", false);
  EXPECT_THAT(take_tokens(store_->outbox()), ElementsAre("q*3"));
}

TEST_P(StoreOutbox, ABatchThatWasNotInsertedAnnouncesNothing) {
  insert_item(item_with_id(spec(), "taken", "h"));
  take_tokens(store_->outbox());
  std::vector<InsertItem> items{item_with_id(spec(), "new"), item_with_id(spec(), "taken", "x")};
  store_->tasks().insert(items, InsertMode::all_or_nothing);
  EXPECT_THAT(store_->outbox().due(OutboxRow::Kind::token, 10), IsEmpty());
}

TEST_P(StoreOutbox, RowsOfAPlanAreWrittenWithItOrNotAtAll) {
  insert(spec());
  take_tokens(store_->outbox());
  Plan plan = plan_finish(claim_one(), Outcome::complete("1"));
  plan.outbox = {effect("first"), effect("second")};
  EXPECT_EQ(apply(plan), Applied::applied);
  EXPECT_EQ(apply(plan), Applied::already_applied);
  auto rows = store_->outbox().due(OutboxRow::Kind::effect, 10);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_LT(rows[0].id, rows[1].id);
  EXPECT_EQ(rows[0].kind, OutboxRow::Kind::effect);
  EXPECT_EQ(rows[0].destination, "first");
  EXPECT_EQ(rows[0].body, R"({"b": 1})");
  EXPECT_EQ(rows[0].properties, R"({"p": 1})");
  EXPECT_EQ(rows[1].destination, "second");
}

TEST_P(StoreOutbox, RowsStayUntilSettled) {
  insert(spec());
  take_tokens(store_->outbox());
  Plan plan = plan_finish(claim_one(), Outcome::complete("1"));
  plan.outbox = {effect("a"), effect("b"), effect("c")};
  apply(plan);
  auto rows = store_->outbox().due(OutboxRow::Kind::effect, 2);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].destination, "a");
  EXPECT_EQ(store_->outbox().due(OutboxRow::Kind::effect, 10).size(), 3u);
  store_->outbox().settle(std::vector{rows[0].id, int64_t{999'999}});
  rows = store_->outbox().due(OutboxRow::Kind::effect, 10);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].destination, "b");
}

TEST_P(StoreOutbox, RowsWaitForTheirTime) {
  insert(spec());
  take_tokens(store_->outbox());
  Plan plan = plan_finish(claim_one(), Outcome::complete("1"));
  plan.outbox = {effect("later", clock_.now() + 100ms)};
  apply(plan);
  EXPECT_THAT(store_->outbox().due(OutboxRow::Kind::effect, 10), IsEmpty());
  clock_.advance(100ms);
  auto rows = store_->outbox().due(OutboxRow::Kind::effect, 10);
  ASSERT_EQ(rows.size(), 1u);
}

TEST_P(StoreReader, WithoutABrokerNothingIsAnnounced) {
  insert(spec());
  EXPECT_THAT(store_->outbox().due(OutboxRow::Kind::token, 10), IsEmpty());
}

}  // namespace
}  // namespace opscore
