#include "opscore/store/postgres/floors.h"

#include <gtest/gtest.h>

#include "opscore/model/limits.h"
#include "opscore/model/task.h"

namespace opscore::postgres {
namespace {

using namespace std::chrono_literals;

const Lane kLane{1, "q", "t"}, kOther{2, "q", "u"};
const TimePoint kNow = from_ms(1'000'000'000);

TEST(Floors, ALaneThatNobodyLookedAtBeginsAtItsBeginning) {
  EXPECT_EQ(Floors().of(kLane, kNow), kFirstPlace);
}

TEST(Floors, ALookRaisesWhatNewTasksLower) {
  Floors floors;
  floors.raise(kLane, 500, {}, floors.seen());
  EXPECT_EQ(floors.of(kLane, kNow), 500);
  EXPECT_EQ(floors.of(kOther, kNow), kFirstPlace);
  floors.lower({{"q", 400}, {"r", 1}});
  EXPECT_EQ(floors.of(kLane, kNow), 400);
  floors.lower({{"q", 450}});
  EXPECT_EQ(floors.of(kLane, kNow), 400);
  floors.raise(kLane, 600, {}, floors.seen());
  EXPECT_EQ(floors.of(kLane, kNow), 600);
}

TEST(Floors, WhatCameDuringALookCounts) {
  Floors floors;
  uint64_t seen = floors.seen();
  floors.lower({{"q", 300}});
  floors.lower({{"q", 400}});
  floors.raise(kLane, 600, {}, seen);
  EXPECT_EQ(floors.of(kLane, kNow), 300);
  floors.raise(kLane, 600, {}, floors.seen());
  for (int i = 0; i < 1000; ++i) floors.lower({{"q", 900}});
  floors.raise(kLane, 1000, {}, seen);
  EXPECT_EQ(floors.of(kLane, kNow), 600) << "it cannot know any more what was lowered since";
}

TEST(Floors, AResetForgetsWhatALookUnderWayFinds) {
  Floors floors;
  uint64_t seen = floors.seen();
  floors.raise(kLane, 600, {}, seen);
  floors.reset();
  EXPECT_EQ(floors.of(kLane, kNow), kFirstPlace);
  floors.raise(kLane, 600, {}, seen);
  EXPECT_EQ(floors.of(kLane, kNow), kFirstPlace);
}

TEST(Floors, WhatBecomesDueIsLookedForWhateverItsPriority) {
  Floors floors;
  floors.raise(kLane, to_ms(kNow), kNow + 10s, floors.seen());
  EXPECT_EQ(floors.of(kLane, kNow + 9s), to_ms(kNow));
  EXPECT_EQ(floors.of(kLane, kNow + 10s), order_of(kNow + 10s, limits::kPriorityMax));
}

}  // namespace
}  // namespace opscore::postgres
