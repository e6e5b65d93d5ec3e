#include "opscore/app/cli/scrape.h"

#include <gtest/gtest.h>

namespace opscore {
namespace {

constexpr char kText[] = R"(# HELP opscore_tasks_submitted_total Tasks accepted.
# TYPE opscore_tasks_submitted_total counter
opscore_tasks_submitted_total{queue="mail",type="send"} 12
opscore_tasks_submitted_total{queue="mail",type="a\"b\\c,}"} 3
opscore_worker_tasks_finished_total{queue="mail",state="completed",type="send"} 1e+01
opscore_worker_tasks_finished_total{queue="mail",state="failed",type="send"} 2
opscore_worker_tasks_finished_total{queue="mail",state="cancelled",type="send"} 7
opscore_task_wait_seconds_bucket{queue="mail",type="send",le="0.1"} 4
opscore_task_wait_seconds_bucket{queue="mail",type="send",le="+Inf"} 10
opscore_task_wait_seconds_sum{queue="mail",type="send"} 33
opscore_attempt_duration_seconds_bucket{queue="mail",type="send",le="1"} 5
opscore_queue_tasks{queue="mail",state="pending"} 5
opscore_store_up 1
nonsense
opscore_tasks_submitted_total{queue="mail",type="send"
opscore_tasks_submitted_total{queue="mail",type="send"} many
)";

TEST(ReadMetrics, FindsWhatIsCounted) {
  auto all = read_metrics(kText);
  ASSERT_EQ(all.size(), 2u);
  Counts& send = all[{"send", "mail"}];
  EXPECT_EQ(send.submitted, 12);
  EXPECT_EQ(send.completed, 10);
  EXPECT_EQ(send.failed, 2);
  EXPECT_EQ(send.wait.counts.size(), 2u);
  EXPECT_EQ(send.wait.total(), 10);
  EXPECT_EQ(send.run.total(), 5);
  EXPECT_EQ((all[{"a\"b\\c,}", "mail"}].submitted), 3);
  EXPECT_TRUE(read_metrics("").empty());
}

TEST(Buckets, EstimateQuantilesOfWhatIsNew) {
  Buckets before{{{1, 10}, {2, 10}, {4, 10}}};
  Buckets now{{{1, 12}, {2, 18}, {4, 20}}};  // new: 2 up to 1, 6 up to 2, 2 up to 4
  EXPECT_EQ(now.quantile_since(before, 0.5), 1.5);
  EXPECT_EQ(now.quantile_since(before, 0.1), 0.5);
  EXPECT_EQ(now.quantile_since(before, 1), 4);
  EXPECT_EQ(now.quantile_since(now, 0.5), std::nullopt);
  EXPECT_EQ(Buckets{}.quantile_since({}, 0.5), std::nullopt);
  Buckets endless{{{1, 0}, {std::numeric_limits<double>::infinity(), 3}}};
  EXPECT_EQ(endless.quantile_since({}, 0.5), 1) << "the last bound there is";
}

TEST(Counts, AddUp) {
  Counts sum, one;
  one.submitted = 2;
  one.wait.counts = {{1, 1}, {2, 3}};
  sum.add(one);
  sum.add(one);
  EXPECT_EQ(sum.submitted, 4);
  EXPECT_EQ(sum.wait.total(), 6);
}

}  // namespace
}  // namespace opscore
