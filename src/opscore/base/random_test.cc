#include "opscore/base/random.h"

#include <gtest/gtest.h>

#include <set>

namespace opscore {
namespace {

TEST(Random, TheSameSeedGivesTheSameRun) {
  SeededRandom a(7), b(7), c(8);
  uint64_t first = a.next();
  EXPECT_EQ(first, b.next());
  EXPECT_NE(first, c.next());
}

TEST(Random, StaysInItsBounds) {
  SeededRandom random(7);
  std::set<uint64_t> seen;
  for (int i = 0; i < 10'000; ++i) {
    uint64_t value = random.below(10);
    ASSERT_LT(value, 10u);
    seen.insert(value);
    double unit = random.unit();
    ASSERT_GE(unit, 0.0);
    ASSERT_LT(unit, 1.0);
  }
  EXPECT_EQ(seen.size(), 10u);
}

TEST(Random, TheKernelsBytesDiffer) {
  EXPECT_EQ(random_bytes(0), "");
  EXPECT_EQ(random_bytes(33).size(), 33u);
  EXPECT_NE(random_bytes(16), random_bytes(16));
  SystemRandom random;
  EXPECT_NE(random.next(), random.next());
}

}  // namespace
}  // namespace opscore
