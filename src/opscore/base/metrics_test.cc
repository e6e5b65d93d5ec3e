#include "opscore/base/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace opscore {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Metrics, CountersAddUpPerLabels) {
  Metrics metrics;
  Counter& mail = metrics.counter("opscore_claimed_total", "Tasks claimed", {{"queue", "mail"}});
  Counter& other = metrics.counter("opscore_claimed_total", "Tasks claimed", {{"queue", "x\"y"}});
  EXPECT_EQ(&mail, &metrics.counter("opscore_claimed_total", "Tasks claimed", {{"queue", "mail"}}));
  mail.add();
  mail.add(2);
  other.add();
  std::string text = metrics.expose();
  EXPECT_THAT(text, HasSubstr("# HELP opscore_claimed_total Tasks claimed\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE opscore_claimed_total counter\n"));
  EXPECT_THAT(text, HasSubstr("opscore_claimed_total{queue=\"mail\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("opscore_claimed_total{queue=\"x\\\"y\"} 1\n"));
}

TEST(Metrics, DurationsFallIntoBuckets) {
  Metrics metrics;
  Histogram& run = metrics.duration("opscore_run_seconds", "Run time");
  EXPECT_EQ(&run, &metrics.duration("opscore_run_seconds", "Run time"));
  run.observe(0.00005);
  run.observe(0.5);
  run.observe(7200);
  std::string text = metrics.expose();
  EXPECT_THAT(text, HasSubstr("opscore_run_seconds_bucket{le=\"0.0001\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("opscore_run_seconds_bucket{le=\"3600\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("opscore_run_seconds_bucket{le=\"+Inf\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("opscore_run_seconds_count 3\n"));
}

TEST(Metrics, GaugesAreSetAndForgotten) {
  Metrics metrics;
  metrics.clear_gauge("opscore_queue_depth");
  metrics.set_gauge("opscore_queue_depth", "Due tasks", 5, {{"queue", "a"}});
  metrics.set_gauge("opscore_queue_depth", "Due tasks", 7, {{"queue", "a"}});
  metrics.set_gauge("opscore_queue_depth", "Due tasks", 1, {{"queue", "b"}});
  EXPECT_THAT(metrics.expose(), HasSubstr("opscore_queue_depth{queue=\"a\"} 7\n"));
  metrics.clear_gauge("opscore_queue_depth");
  metrics.set_gauge("opscore_queue_depth", "Due tasks", 2, {{"queue", "b"}});
  EXPECT_THAT(metrics.expose(), Not(HasSubstr("queue=\"a\"")));
  EXPECT_THAT(metrics.expose(), HasSubstr("opscore_queue_depth{queue=\"b\"} 2\n"));
}

TEST(Metrics, ManyNamesShareOneSeries) {
  Metrics metrics;
  auto count = [&](size_t n) {
    metrics
        .counter("opscore_n_total", "N", {{"queue", "q" + std::to_string(n)}, {"end", "completed"}})
        .add();
  };
  for (size_t n = 0; n < Metrics::kOpenValuesMax + 7; ++n) count(n);
  count(0);
  std::string text = metrics.expose();
  EXPECT_THAT(text, HasSubstr("opscore_n_total{end=\"completed\",queue=\"q0\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("opscore_n_total{end=\"completed\",queue=\"other\"} 7\n"));
  EXPECT_THAT(text, Not(HasSubstr("queue=\"q100\"")));
  EXPECT_EQ(metrics.bounded({{"queue", "q0"}}).at("queue"), "q0");
  EXPECT_EQ(metrics.bounded({{"queue", "q106"}}).at("queue"), "other");
  EXPECT_EQ(metrics.bounded({{"state", "q106"}}).at("state"), "q106") << "a closed label";
  EXPECT_EQ(metrics.bounded({{"queue", "q106"}, {"type", "t"}}).at("queue"), "q106")
      << "a combination of its own";
}

TEST(Metrics, UpdatesComeBeforeTheyAreRead) {
  Metrics metrics;
  double free = 0;
  metrics.on_expose([&] { metrics.set_gauge("opscore_free_bytes", "Free.", ++free); });
  EXPECT_THAT(metrics.expose(), HasSubstr("opscore_free_bytes 1\n"));
  EXPECT_THAT(metrics.expose(), HasSubstr("opscore_free_bytes 2\n"));
}

TEST(Metrics, SeparateObjectsShareNothing) {
  Metrics one, two;
  one.counter("opscore_x_total", "X").add();
  EXPECT_EQ(two.expose(), "");
}

TEST(Metrics, ThreadsLoseNoCounts) {
  Metrics metrics;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] {
        for (int n = 0; n < 10'000; ++n) metrics.counter("opscore_n_total", "N").add();
      });
  }
  EXPECT_THAT(metrics.expose(), HasSubstr("opscore_n_total 40000\n"));
}

}  // namespace
}  // namespace opscore
