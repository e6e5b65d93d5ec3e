#include "opscore/app/cli/watch_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/app/cli/columns.h"

namespace opscore {
namespace {

using std::chrono_literals::operator""s;
using testing::Each;
using testing::HasSubstr;
using testing::Not;

const TimePoint kNow = *parse_rfc3339("2026-11-20T14:03:22.250Z");

WatchView example() {
  WatchView view;
  view.server = "http://127.0.0.1:8000";
  view.at = kNow;
  view.interval = 1s;
  WatchRow mail;
  mail.name = "mail";
  mail.pending = 12'345;
  mail.running = 8;
  mail.slots = 8;
  mail.oldest = 75s;
  mail.failed = 3;
  mail.pace = {120, 118.4, 0.25, 0.0123, 1.5};
  mail.waits = {0.001, std::nullopt, 0.006, 0.0123};
  mail.runs = {0.75, 1.5};
  WatchRow slow;
  slow.name = "reports.monthly.of.all.customers";
  slow.paused = true;
  slow.slots = 8;
  slow.scheduled = 7;
  WatchRow wide;
  wide.name = "メール配信キュー待ち行列";
  view.rows = {mail, slow, wide};
  view.total = mail;
  view.total.scheduled = 7;
  return view;
}

Screen screen(size_t width, size_t height = 24) {
  return {.terminal = true, .moves = true, .colour = false, .width = width, .height = height};
}

std::string picture(const WatchView& view, const Screen& on) {
  return fmt::format("\n{}\n", fmt::join(draw(view, on), "\n"));
}

TEST(WatchView, At80Columns) {
  EXPECT_EQ(picture(example(), screen(80)), R"(
queues 14:03:22 UTC, every 1s, http://127.0.0.1:8000
submitted 120/s  completed 118/s  failed 0.25/s
pending 12.3k  running 8  oldest 1m  scheduled 7  waiting 0  failed 3
wait  12ms ▁ ▄█  run  1.5s ▄█

QUEUE              PEND   RUN  OLD  IN/S DONE/S FAIL/S  WAIT         TOOK
mail              12.3k     8   1m   120    118   0.25  12ms   ▁ ▄█  1.5s     ▄█
reports.m… paused     0     0    -     -      -      -     -            -
メール… unserved      0     0    -     -      -      -     -            -
)");
}

TEST(WatchView, At40Columns) {
  EXPECT_EQ(picture(example(), screen(40)), R"(
queues 14:03:22 UTC, every 1s, http://1…
submitted 120/s  completed 118/s
failed 0.25/s
pending 12.3k  running 8  oldest 1m
scheduled 7  waiting 0  failed 3
wait  12ms ▁ ▄█  run  1.5s ▄█

QUEUE             PEND   RUN  OLD DONE/S
mail             12.3k     8   1m    118
reports.… paused     0     0    -      -
メール配信キュ…      0     0    -      -
)");
}

TEST(WatchView, At200Columns) {
  WatchView view = example();
  for (int i = 0; i < 40; ++i) view.rows[0].waits.push_back(0.001);
  std::string wide = picture(view, screen(200));
  EXPECT_THAT(wide, HasSubstr("\nreports.monthly.of.all.customers paused "));
  EXPECT_THAT(wide, HasSubstr("\nメール配信キュー待ち行列 unserved "));
  std::string sparkline;
  for (int i = 0; i < 40; ++i) sparkline += "█";
  EXPECT_THAT(wide, HasSubstr(" " + sparkline + " "));
}

TEST(WatchView, OfTypes) {
  WatchView view = example();
  view.of = WatchOf::types;
  EXPECT_EQ(picture(view, screen(80)), R"(
tasks 14:03:22 UTC, every 1s, http://127.0.0.1:8000
submitted 120/s  completed 118/s  failed 0.25/s
pending 12.3k  running 8  oldest 1m  scheduled 7  waiting 0  failed 3
wait  12ms ▁ ▄█  run  1.5s ▄█

TYPE                              IN/S DONE/S FAIL/S  WAIT          TOOK
mail                               120    118   0.25  12ms    ▁ ▄█  1.5s      ▄█
reports.monthly.of.all.customers     -      -      -     -             -
メール配信キュー待ち行列             -      -      -     -             -
)");
}

TEST(WatchView, NeverIsWiderOrHigherThanTheScreen) {
  WatchView view = example();
  for (int i = 0; i < 40; ++i) view.rows.push_back(view.rows[static_cast<size_t>(i) % 3]);
  view.away = "connect to 127.0.0.1:8000: connection refused, and a long story about it";
  for (size_t width = 1; width < 240; ++width)
    for (size_t height : {1u, 2u, 7u, 24u, 100u}) {
      auto lines = draw(view, screen(width, height));
      EXPECT_LE(lines.size(), height);
      for (const std::string& line : lines) EXPECT_LE(columns_of(line), width) << line;
    }
}

TEST(WatchView, BusyRowsComeFirstWhenNotAllFit) {
  WatchView view = example();
  WatchRow mail = view.rows[0];
  view.rows.assign(30, view.rows[2]);
  view.rows.back() = mail;
  auto lines = draw(view, screen(80, 10));
  EXPECT_EQ(lines.size(), 10u);
  EXPECT_THAT(lines[6], HasSubstr("mail"));
  EXPECT_EQ(lines.back(), "… and 27 more, less busy");
}

TEST(WatchView, ColoursOnlyWhereTheyAreWanted) {
  Screen plain = screen(80);
  EXPECT_THAT(draw(example(), plain), Each(Not(HasSubstr("\x1b"))));
  plain.colour = true;
  EXPECT_THAT(picture(example(), plain), HasSubstr("\x1b[31m paused\x1b[0m"));
}

TEST(WatchView, SaysThatTheServerIsAway) {
  WatchView view = example();
  view.away = "connection refused\nsecond line";
  EXPECT_THAT(picture(view, screen(80)),
              HasSubstr("\nno answer, trying again: connection refused\n"));
  EXPECT_EQ(plain_line(view), "2026-11-20T14:03:22.250Z no answer: connection refused");
  EXPECT_EQ(parse_json(json_line(view))["error"], view.away);
}

TEST(WatchView, OneLineForAPipe) {
  WatchView view = example();
  view.rows.resize(2);
  EXPECT_EQ(plain_line(view),
            "2026-11-20T14:03:22.250Z pending 12345 running 8 oldest 1m submitted 120/s "
            "completed 118/s failed 0.25/s wait 12ms run 1.5s"
            " | mail pending 12345 running 8 oldest 1m submitted 120/s completed 118/s failed "
            "0.25/s wait 12ms run 1.5s"
            " | reports.monthly.of.all.customers paused pending 0 running 0 oldest - submitted -/s "
            "completed -/s failed -/s wait - run -");
  Json json = parse_json(json_line(view));
  EXPECT_EQ(json["queues"][0]["submitted_per_s"], 120);
  EXPECT_EQ(json["queues"][1]["wait_p50_s"], Json());
  EXPECT_EQ(json["queues"][1]["paused"], true);
  EXPECT_EQ(json["total"]["oldest_pending_age_s"], 75);
  EXPECT_EQ(json["at"], "2026-11-20T14:03:22.250Z");
}

TEST(Sparkline, IsAsHighAsTheLatestOnes) {
  EXPECT_EQ(sparkline({}, 8), "");
  EXPECT_EQ(sparkline({0.0, 0.5, std::nullopt, 1.0}, 8), "▁▄ █");
  EXPECT_EQ(sparkline({9.0, 0.5, 1.0}, 2), "▄█");
}

std::string queues(int pending) {
  return fmt::format(
      R"({{"queues":[{{"name":"q","paused":false,"pending":{},"running":1,"scheduled":0,)"
      R"("waiting":0,"dead":0,"oldest_pending_age_s":1.5,"sessions":1,"slots":8}}]}})",
      pending);
}

std::string metrics(int submitted, int completed) {
  return fmt::format(
      "opscore_tasks_submitted_total{{queue=\"q\",type=\"t\"}} {0}\n"
      "opscore_worker_tasks_finished_total{{queue=\"q\",state=\"completed\",type=\"t\"}} {1}\n"
      "opscore_attempt_duration_seconds_bucket{{queue=\"q\",type=\"t\",le=\"1\"}} {1}\n",
      submitted, completed);
}

struct WatchTest : testing::Test {
  void look(int pending, const std::string& text) {
    now += 2s;
    watch.look(queues(pending), text, now, kNow);
  }
  SteadyPoint now{};
  Watch watch{WatchOf::queues, "http://h", 2s};
};

TEST_F(WatchTest, RatesAreOfWhatCameSinceTheLastLook) {
  look(5, metrics(100, 90));
  EXPECT_EQ(watch.view().total.pace.submitted, std::nullopt) << "one look has no rate";
  look(6, metrics(110, 94));
  const WatchRow& row = watch.view().rows.at(0);
  EXPECT_EQ(row.pace.submitted, 5);
  EXPECT_EQ(row.pace.completed, 2);
  EXPECT_EQ(row.pace.failed, 0);
  EXPECT_EQ(row.pace.run_s, 0.5);
  EXPECT_EQ(row.pace.wait_s, std::nullopt);
  EXPECT_EQ(row.pending, 6);
  EXPECT_EQ(row.oldest, Duration(1500));
  EXPECT_EQ(row.runs, (Latencies{std::nullopt, 0.5}));
  EXPECT_EQ(watch.view().total.pace.submitted, 5);
}

TEST_F(WatchTest, ANewProcessOfTheServerCountsFromZero) {
  look(5, metrics(100, 90));
  look(0, metrics(4, 2));
  EXPECT_EQ(watch.view().total.pace.submitted, 2);
  EXPECT_EQ(watch.view().total.pace.completed, 1);
}

TEST_F(WatchTest, KeepsWhatItKnewWhileTheServerIsAway) {
  look(5, metrics(100, 90));
  watch.miss("gone", kNow);
  EXPECT_EQ(watch.view().away, "gone");
  EXPECT_EQ(watch.view().rows.at(0).pending, 5);
  look(7, metrics(108, 90));
  EXPECT_EQ(watch.view().away, "");
  EXPECT_EQ(watch.view().rows.at(0).pending, 7);
}

TEST_F(WatchTest, AnswersOfSomethingElseAreRefused) {
  EXPECT_THROW(watch.look("<html>", "", now, kNow), Error);
  EXPECT_THROW(watch.look(R"({"queues":[{"name":1}]})", "", now, kNow), Error);
}

TEST(Watch, OfTypesAddsUpTheirQueues) {
  Watch watch(WatchOf::types, "http://h", 1s);
  watch.look(queues(5), "", SteadyPoint{}, kNow);
  watch.look(queues(5),
             metrics(10, 9) + "opscore_tasks_submitted_total{queue=\"r\",type=\"t\"} 5\n",
             SteadyPoint{} + 1s, kNow);
  ASSERT_EQ(watch.view().rows.size(), 1u);
  EXPECT_EQ(watch.view().rows[0].name, "t");
  EXPECT_EQ(watch.view().rows[0].pace.submitted, 15);
  EXPECT_EQ(watch.view().total.pending, 5);
}

}  // namespace
}  // namespace opscore
