#include "opscore/model/report.h"

#include <gtest/gtest.h>

#include "opscore/model/decide.h"
#include "opscore/model/error_kind.h"
#include "opscore/model/handover.h"
#include "opscore/model/limits.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;

const TimePoint kNow{1'000'000ms};

Task handed_over() {
  TaskSpec spec;
  spec.options.dramatiq = "{}";
  Task task;
  task.key = TaskKey{1 << 20};
  task.options = spec.options;
  task.live = decide_submit(spec, kNow);
  return task;
}

Report report_of(Report::Kind kind, int attempt, Duration after = 0ms) {
  Report report;
  report.kind = kind;
  report.attempt = attempt;
  report.at = kNow + after;
  report.worker = "host:7";
  report.result = "1";
  report.error = {"ValueError", "boom", {}};
  report.next_at = report.at + 15s;
  return report;
}

// Decides and follows; what was heard.
Heard hear(Task& task, const Report& report) {
  Mirrored mirrored = decide_report(task, report);
  for (const Plan& plan : mirrored.plans) {
    EXPECT_EQ(plan.expected, task.state());
    EXPECT_EQ(plan.attempt, task.live.attempt);
    EXPECT_FALSE(plan.hands_over);
    follow(task, plan);
  }
  return mirrored.heard;
}

TEST(Report, FollowsARunFromItsStartToItsEnd) {
  Task task = handed_over();
  EXPECT_EQ(hear(task, report_of(Report::Kind::running, 1)), Heard::news);
  EXPECT_EQ(task.state(), State::running);
  EXPECT_EQ(task.live.external_until, kNow + limits::kExternalDoubt);
  EXPECT_EQ(hear(task, report_of(Report::Kind::running, 1)), Heard::known);
  EXPECT_EQ(hear(task, report_of(Report::Kind::retrying, 1, 1s)), Heard::news);
  EXPECT_EQ(task.state(), State::scheduled);
  EXPECT_EQ(task.live.run_at, kNow + 16s);
  EXPECT_EQ(task.live.external_until, task.live.run_at + limits::kExternalDoubt);
  EXPECT_EQ(hear(task, report_of(Report::Kind::retrying, 1, 1s)), Heard::known);
  EXPECT_EQ(hear(task, report_of(Report::Kind::completed, 2, 20s)), Heard::news);
  EXPECT_EQ(task.state(), State::completed);
  EXPECT_EQ(task.live.charged, 2);
  EXPECT_EQ(hear(task, report_of(Report::Kind::completed, 2, 20s)), Heard::known);
  EXPECT_EQ(hear(task, report_of(Report::Kind::failed, 2, 20s)), Heard::too_old);
  EXPECT_EQ(hear(task, report_of(Report::Kind::running, 1)), Heard::too_old);
}

TEST(Report, AnEndWhoseStartWasMissedHasOne) {
  Task task = handed_over();
  Mirrored mirrored = decide_report(task, report_of(Report::Kind::failed, 4));
  ASSERT_EQ(mirrored.plans.size(), 2u);
  EXPECT_EQ(mirrored.plans[0].next, State::running);
  EXPECT_EQ(mirrored.plans[0].live.attempt, 4);
  EXPECT_EQ(mirrored.plans[0].events.at(0).data, R"({"worker":"host:7"})");
  EXPECT_EQ(mirrored.plans[1].next, State::failed);
  EXPECT_EQ(mirrored.plans[1].ended, AttemptEnd::fatal);
  EXPECT_EQ(mirrored.plans[1].error.kind, "ValueError");
}

TEST(Report, ALaterAttemptEndsTheOneThatWasNeverHeardOfAgain) {
  Task task = handed_over();
  hear(task, report_of(Report::Kind::running, 1));
  Mirrored mirrored = decide_report(task, report_of(Report::Kind::running, 2, 1min));
  ASSERT_EQ(mirrored.plans.size(), 2u);
  EXPECT_EQ(mirrored.plans[0].ended, AttemptEnd::lost);
  EXPECT_FALSE(mirrored.plans[0].charged);
  EXPECT_EQ(mirrored.plans[1].live.attempt, 2);
}

TEST(Report, ASkippedOneIsCancelled) {
  Task task = handed_over();
  hear(task, report_of(Report::Kind::skipped, 1));
  EXPECT_EQ(task.state(), State::cancelled);
}

TEST(Report, AMessageThatWasSentBackOpensTheTaskAgain) {
  Task task = handed_over();
  hear(task, report_of(Report::Kind::failed, 1));
  Mirrored mirrored = decide_report(task, report_of(Report::Kind::running, 2, 1h));
  ASSERT_EQ(mirrored.plans.size(), 2u);
  EXPECT_EQ(mirrored.plans[0].expected, State::failed);
  EXPECT_EQ(mirrored.plans[0].events.back().kind, event_kind::kSentBack);
  hear(task, report_of(Report::Kind::completed, 2, 1h));
  EXPECT_EQ(task.state(), State::completed);
}

TEST(Report, WhoeverHasItCannotBeCalledBack) {
  Task task = handed_over();
  for (bool running : {false, true}) {
    if (running) hear(task, report_of(Report::Kind::running, 1));
    EXPECT_EQ(decide_cancel(task, kNow).error().code(), Errc::handed_over);
    EXPECT_EQ(decide_remove(task).error().code(), Errc::handed_over);
  }
  hear(task, report_of(Report::Kind::completed, 1));
  EXPECT_EQ(decide_cancel(task, kNow).error().code(), Errc::conflict);
  EXPECT_TRUE(decide_remove(task));
  EXPECT_TRUE(decide_retry(task, {}, kNow)->hands_over);
}

TEST(Report, AnUnknownOutcomeIsAFailure) {
  Task task = handed_over();
  Plan plan = decide_outcome_unknown(task, "the message is gone", kNow + 25h);
  EXPECT_EQ(plan.next, State::failed);
  EXPECT_FALSE(plan.ended);
  EXPECT_EQ(plan.error.kind, error_kind::kOutcomeUnknown);
  hear(task, report_of(Report::Kind::running, 1));
  EXPECT_EQ(decide_outcome_unknown(task, "", kNow + 25h).ended, AttemptEnd::lost);
}

TEST(Handover, ARowSaysWhichTask) {
  OutboxRow row = handover_row(TaskKey{77}, "emails", 3, kNow);
  EXPECT_EQ(row.destination, handover_destination("emails"));
  EXPECT_EQ(decode_handover(row), (Handover{TaskKey{77}, 3}));
  row.destination = "emails";
  EXPECT_FALSE(decode_handover(row));
}

TEST(Handover, TheIdOfAMessageIsTheTasks) {
  const std::string uuid = "62f746b4-84e6-4ceb-95bd-447e7184d454";
  for (const std::string& id : {std::string("task_") + uuid, std::string("order-7"), uuid}) {
    const std::string message = message_id_of(id);
    EXPECT_EQ(task_ids_of(message).at(0), id) << message;
  }
  EXPECT_EQ(message_id_of("order-7"), "order-7");
  EXPECT_TRUE(task_ids_of(uuid).empty()) << "Python's own";
}

}  // namespace
}  // namespace opscore
