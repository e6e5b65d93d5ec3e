#include "opscore/engine/mirror.h"

#include <gmock/gmock.h>

#include "opscore/engine/service_fixture.h"
#include "opscore/model/handover.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

CatalogueEntry python_actor() {
  CatalogueEntry entry;
  entry.type = "resize";
  entry.kind = "dramatiq";
  entry.queue = "images";
  entry.dramatiq = R"({"notify_shutdown":true})";
  return entry;
}

class MirrorTest : public ServiceTest {
 protected:
  MirrorTest() {
    CatalogueEntry plain;
    plain.type = "mail.send";
    plain.kind = "native";
    service_->declare({plain, python_actor()});
  }

  std::string hand_over(const std::string& id = {}) {
    SubmitRequest request;
    request.type = "resize";
    request.input = R"({"path": "a.png"})";
    request.task_id = id;
    return service_->submit(std::move(request)).id;
  }
  MirroredReport report_of(const std::string& id, Report::Kind kind, int attempt = 1) {
    MirroredReport heard;
    heard.message_id = message_id_of(id);
    heard.report.kind = kind;
    heard.report.attempt = attempt;
    heard.report.at = clock_.now();
    heard.report.result = "[1, 2]";
    heard.report.error = {"ValueError", "boom", {}};
    heard.report.next_at = clock_.now() + 15s;
    return heard;
  }
  std::vector<ReportAnswer> hear(std::vector<MirroredReport> reports) {
    return service_->mirror().hear(std::move(reports));
  }
};

TEST_F(MirrorTest, ABatchIsAnsweredOneByOne) {
  const std::string id = hand_over(), other = hand_over("order-1");
  EXPECT_THAT(
      hear({report_of(id, Report::Kind::running), report_of("order-9", Report::Kind::running),
            report_of(id, Report::Kind::retrying), report_of(id, Report::Kind::running),
            report_of(other, Report::Kind::completed), report_of(id, Report::Kind::completed, 2)}),
      ElementsAre(ReportAnswer::applied, ReportAnswer::unknown, ReportAnswer::applied,
                  ReportAnswer::known, ReportAnswer::applied, ReportAnswer::applied));
  EXPECT_EQ(service_->get(id).result, "[1, 2]");
  EXPECT_EQ(service_->get(id).live.charged, 2);
  EXPECT_EQ(service_->get(other).state(), State::completed);
  EXPECT_THAT(hear({report_of(id, Report::Kind::completed, 2)}), ElementsAre(ReportAnswer::known));
}

TEST_F(MirrorTest, OnlyTasksThatPythonRunsAreReported) {
  const std::string own = submit().id;
  EXPECT_THAT(hear({report_of(own, Report::Kind::completed)}), ElementsAre(ReportAnswer::unknown));
  EXPECT_EQ(service_->get(own).state(), State::pending);
}

TEST_F(MirrorTest, ProgressIsTheLastOne) {
  const std::string id = hand_over();
  MirroredReport half = report_of(id, Report::Kind::running);
  half.progress = "0.5";
  EXPECT_THAT(hear({half}), ElementsAre(ReportAnswer::applied));
  EXPECT_EQ(service_->get(id).progress, "0.5");
  half.progress = R"({"page": 7})";
  EXPECT_THAT(hear({half}), ElementsAre(ReportAnswer::known));
  EXPECT_EQ(service_->get(id).progress, R"({"page": 7})");
}

TEST_F(MirrorTest, WhoeverIsHeardIsNotDoubted) {
  const std::string id = hand_over();
  hear({report_of(id, Report::Kind::running)});
  clock_.advance(limits::kExternalDoubt - 1s);
  hear({report_of(id, Report::Kind::running)});
  clock_.advance(1h);
  EXPECT_TRUE(store_->reader().doubtful(10).empty());
}

TEST_F(MirrorTest, OtherClocksAreNotTrusted) {
  const std::string id = hand_over();
  MirroredReport early = report_of(id, Report::Kind::running);
  early.report.at = clock_.now() - 100h;
  hear({early});
  EXPECT_EQ(service_->get(id).started_at, service_->get(id).created_at());
  MirroredReport late = report_of(id, Report::Kind::completed);
  late.report.at = clock_.now() + 100h;
  hear({late});
  EXPECT_EQ(service_->get(id).finished_at, clock_.now());
}

TEST_F(MirrorTest, AResultThatIsTooLargeIsMissed) {
  const std::string id = hand_over();
  MirroredReport done = report_of(id, Report::Kind::completed);
  done.report.result = '"' + std::string(limits::kPayloadBytes, 'x') + '"';
  hear({done});
  Task task = service_->get(id);
  EXPECT_EQ(task.result, "null");
  bool said = false;
  for (const TaskEvent& event : service_->events(task))
    said |= event.kind == event_kind::kResultNotKept;
  EXPECT_TRUE(said);
}

TEST_F(MirrorTest, SubmitsBecomeMessages) {
  const std::string id = hand_over();
  Task task = service_->get(id);
  EXPECT_EQ(task.queue, "images");
  EXPECT_EQ(task.options.dramatiq, R"({"notify_shutdown":true})");
  EXPECT_EQ(task.max_attempts, kUnlimitedAttempts);
  EXPECT_EQ(store_->outbox().due(OutboxRow::Kind::amqp, 10).size(), 1u);
  SubmitRequest scalar;
  scalar.type = "resize";
  scalar.input = "7";
  try {
    service_->submit(scalar);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid);
    EXPECT_EQ(error.field(), "input_data");
  }
  EXPECT_THROW(service_->cancel(id), Error);
  EXPECT_THROW(service_->remove(id), Error);
}

TEST_F(MirrorTest, AKeyIsReplayedWhateverTheClockSays) {
  SubmitRequest request;
  request.type = "resize";
  request.idempotency_key = "k";
  request.deadline_in = 10min;
  const std::string id = service_->submit(request).id;
  clock_.advance(1min);
  Submitted again = service_->submit(request);
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.id, id);
}

}  // namespace
}  // namespace opscore
