#include "opscore/engine/worker_diagnosis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/model/limits.h"

namespace opscore {
namespace {

using testing::HasSubstr;

constexpr TimePoint kNow{Duration(1'750'000'000'000)};

Session working() {
  Session session;
  session.id = SessionId{7};
  session.started_at = kNow - Duration(60'000);
  session.renewed_at = kNow - Duration(1'000);
  session.report.state = "consuming";
  session.report.slots = 8;
  session.report.busy = 3;
  return session;
}

void expect(const Session& session, WorkerVerdict verdict, std::optional<std::string> broken,
            const std::string& words) {
  const WorkerDiagnosis diagnosis = diagnose_worker(session, kNow);
  EXPECT_EQ(to_string(diagnosis.verdict), to_string(verdict));
  EXPECT_EQ(diagnosis.broken_hop, broken);
  EXPECT_THAT(diagnosis.sentence, HasSubstr(words));
}

TEST(WorkerDiagnosis, of_one_that_works) {
  Session session = working();
  expect(session, WorkerVerdict::worker_ready, std::nullopt, "3 of 8");
  session.report.busy = 8;
  expect(session, WorkerVerdict::worker_busy, std::nullopt, "All of its 8");
  session.report.state = "leading";
  expect(session, WorkerVerdict::maintains, std::nullopt, "for all");
  session.report.state = "standby";
  expect(session, WorkerVerdict::maintains, std::nullopt, "ready to");
}

TEST(WorkerDiagnosis, of_one_that_is_not_there) {
  Session session = working();
  for (const char* state : {"starting", "connecting"}) {
    session.report.state = state;
    expect(session, WorkerVerdict::worker_starting, "session", state);
  }
  session.report.state = "draining";
  expect(session, WorkerVerdict::worker_draining, "session", "3 that run");
  session.renewed_at = kNow - limits::kSessionTtl - Duration(1);
  expect(session, WorkerVerdict::worker_silent, "session", "15001ms");
  session.ended_at = kNow;
  session.last_words = "died of SIGSEGV";
  expect(session, WorkerVerdict::worker_ended, "session", "SIGSEGV");
}

TEST(WorkerDiagnosis, of_one_that_is_in_trouble) {
  Session session = working();
  session.report.adoption_problem = "no broker";
  expect(session, WorkerVerdict::adoption_stalled, "broker", "no broker");
  session.report.broker.emplace().refused["mail"] = "queue 'mail': PRECONDITION_FAILED";
  expect(session, WorkerVerdict::broker_refuses, "broker", "PRECONDITION_FAILED");
  session.report.broker->problem = "connection refused";
  expect(session, WorkerVerdict::broker_away, "broker", "connection refused");
  session.report.unstarted = 5;
  session.report.oldest_unstarted_at = kNow - limits::kUnstarted * 2;
  expect(session, WorkerVerdict::broker_away, "broker", "connection refused");
  session.report.oldest_unstarted_at = kNow - limits::kUnstarted * 4;
  expect(session, WorkerVerdict::tasks_unstarted, "intake", "5 tasks are claimed");
  session.report.abandoned = 1;
  expect(session, WorkerVerdict::slots_abandoned, "slot", "1 of 8");
}

}  // namespace
}  // namespace opscore
