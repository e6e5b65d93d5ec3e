// Tasks that were adopted from messages of Dramatiq: the message is kept, and whatever is to be
// told of an end is in the outbox from that moment on.

#include <gmock/gmock.h>

#include "opscore/model/decide.h"
#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

TaskSpec adopted_spec(Adopted adopted = {}) {
  TaskSpec task;
  task.type = "t";
  task.queue = "q";
  task.options.retry = retry_at_once();
  if (adopted.queue.empty()) adopted.queue = "foreign";
  task.options.adopted = adopted;
  return task;
}

InsertItem message(TaskSpec spec, const std::string& id, const std::string& wanted_id) {
  spec.options.id = wanted_id;
  InsertItem item;
  item.spec = std::move(spec);
  item.message_id = id;
  item.origin = std::string("raw \0 \xff bytes", 13);
  item.request_hash = "hash of " + id;
  item.keys = {{UniqueKey::Kind::message_id, "", id}, {UniqueKey::Kind::task_id, "", wanted_id}};
  item.on_conflict = InsertItem::OnConflict::derive_id;
  return item;
}

Outcome failure() {
  return Outcome::fail({"k", "m", ""});
}

TEST_P(StoreAdoption, TheMessageIsKeptByteForByte) {
  InsertResult result = insert_item(message(adopted_spec({"foreign", true, true, ""}), "m", "own"));
  auto origin = store_->reader().origin(result.key);
  ASSERT_TRUE(origin);
  EXPECT_EQ(origin->message_id, "m");
  EXPECT_EQ(origin->body, std::string("raw \0 \xff bytes", 13));
  EXPECT_EQ(task(result.key).options.adopted, (Adopted{"foreign", true, true, ""}));
  EXPECT_EQ(claim_one().options.adopted, (Adopted{"foreign", true, true, ""}));
}

TEST_P(StoreAdoption, OtherTasksHaveNone) {
  EXPECT_EQ(store_->reader().origin(insert(spec())), std::nullopt);
  EXPECT_EQ(store_->reader().origin(TaskKey{12345}), std::nullopt);
}

TEST_P(StoreAdoption, TheMessageGoesWithItsTask) {
  TaskKey key = insert_item(message(adopted_spec(), "m", "own")).key;
  store_->tasks().remove(std::span(&key, 1));
  EXPECT_EQ(store_->reader().origin(key), std::nullopt);
}

TEST_P(StoreAdoption, TheIdThatWasNotFreeIsKept) {
  insert_item(item_with_id(spec(), "taken"));
  TaskSpec wanting = adopted_spec();
  wanting.options.metadata = R"({"a": 1})";
  Task read = task(insert_item(message(wanting, "m", "taken")).key);
  EXPECT_EQ(read.options.id, derived_task_id("m"));
  EXPECT_EQ(read.options.adopted->wanted_id, "taken");
  EXPECT_EQ(read.options.metadata, R"({"a": 1,"dramatiq_task_id":"taken"})");
}

TEST_P(StoreAdoption, SuccessTellsWhenItIsAskedFor) {
  complete_one(adopted_spec());
  EXPECT_THAT(rows(), IsEmpty());
  TaskKey key = complete_one(adopted_spec({"foreign", true, false, ""}));
  EXPECT_THAT(ends(), ElementsAre(AdoptedEnd{key, 1, 1, State::completed, false, false}));
  EXPECT_EQ(rows().at(0).destination, "foreign");
}

TEST_P(StoreAdoption, WhatTheResultsBackendIsToldOfCanWaitForItAlone) {
  Adopted with_result{"foreign", false, false, "", true, false};
  complete_one(adopted_spec(with_result));
  Adopted of_group{"foreign", false, false, "", false, true};
  EXPECT_EQ(task(complete_one(adopted_spec(of_group))).options.adopted, of_group);
  const std::string apart = std::string("foreign") + kWithResults;
  ASSERT_EQ(rows().size(), 2u);
  for (const OutboxRow& row : rows()) EXPECT_EQ(row.destination, apart);
  EXPECT_THAT(store_->outbox().due(OutboxRow::Kind::amqp, 10, {apart}), IsEmpty());
}

