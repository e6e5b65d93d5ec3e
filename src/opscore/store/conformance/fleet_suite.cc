#include <gmock/gmock.h>

#include "opscore/model/limits.h"
#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using Cause = LostSession::Cause;

SessionReport full_report(TimePoint now) {
  SessionReport report;
  report.state = "consuming";
  report.queues = {"q", "mail"};
  report.types = {"t"};
  report.slots = 4;
  report.busy = 2;
  report.abandoned = 1;
  report.unstarted = 3;
  report.oldest_unstarted_at = now;
  report.loops = {{"intake", now}};
  return report;
}

TEST_P(StoreFleet, ASessionIsListedWithItsReport) {
  clock_.advance(5s);
  EXPECT_FALSE(store_->fleet().renew(session_, full_report(clock_.now())).lost);
  auto sessions = store_->fleet().sessions(0s);
  ASSERT_EQ(sessions.size(), 1u);
  const Session& listed = sessions[0];
  EXPECT_EQ(listed.id, session_);
  EXPECT_EQ(listed.name, "host:1");
  EXPECT_EQ(listed.context, R"({"pid": 1})");
  EXPECT_EQ(listed.started_at, clock_.now() - 5s);
  EXPECT_EQ(listed.renewed_at, clock_.now());
  EXPECT_FALSE(listed.ended_at);
  EXPECT_EQ(listed.report.state, "consuming");
  EXPECT_EQ(listed.report.queues, (std::vector<std::string>{"q", "mail"}));
  EXPECT_EQ(listed.report.types, std::vector<std::string>{"t"});
  EXPECT_EQ(listed.report.slots, 4);
  EXPECT_EQ(listed.report.busy, 2);
  EXPECT_EQ(listed.report.abandoned, 1);
  EXPECT_EQ(listed.report.unstarted, 3);
  EXPECT_EQ(listed.report.oldest_unstarted_at, clock_.now());
  EXPECT_EQ(listed.report.loops.at("intake"), clock_.now());
}

TEST_P(StoreFleet, WhereASessionRunsIsKeptAndReplaced) {
  EXPECT_EQ(store_->fleet().context(session_), "");
  store_->fleet().describe(session_, R"({"cwd": "/"})");
  SessionId second = store_->fleet().open_session("host:2", "{}");
  store_->fleet().describe(second, R"({"cwd": "/two"})");
  store_->fleet().describe(second, R"({"cwd": "/three"})");
  EXPECT_EQ(store_->fleet().context(session_), R"({"cwd": "/"})");
  EXPECT_EQ(store_->fleet().context(second), R"({"cwd": "/three"})");
}

TEST_P(StoreFleet, WhereASessionRanIsKnownAfterItsEnd) {
  store_->fleet().describe(session_, R"({"cwd": "/"})");
  store_->tasks().rescue(lost_session(session_, Cause::gone));
  EXPECT_EQ(store_->fleet().context(session_), R"({"cwd": "/"})");
}

TEST_P(StoreFleet, WhereNobodyRunsIsNotKept) {
  store_->fleet().describe(SessionId{99999}, R"({"cwd": "/"})");
  EXPECT_EQ(store_->fleet().context(SessionId{99999}), "");
}

TEST_P(StoreFleet, RenewalsAreCounted) {
  uint64_t before = store_->fleet().sessions(0s).at(0).renewals;
  for (int i = 0; i < 3; ++i) store_->fleet().renew(session_, {});
  EXPECT_EQ(store_->fleet().sessions(0s).at(0).renewals, before + 3);
}

TEST_P(StoreFleet, SessionsAreNewestFirstAndNumberedApart) {
  SessionId second = store_->fleet().open_session("host:2", "{}");
  EXPECT_TRUE(session_);
  EXPECT_NE(second, session_);
  auto sessions = store_->fleet().sessions(0s);
  ASSERT_EQ(sessions.size(), 2u);
  EXPECT_EQ(sessions[0].id, second);
  EXPECT_EQ(sessions[1].id, session_);
}

TEST_P(StoreFleet, AnEndedSessionIsLost) {
  store_->tasks().rescue(lost_session(session_, Cause::gone, "last words"));
  EXPECT_TRUE(store_->fleet().renew(session_, {}).lost);
  EXPECT_THAT(store_->fleet().sessions(0s), IsEmpty());
  clock_.advance(10s);
  auto ended = store_->fleet().sessions(11s);
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].ended_at, clock_.now() - 10s);
  EXPECT_EQ(ended[0].last_words, "last words");
  EXPECT_THAT(store_->fleet().sessions(9s), IsEmpty());
}

TEST_P(StoreFleet, AnUnknownSessionIsLost) {
  EXPECT_TRUE(store_->fleet().renew(SessionId{99999}, {}).lost);
}

TEST_P(StoreFleet, RenewingTellsWhenActorsWereEntered) {
  TaskKey key = insert(spec());
  claim_one();
  clock_.advance(3ms);
  TimePoint entered = clock_.now();
  clock_.advance(2s);
  SessionReport report;
  report.running = {{key, 1, 0, entered}};
  store_->fleet().renew(session_, report);
  EXPECT_EQ(task(key).started_at, entered);
  EXPECT_EQ(task(key).live.started_at, entered);
  EXPECT_EQ(store_->reader().attempts(key).at(0).started_at, entered);
}

