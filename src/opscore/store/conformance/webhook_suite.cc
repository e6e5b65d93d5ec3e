// Webhooks: however a task ends, its row is in the outbox from that moment on.

#include <gmock/gmock.h>

#include "opscore/model/decide.h"
#include "opscore/model/webhook.h"
#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

TaskSpec hooked() {
  TaskSpec task;
  task.type = "t";
  task.queue = "q";
  task.options.webhook = Webhook{"https://example.com/", {{"X-A", "b"}}, "secret"};
  return task;
}

TEST_P(StoreWebhook, IsKeptWithTheTask) {
  TaskKey key = insert(hooked());
  EXPECT_EQ(task(key).options.webhook, hooked().options.webhook);
  EXPECT_EQ(claim_one().options.webhook, hooked().options.webhook);
  EXPECT_THAT(rows(), IsEmpty());
}

TEST_P(StoreWebhook, ATaskWithoutOneTellsNobody) {
  complete_one(spec());
  EXPECT_THAT(rows(), IsEmpty());
}

TEST_P(StoreWebhook, CompletingTells) {
  TaskKey key = complete_one(hooked());
  EXPECT_THAT(ends(), ElementsAre(TaskEnd{key, 1, State::completed}));
}

TEST_P(StoreWebhook, FailingTellsAfterTheLastAttemptOnly) {
  TaskSpec twice = hooked();
  twice.max_attempts = 2;
  twice.options.retry = retry_at_once();
  TaskKey key = insert(twice);
  finish(claim_one(), Outcome::fail({"k", "m", ""}));
  EXPECT_THAT(rows(), IsEmpty());
  ClaimedTask last = claim_one();
  Plan plan = plan_finish(last, Outcome::fail({"k", "m", ""}));
  EXPECT_EQ(apply(plan), Applied::applied);
  EXPECT_EQ(apply(plan), Applied::already_applied);
  EXPECT_THAT(ends(), ElementsAre(TaskEnd{key, 2, State::failed}));
}

TEST_P(StoreWebhook, CancellingTells) {
  TaskKey waiting = insert(hooked());
  cancel(waiting);
  EXPECT_THAT(ends(), ElementsAre(TaskEnd{waiting, 0, State::cancelled}));
}

TEST_P(StoreWebhook, ACancelWhileItRunsTellsWhenItHasEnded) {
  TaskKey key = insert(hooked());
  ClaimedTask claimed = claim_one();
  cancel(key);
  EXPECT_THAT(rows(), IsEmpty());
  finish(claimed, Outcome::fail({"k", "m", ""}));  // would be tried again
  EXPECT_THAT(ends(), ElementsAre(TaskEnd{key, 1, State::cancelled}));
}

TEST_P(StoreWebhook, ExpiringTells) {
  TaskSpec late = hooked();
  late.options.deadline = clock_.now() + 10ms;
  TaskKey key = insert(late);
  clock_.advance(10ms);
  store_->tasks().expire(10);
  EXPECT_THAT(ends(), ElementsAre(TaskEnd{key, 0, State::failed}));
}

TEST_P(StoreWebhook, ALossThatEndsTheTaskTells) {
  TaskSpec once = hooked();
  once.max_attempts = 1;
  TaskKey key = insert(once);
  claim_one();
  store_->tasks().rescue(lost_session(session_, LostSession::Cause::crashed));
  EXPECT_THAT(ends(), ElementsAre(TaskEnd{key, 1, State::failed}));
}

TEST_P(StoreWebhook, EveryEndTellsAnew) {
  TaskKey key = complete_one(hooked());
  retry(key);
  finish(claim_one(), Outcome::complete("2"));
  EXPECT_THAT(ends(),
              ElementsAre(TaskEnd{key, 1, State::completed}, TaskEnd{key, 2, State::completed}));
}

TEST_P(StoreWebhook, ATryIsAnEventAndMovesTheRow) {
  TaskKey key = complete_one(hooked());
  OutboxTry tried;
  tried.row = rows().at(0).id;
  tried.again = 50ms;
  tried.properties = R"({"tries":1})";
  tried.task = key;
  tried.event = {0, clock_.now(), "webhook_failed", 1, R"({"try":1})"};
  store_->outbox().record(tried);
  EXPECT_THAT(event_kinds(key), ElementsAre("webhook_failed"));
  EXPECT_THAT(rows(), IsEmpty());
  clock_.advance(50ms);
  ASSERT_EQ(rows().size(), 1u);
  EXPECT_EQ(rows()[0].properties, R"({"tries":1})");
  tried.again.reset();
  tried.event.kind = "webhook_delivered";
  store_->outbox().record(tried);
  EXPECT_THAT(rows(), IsEmpty());
  store_->outbox().record(tried);  // its row is settled: the answer to the first try was lost
  EXPECT_THAT(event_kinds(key), ElementsAre("webhook_failed", "webhook_delivered"));
  EXPECT_EQ(store_->reader().events(key).at(1).number, 2);
}

TEST_P(StoreWebhook, ATryOfADeletedTaskIsSettled) {
  TaskKey key = complete_one(hooked());
  OutboxTry tried;
  tried.row = rows().at(0).id;
  tried.task = key;
  tried.event = {0, clock_.now(), "webhook_delivered", 1, ""};
  store_->tasks().remove(std::span(&key, 1));
  store_->outbox().record(tried);
  EXPECT_THAT(rows(), IsEmpty());
  EXPECT_THAT(event_kinds(key), IsEmpty());
}

TEST_P(StoreWebhook, ARowNamesItsReceiverWhichCanBeLeftOut) {
  TaskKey key = complete_one(hooked());
  TaskSpec other = hooked();
  other.options.webhook->url = "http://other.example:81/x?y";
  complete_one(other);
  auto due = store_->outbox().due(OutboxRow::Kind::effect, 10, {"http://other.example:81"});
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].destination, "https://example.com");
  EXPECT_EQ(decode_webhook_row(due[0]).task, key);
}

TEST_P(StoreWebhook, WhatIsDueForLongestComesFirst) {
  TaskKey first = complete_one(hooked());
  OutboxTry tried;
  tried.row = rows().at(0).id;
  tried.again = 20ms;
  tried.task = first;
  tried.event = {0, clock_.now(), "webhook_failed", 1, ""};
  store_->outbox().record(tried);
  clock_.advance(10ms);
  TaskKey second = complete_one(hooked());
  clock_.advance(20ms);
  EXPECT_THAT(ends(), ElementsAre(TaskEnd{second, 1, State::completed},
                                  TaskEnd{first, 1, State::completed}));
}

}  // namespace

std::vector<OutboxRow> StoreWebhook::rows() {
  return store_->outbox().due(OutboxRow::Kind::effect, 10);
}

std::vector<TaskEnd> StoreWebhook::ends() {
  std::vector<TaskEnd> ends;
  for (const OutboxRow& row : rows()) ends.push_back(decode_webhook_row(row));
  return ends;
}

std::vector<std::string> StoreWebhook::event_kinds(TaskKey key) {
  std::vector<std::string> kinds;
  for (const TaskEvent& event : store_->reader().events(key)) kinds.push_back(event.kind);
  return kinds;
}

}  // namespace opscore