TEST_P(StoreAdoption, OfAFailureOnlyTheResultIsTold) {
  for (const bool result : {true, false}) {
    TaskSpec once = adopted_spec({"foreign", false, false, "", result, true});
    once.max_attempts = 1;
    insert(once);
    finish(claim_one(), failure());
  }
  ASSERT_EQ(rows().size(), 2u);
  EXPECT_EQ(rows()[0].destination, std::string("foreign") + kWithResults);
  EXPECT_EQ(rows()[1].destination, "foreign");
}

TEST_P(StoreAdoption, EveryFailureTellsWhenItIsAskedForAndTheLastOneAnyway) {
  TaskSpec twice = adopted_spec({"foreign", false, true, ""});
  twice.max_attempts = 2;
  TaskKey key = insert(twice);
  finish(claim_one(), failure());
  EXPECT_THAT(ends(), ElementsAre(AdoptedEnd{key, 1, 1, State::pending, true, false}));
  ClaimedTask last = claim_one();
  Plan plan = plan_finish(last, failure());
  EXPECT_EQ(apply(plan), Applied::applied);
  EXPECT_EQ(apply(plan), Applied::already_applied);
  EXPECT_THAT(ends(), ElementsAre(AdoptedEnd{key, 1, 1, State::pending, true, false},
                                  AdoptedEnd{key, 2, 2, State::failed, true, true}));
}

TEST_P(StoreAdoption, TheLastFailureTells) {
  TaskSpec twice = adopted_spec();
  twice.max_attempts = 2;
  TaskKey key = insert(twice);
  finish(claim_one(), failure());
  EXPECT_THAT(rows(), IsEmpty());
  finish(claim_one(), Outcome::fail({"k", "m", ""}, false));
  EXPECT_THAT(ends(), ElementsAre(AdoptedEnd{key, 2, 2, State::failed, true, false}));
}

TEST_P(StoreAdoption, ADeadlineTells) {
  TaskSpec late = adopted_spec();
  late.options.deadline = clock_.now() + 10ms;
  TaskKey key = insert(late);
  clock_.advance(10ms);
  store_->tasks().expire(10);
  EXPECT_THAT(ends(), ElementsAre(AdoptedEnd{key, 0, 0, State::failed, false, false}));
}

TEST_P(StoreAdoption, ALossThatEndsTheTaskTells) {
  TaskSpec once = adopted_spec();
  once.max_attempts = 1;
  TaskKey key = insert(once);
  claim_one();
  store_->tasks().rescue(lost_session(session_, LostSession::Cause::crashed));
  EXPECT_THAT(ends(), ElementsAre(AdoptedEnd{key, 1, 1, State::failed, true, true}));
}

TEST_P(StoreAdoption, CancellingTellsNobody) {
  cancel(insert(adopted_spec({"foreign", true, true, ""})));
  TaskKey running = insert(adopted_spec({"foreign", true, true, ""}));
  ClaimedTask claimed = claim_one();
  cancel(running);
  finish(claimed, failure());
  EXPECT_EQ(state(running), State::cancelled);
  EXPECT_THAT(rows(), IsEmpty());
}

TEST_P(StoreAdoption, RowsOfNoTaskAreAddedAndDueInTheirTime) {
  OutboxRow now{0, OutboxRow::Kind::amqp, "q", "body", "{}", clock_.now()};
  OutboxRow later = now;
  later.body = "later";
  later.not_before = clock_.now() + 5s;
  store_->outbox().add({later, now});
  store_->outbox().add({});
  ASSERT_EQ(rows().size(), 1u);
  EXPECT_EQ(rows()[0].body, "body");
  EXPECT_EQ(rows()[0].properties, "{}");
  store_->outbox().settle(std::vector{rows()[0].id});
  clock_.advance(5s);
  ASSERT_EQ(rows().size(), 1u);
  EXPECT_EQ(rows()[0].body, "later");
  EXPECT_FALSE(is_adopted_row(rows()[0]));
}

}  // namespace

std::vector<OutboxRow> StoreAdoption::rows() {
  return store_->outbox().due(OutboxRow::Kind::amqp, 10);
}

std::vector<AdoptedEnd> StoreAdoption::ends() {
  std::vector<AdoptedEnd> ends;
  for (const OutboxRow& row : rows()) {
    EXPECT_TRUE(is_adopted_row(row));
    ends.push_back(decode_adopted_row(row));
  }
  return ends;
}

}  // namespace opscore
