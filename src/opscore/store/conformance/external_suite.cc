// Tasks that somebody outside runs: handed over once, never claimed, and mirrored by reports.

#include <gmock/gmock.h>

#include "opscore/model/error_kind.h"
#include "opscore/model/limits.h"
#include "opscore/store/conformance/store_conformance.h"

namespace opscore {

// Announcing, so that tokens would be seen.
StoreExternal::StoreExternal() {
  store_.reset();
  store_ = GetParam().open_announcing(clock_, random_);
  session_ = store_->fleet().open_session("test worker", "{}");
}

TaskSpec StoreExternal::external_spec() {
  TaskSpec external = spec();
  external.options.dramatiq = R"({"max_retries":3})";
  external.max_attempts = kUnlimitedAttempts;
  return external;
}

bool StoreExternal::report(TaskKey key, Report::Kind kind, int attempt) {
  Report report;
  report.kind = kind;
  report.attempt = attempt;
  report.at = clock_.now();
  report.worker = "host:1";
  report.result = "42";
  report.error = {"ValueError", "boom", "Traceback"};
  report.next_at = clock_.now() + std::chrono::seconds(15);
  Mirrored mirrored = decide_report(task(key), report);
  for (Applied applied : store_->tasks().apply(mirrored.plans))
    EXPECT_EQ(applied, Applied::applied);
  return mirrored.heard == Heard::news;
}

std::vector<Handover> StoreExternal::handovers() {
  std::vector<Handover> found;
  for (const OutboxRow& row : store_->outbox().due(OutboxRow::Kind::amqp, 100)) {
    EXPECT_EQ(row.destination, handover_destination("q"));
    found.push_back(decode_handover(row).value());
  }
  return found;
}

namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

TEST_P(StoreExternal, IsHandedOverAndNeverClaimed) {
  TaskKey key = insert(external_spec());
  EXPECT_EQ(state(key), State::pending);
  EXPECT_FALSE(task(key).live.claimable());
  EXPECT_EQ(task(key).options.dramatiq, R"({"max_retries":3})");
  EXPECT_THAT(handovers(), ElementsAre(Handover{key, 0}));
  EXPECT_THAT(store_->outbox().due(OutboxRow::Kind::token, 10), IsEmpty());
  ClaimRequest of_all = request();
  EXPECT_THAT(store_->tasks().claim(of_all).tasks, IsEmpty());
  of_all.types = types({"other"});
  ClaimResult skipped = store_->tasks().claim(of_all);
  EXPECT_THAT(skipped.tasks, IsEmpty());
  EXPECT_THAT(skipped.skipped_types, IsEmpty());
  EXPECT_EQ(queue("q").pending, 1);
  EXPECT_FALSE(queue("q").oldest_pending_at);
}

TEST_P(StoreExternal, StandsInNobodysWay) {
  insert(external_spec());
  TaskKey own = insert(spec());
  insert(external_spec());
  EXPECT_EQ(claim_one().key, own);
}

TEST_P(StoreExternal, ABatchThatIsRefusedHandsNothingOver) {
  insert_item(item_with_id(spec(), "taken", "h"));
  std::vector<InsertItem> items{item_with_id(external_spec(), "new"),
                                item_with_id(external_spec(), "taken", "x")};
  store_->tasks().insert(items, InsertMode::all_or_nothing);
  EXPECT_THAT(handovers(), IsEmpty());
}

TEST_P(StoreExternal, BecomesPendingInItsTimeAndNobodyIsTold) {
  TaskSpec later = external_spec();
  later.run_at = clock_.now() + 10ms;
  TaskKey key = insert(later);
  EXPECT_EQ(state(key), State::scheduled);
  EXPECT_EQ(handovers().size(), 1u) << "at once: Python keeps it until then";
  EXPECT_EQ(store_->tasks().promote(10).next_due_at, later.run_at);
  EXPECT_FALSE(store_->tasks().claim(request()).next_due_at);
  clock_.advance(10ms);
  EXPECT_EQ(store_->tasks().promote(10).tasks, 1u);
  EXPECT_EQ(state(key), State::pending);
  EXPECT_THAT(store_->outbox().due(OutboxRow::Kind::token, 10), IsEmpty());
  EXPECT_THAT(claim(), IsEmpty());
}

TEST_P(StoreExternal, ItsDeadlineIsPythonsToKeep) {
  TaskSpec spec = external_spec();
  spec.options.deadline = clock_.now() + 10ms;
  TaskKey key = insert(spec);
  clock_.advance(1s);
  EXPECT_EQ(store_->tasks().expire(10), 0u);
  EXPECT_EQ(state(key), State::pending);
}

TEST_P(StoreExternal, ReportsAreMirrored) {
  TaskKey key = insert(external_spec());
  EXPECT_TRUE(report(key, Report::Kind::running));
  Task running = task(key);
  EXPECT_EQ(running.state(), State::running);
  EXPECT_EQ(running.live.attempt, 1);
  EXPECT_EQ(running.started_at, clock_.now());
  EXPECT_EQ(queue("q").running, 1);
  EXPECT_FALSE(report(key, Report::Kind::running));
  clock_.advance(5ms);
  EXPECT_TRUE(report(key, Report::Kind::retrying));
  Task retrying = task(key);
  EXPECT_EQ(retrying.state(), State::scheduled);
  EXPECT_EQ(retrying.live.run_at, clock_.now() + 15s);
  EXPECT_EQ(retrying.error.kind, "ValueError");
  EXPECT_TRUE(report(key, Report::Kind::completed, 2));
  EXPECT_EQ(task(key).result, "42");
  EXPECT_EQ(state(key), State::completed);
  auto attempts = store_->reader().attempts(key);
  ASSERT_EQ(attempts.size(), 2u);
  EXPECT_EQ(attempts[0].end, AttemptEnd::error);
  EXPECT_EQ(attempts[1].end, AttemptEnd::completed);
  EXPECT_EQ(queue("q").running, 0);
  EXPECT_EQ(queue("q").completed, 1);
  EXPECT_THAT(store_->outbox().due(OutboxRow::Kind::token, 10), IsEmpty());
  EXPECT_EQ(handovers().size(), 1u) << "Python sends its retries itself";
}

TEST_P(StoreExternal, ALostSessionIsNotItsOwner) {
  TaskKey key = insert(external_spec());
  report(key, Report::Kind::running);
  EXPECT_EQ(store_->tasks().rescue(lost_session(session_, LostSession::Cause::gone)), 0u);
  EXPECT_EQ(store_->tasks().rescue(lost_session(SessionId{}, LostSession::Cause::gone)), 0u);
  EXPECT_EQ(state(key), State::running);
}

TEST_P(StoreExternal, IsNotRemoved) {
  TaskKey pending = insert(external_spec()), running = insert(external_spec());
  report(running, Report::Kind::running);
  EXPECT_EQ(store_->tasks().remove(std::vector{pending, running}), 0u);
  for (JobAction action : {JobAction::cancel, JobAction::remove}) {
    Job job = run_job(*store_, action, of_queue("q", StateSet(State::pending)));
    EXPECT_EQ(job.counts.done, 0);
    EXPECT_EQ(job.counts.skipped["handed_to_dramatiq"], 1);
  }
  report(pending, Report::Kind::failed);
  EXPECT_EQ(store_->tasks().remove(std::vector{pending}), 1u);
}

TEST_P(StoreExternal, ARetryHandsItOverAgain) {
  TaskKey key = insert(external_spec());
  report(key, Report::Kind::failed);
  EXPECT_EQ(task(key).error.message, "boom");
  clock_.advance(1s);
  retry(key, R"({"x":2})");
  EXPECT_EQ(state(key), State::pending);
  EXPECT_FALSE(task(key).live.claimable());
  EXPECT_THAT(handovers(), ElementsAre(Handover{key, 0}, Handover{key, 1}));
  EXPECT_THAT(claim(), IsEmpty());
  EXPECT_THAT(store_->outbox().due(OutboxRow::Kind::token, 10), IsEmpty());
  report(key, Report::Kind::failed, 2);
  run_job(*store_, JobAction::retry, of_queue("q"));
  EXPECT_FALSE(task(key).live.claimable());
  EXPECT_EQ(handovers().size(), 3u);
}

TEST_P(StoreExternal, AMessageThatWasSentBackOpensItAgain) {
  TaskKey key = insert(external_spec());
  report(key, Report::Kind::failed);
  EXPECT_TRUE(report(key, Report::Kind::running, 2));
  EXPECT_EQ(state(key), State::running);
  EXPECT_EQ(handovers().size(), 1u);
  EXPECT_FALSE(report(key, Report::Kind::completed, 1)) << "of the attempt before";
  EXPECT_EQ(state(key), State::running);
}

TEST_P(StoreExternal, IsDoubtfulWhenNobodyWasHeardForLong) {
  TaskKey early = insert(external_spec());
  clock_.advance(1h);
  TaskKey late = insert(external_spec());
  insert(spec());
  EXPECT_THAT(store_->reader().doubtful(10), IsEmpty());
  clock_.advance(limits::kExternalDoubt);
  EXPECT_THAT(keys_of(store_->reader().doubtful(10)), ElementsAre(early, late));
  EXPECT_THAT(keys_of(store_->reader().doubtful(1)), ElementsAre(early));
  store_->fleet().extend(std::vector{Lease{early, 0}, Lease{late, 7}}, clock_.now() + 1h);
  EXPECT_THAT(keys_of(store_->reader().doubtful(10)), ElementsAre(late));
  EXPECT_EQ(apply(decide_outcome_unknown(task(late), "gone", clock_.now())), Applied::applied);
  EXPECT_EQ(task(late).error.kind, error_kind::kOutcomeUnknown);
  EXPECT_THAT(store_->reader().doubtful(10), IsEmpty());
}

TEST_P(StoreExternal, WhatIsOursIsNotExtended) {
  TaskKey key = insert(spec());
  store_->fleet().extend(std::vector{Lease{key, 0}}, clock_.now() + 1h);
  EXPECT_TRUE(task(key).live.claimable());
  EXPECT_EQ(claim_one().key, key);
}

TEST_P(StoreReopen, WhatIsRunOutsideStaysThere) {
  TaskSpec external = spec();
  external.options.dramatiq = "{}";
  TaskKey key = insert(external);
  external.run_at = clock_.now() + 1h;
  TaskKey later = insert(external);
  reopen();
  EXPECT_THAT(claim(), IsEmpty());
  EXPECT_FALSE(task(key).live.claimable());
  EXPECT_EQ(store_->outbox().due(OutboxRow::Kind::amqp, 10).size(), 2u);
  clock_.advance(1h);
  store_->tasks().promote(10);
  EXPECT_EQ(state(later), State::pending);
  EXPECT_THAT(claim(), IsEmpty());
}

}  // namespace
}  // namespace opscore
