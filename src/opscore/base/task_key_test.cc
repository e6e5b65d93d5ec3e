#include "opscore/base/task_key.h"

#include <gtest/gtest.h>

#include <set>

#include "opscore/base/random.h"

namespace opscore {
namespace {

const IdCodec kCodec(SipKey{1, 2});
constexpr int64_t kNow = 1'750'000'000'000;

TEST(TaskKey, IsPositiveAndCarriesItsTime) {
  TaskKey key = KeyMaker(7, TaskKey{}).next(from_ms(kNow));
  EXPECT_GT(key.value, 0);
  EXPECT_EQ(key.value & 0xff, 7);
  EXPECT_EQ(key.created_at(), from_ms(kNow));
}

TEST(TaskKey, GrowsWhateverTheClockDoes) {
  KeyMaker maker(0, TaskKey{});
  SeededRandom random(1);
  TaskKey last;
  int64_t at = kNow;
  for (int i = 0; i < 100'000; ++i) {
    at += static_cast<int64_t>(random.below(5)) - 2;  // stands, steps, and steps back
    if (i == 50'000) at -= 3'600'000;
    TaskKey key = maker.next(from_ms(at));
    ASSERT_GT(key, last);
    last = key;
  }
}

TEST(TaskKey, ContinuesAfterTheLastOneOfAnEarlierRun) {
  TaskKey last = KeyMaker(3, TaskKey{}).next(from_ms(kNow + 1000));
  EXPECT_GT(KeyMaker(3, last).next(from_ms(kNow)), last);
}

TEST(TaskKey, MoreThanASequenceInOneMillisecondBorrowsFromTheNext) {
  KeyMaker maker(0, TaskKey{});
  TaskKey last;
  for (int i = 0; i < 5000; ++i) last = maker.next(from_ms(kNow));
  EXPECT_EQ(last.created_at(), from_ms(kNow + 1));
}

TEST(TaskKey, FirstAtIsAtMostEveryKeyOfItsTime) {
  TaskKey first = TaskKey::first_at(from_ms(kNow));
  EXPECT_LE(first, KeyMaker(0, TaskKey{}).next(from_ms(kNow)));
  EXPECT_GT(first, KeyMaker(255, TaskKey{}).next(from_ms(kNow - 1)));
}

TEST(TaskKey, FirstAtOfTimesWithoutKeys) {
  TaskKey key = KeyMaker(0, TaskKey{}).next(from_ms(kNow));
  EXPECT_EQ(TaskKey::first_at(parse_rfc3339("0001-01-01T00:00:00Z").value()).value, 0);
  EXPECT_GT(TaskKey::first_at(parse_rfc3339("9999-12-31T23:59:59Z").value()), key);
}

TEST(IdCodec, RoundTrips) {
  SeededRandom random(2);
  for (int i = 0; i < 10'000; ++i) {
    TaskKey key{static_cast<int64_t>(random.next() >> 1)};
    std::string id = kCodec.encode(key);
    ASSERT_EQ(kCodec.decode(id), key) << id;
  }
}

TEST(IdCodec, IsAUuidOfVersion7InTimeOrder) {
  KeyMaker maker(9, TaskKey{});
  std::string earlier = kCodec.encode(maker.next(from_ms(kNow)));
  std::string later = kCodec.encode(maker.next(from_ms(kNow + 1)));
  EXPECT_LT(earlier, later);
  ASSERT_EQ(earlier.size(), 41u);
  EXPECT_TRUE(earlier.starts_with("task_01977420-dc00-7000-")) << earlier;
  EXPECT_NE(std::string("89ab").find(earlier[24]), std::string::npos);
}

TEST(IdCodec, RefusesEveryChangedDigit) {
  std::string id = kCodec.encode(KeyMaker(9, TaskKey{}).next(from_ms(kNow)));
  for (size_t at = 0; at < id.size(); ++at)
    for (char c : std::string("0123456789abcdefABCDEFg-_ ")) {
      std::string forged = id;
      forged[at] = c;
      if (forged == id) continue;
      EXPECT_FALSE(kCodec.decode(forged)) << forged;
    }
}

TEST(IdCodec, RefusesOtherInstallationsAndOtherShapes) {
  std::string id = kCodec.encode(KeyMaker(9, TaskKey{}).next(from_ms(kNow)));
  EXPECT_FALSE(IdCodec(SipKey{1, 3}).decode(id));
  EXPECT_FALSE(kCodec.decode(""));
  EXPECT_FALSE(kCodec.decode("task_"));
  EXPECT_FALSE(kCodec.decode(id.substr(0, id.size() - 1)));
  EXPECT_FALSE(kCodec.decode(id + "0"));
  EXPECT_FALSE(kCodec.decode(id.substr(5)));
  EXPECT_FALSE(kCodec.decode(" " + id));
}

TEST(TaskKey, HashesOfNeighboursDiffer) {
  KeyMaker maker(0, TaskKey{});
  std::set<size_t> low_bits;
  for (int i = 0; i < 1000; ++i)
    low_bits.insert(std::hash<TaskKey>()(maker.next(from_ms(kNow))) & 0xffff);
  EXPECT_GT(low_bits.size(), 950u);
}

}  // namespace
}  // namespace opscore
