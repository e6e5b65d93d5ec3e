#include <gtest/gtest.h>

#include "opscore/model/decide.h"
#include "opscore/model/limits.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;

const TimePoint kNow = from_ms(1'750'000'000'000);

TEST(Backoff, GrowsFromItsMinimumToItsMaximum) {
  RetryPolicy policy{1s, 10min, 2, 1, 1};  // no jitter
  SeededRandom random(1);
  const std::vector<Duration> expected{1s, 2s, 4s, 8s, 16s, 32s, 64s, 128s, 256s, 512s, 600s, 600s};
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(backoff(policy, static_cast<int>(i) + 1, random), expected[i]);
  EXPECT_EQ(backoff(policy, 1'000'000, random), 10min);
  EXPECT_EQ(backoff(policy, 0, random), 1s);
}

TEST(Backoff, JitterStaysInItsRangeAndUsesAllOfIt) {
  SeededRandom random(3);
  for (auto [low, high] : {std::pair(0.0, 1.0), std::pair(0.5, 1.0), std::pair(1.0, 2.0)}) {
    RetryPolicy policy{10s, 1h, 2, low, high};
    Duration least = 24h, most = 0s;
    for (int i = 0; i < 2000; ++i) {
      Duration wait = backoff(policy, 1, random);
      least = std::min(least, wait);
      most = std::max(most, wait);
    }
    EXPECT_GE(least.count(), 10'000 * low);
    EXPECT_LE(most.count(), 10'000 * high);
    EXPECT_LT(least.count(), 10'000 * (low + (high - low) * 0.05));
    EXPECT_GT(most.count(), 10'000 * (low + (high - low) * 0.95));
  }
}

TEST(Backoff, ExtremePoliciesStayFinite) {
  SeededRandom random(4);
  EXPECT_EQ(backoff({0ms, 1h, 2, 1, 1}, 5000, random), 0ms);
  EXPECT_EQ(backoff({0ms, 1h, 1e300, 1, 1}, 5000, random), 0ms);
  EXPECT_EQ(backoff({1s, 1h, 1e300, 1, 1}, 5000, random), 1h);
  EXPECT_EQ(backoff({1s, 1h, 1, 1, 1}, 5000, random), 1s);
  EXPECT_EQ(backoff({1h, 1s, 2, 1, 1}, 1, random), 1s);
}

TEST(AttemptTimeout, IsCutByTheDeadline) {
  TaskOptions options;
  EXPECT_EQ(attempt_timeout(options, kNow), limits::kTimeout);
  options.timeout = 1h;
  EXPECT_EQ(attempt_timeout(options, kNow), 1h);
  options.deadline = kNow + 20min;
  EXPECT_EQ(attempt_timeout(options, kNow), 20min);
  options.timeout = 1s;
  EXPECT_EQ(attempt_timeout(options, kNow), 1s);
  options.deadline = kNow - 1s;
  EXPECT_EQ(attempt_timeout(options, kNow), 0s);
}

}  // namespace
}  // namespace opscore