TEST_P(StoreFleet, AReportAboutAnotherAttemptIsIgnored) {
  TaskSpec stubborn = spec();
  stubborn.options.retry = retry_at_once();
  TaskKey key = insert(stubborn);
  finish(claim_one(), Outcome::fail({"actor_error", "no", ""}));
  claim_one();
  SessionReport report;
  report.running = {{key, 1, 0, clock_.now()}, {TaskKey{5}, 1, 1, clock_.now()}};
  EXPECT_FALSE(store_->fleet().renew(session_, report).lost);
  EXPECT_FALSE(task(key).started_at);
}

TEST_P(StoreFleet, CancelsReachTheSessionThatRunsTheTask) {
  SessionId other = store_->fleet().open_session("host:2", "{}");
  insert_many(2, spec());
  auto running = claim();
  EXPECT_THAT(store_->fleet().renew(session_, {}).cancels, IsEmpty());
  cancel(running[1].key);
  EXPECT_THAT(store_->fleet().renew(other, {}).cancels, IsEmpty());
  EXPECT_THAT(store_->fleet().renew(session_, {}).cancels, ElementsAre(running[1].lease()));
  finish(running[1], Outcome::complete("1"));
  EXPECT_THAT(store_->fleet().renew(session_, {}).cancels, IsEmpty());
}

TEST_P(StoreFleet, CommandsAreDeliveredOnceAndInOrder) {
  SessionId other = store_->fleet().open_session("host:2", "{}");
  store_->fleet().command(session_, "log-level debug");
  store_->fleet().command(session_, "drain");
  EXPECT_THAT(store_->fleet().renew(other, {}).commands, IsEmpty());
  EXPECT_THAT(store_->fleet().renew(session_, {}).commands,
              ElementsAre("log-level debug", "drain"));
  EXPECT_THAT(store_->fleet().renew(session_, {}).commands, IsEmpty());
}

TEST_P(StoreFleet, CommandsToNobodyAreDropped) {
  store_->fleet().command(SessionId{99999}, "drain");
  store_->tasks().rescue(lost_session(session_, Cause::gone));
  store_->fleet().command(session_, "drain");
  EXPECT_THAT(store_->fleet().renew(session_, {}).commands, IsEmpty());
}

TEST_P(StoreFleet, TheFirstSessionThatAsksLeadsUntilItEnds) {
  SessionId second = store_->fleet().open_session("host:2", "{}");
  EXPECT_TRUE(store_->fleet().lead(second));
  EXPECT_FALSE(store_->fleet().lead(session_));
  EXPECT_TRUE(store_->fleet().lead(second));
  store_->tasks().rescue(lost_session(second, Cause::gone));
  EXPECT_FALSE(store_->fleet().lead(second));
  EXPECT_TRUE(store_->fleet().lead(session_));
  EXPECT_FALSE(store_->fleet().lead(SessionId{99999}));
}

TEST_P(StoreFleet, ALeaderThatDoesNotAskForATtlIsFollowed) {
  SessionId second = store_->fleet().open_session("host:2", "{}");
  EXPECT_TRUE(store_->fleet().lead(session_));
  clock_.advance(limits::kSessionTtl);
  EXPECT_TRUE(store_->fleet().lead(session_)) << "it has asked in time";
  clock_.advance(limits::kSessionTtl / 2);
  EXPECT_FALSE(store_->fleet().lead(second));
  clock_.advance(limits::kSessionTtl);
  EXPECT_TRUE(store_->fleet().lead(second));
  EXPECT_FALSE(store_->fleet().lead(session_));
}

TEST_P(StoreFleet, NobodyUnknownOrEndedBecomesLeader) {
  EXPECT_FALSE(store_->fleet().lead(SessionId{99999}));
  EXPECT_FALSE(store_->fleet().lead(SessionId{}));
  store_->tasks().rescue(lost_session(session_, Cause::drained));
  EXPECT_FALSE(store_->fleet().lead(session_));
}

TEST_P(StoreFleet, TheCatalogueKeepsTheLastAnnouncement) {
  CatalogueEntry a, b;
  a.type = "a";
  a.kind = "exec";
  a.queue = "mail";
  a.version = "1";
  a.description = "sends";
  a.input_schema = R"({"type": "object"})";
  a.timeout = Duration(1500);
  a.max_attempts = 7;
  a.retry = RetryPolicy{Duration(1), Duration(2), 3, 0.25, 0.75};
  a.aliases = {"alpha"};
  b.type = "b";
  b.kind = "native";
  store_->fleet().announce_actors({b, a});
  clock_.advance(1s);
  a.version = "2";
  store_->fleet().announce_actors({a});
  auto entries = store_->fleet().catalogue();
  ASSERT_EQ(entries.size(), 2u);
  std::sort(entries.begin(), entries.end(), [](auto& x, auto& y) { return x.type < y.type; });
  EXPECT_EQ(entries[0].type, "a");
  EXPECT_EQ(entries[0].version, "2");
  EXPECT_EQ(entries[0].kind, "exec");
  EXPECT_EQ(entries[0].queue, "mail");
  EXPECT_EQ(entries[0].description, "sends");
  EXPECT_EQ(entries[0].input_schema, a.input_schema);
  EXPECT_EQ(entries[0].timeout, a.timeout);
  EXPECT_EQ(entries[0].max_attempts, 7);
  EXPECT_EQ(entries[0].retry, a.retry);
  EXPECT_EQ(entries[0].aliases, a.aliases);
  EXPECT_EQ(entries[0].seen_at, clock_.now());
  EXPECT_EQ(entries[1].seen_at, clock_.now() - 1s);
}

}  // namespace
}  // namespace opscore
