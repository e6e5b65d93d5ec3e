#include "opscore/doctor/auditor.h"

#include <gmock/gmock.h>

#include "opscore/model/limits.h"
#include "opscore/store/memory/memory_store.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const TimePoint kNow = from_ms(1'800'000'000'000);

std::vector<AuditRule> rules(const std::vector<Violation>& violations) {
  std::vector<AuditRule> rules;
  for (const Violation& violation : violations) rules.push_back(violation.rule);
  return rules;
}

Session session() {
  Session session;
  session.id = SessionId{1};
  session.renewed_at = kNow;
  session.report.queues = {"*"};
  session.report.types = {"mail"};
  session.report.slots = 2;
  return session;
}

Task task(State state) {
  Task task;
  task.key = TaskKey{77};
  task.type = "mail";
  task.queue = "out";
  task.live.state = state;
  task.live.attempt = 3;
  task.live.session = SessionId{1};
  return task;
}

TEST(FindViolations, RunningImpliesALease) {
  AuditFacts facts;
  facts.now = kNow;
  facts.running = {task(State::running)};
  facts.sessions = {session()};
  EXPECT_THAT(find_violations(facts), IsEmpty());
  facts.sessions.clear();
  auto found = find_violations(facts);
  EXPECT_THAT(rules(found), ElementsAre(AuditRule::running_without_lease));
  EXPECT_EQ(found[0].subject, "77/3");
  EXPECT_EQ(found[0].lost, SessionId{1});
  facts.running[0].live.external_until = kNow + 1h;
  EXPECT_THAT(find_violations(facts), IsEmpty()) << "Python has it";
}

TEST(FindViolations, CountersEqualRows) {
  AuditFacts facts;
  facts.counts = {{"out", State::pending, 2, 2}, {"out", State::running, 2, 1}};
  auto found = find_violations(facts);
  EXPECT_THAT(rules(found), ElementsAre(AuditRule::counters_wrong));
  EXPECT_EQ(found[0].evidence, "queue out counts 2 running tasks and has 1");
}

TEST(FindViolations, TheOutboxIsTakenSoon) {
  AuditFacts facts;
  facts.now = kNow;
  facts.oldest_due = {{OutboxRow::Kind::token, kNow - 119s}, {OutboxRow::Kind::amqp, kNow - 121s}};
  auto found = find_violations(facts);
  EXPECT_THAT(rules(found), ElementsAre(AuditRule::outbox_stalled));
  EXPECT_THAT(found[0].evidence, HasSubstr("messages for Dramatiq"));
}

TEST(FindViolations, SuspectsGetTheirTurn) {
  AuditFacts facts;
  facts.now = kNow;
  facts.suspects = {task(State::pending)};
  facts.suspects[0].live.run_at = kNow - 11min;
  EXPECT_THAT(find_violations(facts), IsEmpty()) << "nobody could run it";
  facts.sessions = {session()};
  EXPECT_THAT(rules(find_violations(facts)), ElementsAre(AuditRule::suspect_stalled));
  facts.sessions[0].report.busy = 2;
  EXPECT_THAT(find_violations(facts), IsEmpty()) << "no slot is free";
  facts.sessions[0].report.busy = 0;
  facts.suspects[0].live.run_at = kNow - 9min;
  EXPECT_THAT(find_violations(facts), IsEmpty()) << "not yet";
}

struct AuditorTest : testing::Test {
  FakeClock clock;
  SeededRandom random{17};
  std::unique_ptr<Log> log = silent_log();
  Metrics metrics;
  std::unique_ptr<Store> store = open_memory_store(clock, random);
  Auditor auditor{*store, clock, *log, metrics};
};

TEST_F(AuditorTest, FindsNothingInASoundStore) {
  SessionId session = store->fleet().open_session("host:1", "{}");
  InsertItem item;
  item.spec.type = "mail";
  item.spec.queue = "out";
  store->tasks().insert({item, item, item}, InsertMode::all_or_nothing);
  ClaimRequest request;
  request.session = session;
  request.queues = {{"out", 1}};
  request.types = std::make_shared<const std::vector<std::string>>(1, "mail");
  ASSERT_EQ(store->tasks().claim(request).tasks.size(), 1u);
  EXPECT_THAT(auditor.audit(), IsEmpty());
  EXPECT_THAT(auditor.audit(), IsEmpty());
  EXPECT_THAT(metrics.expose(),
              HasSubstr("opscore_audit_violations{rule=\"running_without_lease\"} 0"));
}

TEST_F(AuditorTest, SaysWhatItHasSeenTwice) {
  OutboxRow row;
  row.kind = OutboxRow::Kind::token;
  row.destination = "out";
  row.not_before = clock.now() - 1h;
  store->outbox().add({row});
  EXPECT_THAT(auditor.audit(), IsEmpty()) << "it may be under way";
  EXPECT_THAT(rules(auditor.audit()), ElementsAre(AuditRule::outbox_stalled));
  EXPECT_THAT(metrics.expose(), HasSubstr("opscore_audit_violations{rule=\"outbox_stalled\"} 1"));
  store->outbox().settle(std::vector{store->outbox().due(OutboxRow::Kind::token, 1)[0].id});
  EXPECT_THAT(auditor.audit(), IsEmpty());
}

TEST_F(AuditorTest, LooksOnceAMinute) {
  OutboxRow row;
  row.not_before = clock.now() - 1h;
  store->outbox().add({row});
  const auto told = [&] {
    return metrics.expose().find("rule=\"outbox_stalled\"} 1") != std::string::npos;
  };
  auditor.tick();
  auditor.tick();
  EXPECT_FALSE(told());
  clock.advance(11s);  // there was something to be sure of
  auditor.tick();
  EXPECT_TRUE(told());
  store->outbox().settle(std::vector{store->outbox().due(OutboxRow::Kind::token, 1)[0].id});
  clock.advance(59s);
  auditor.tick();
  EXPECT_TRUE(told());
  clock.advance(2s);
  auditor.tick();
  EXPECT_FALSE(told());
}

}  // namespace
}  // namespace opscore
