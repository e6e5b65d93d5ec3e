#include <gmock/gmock.h>

#include <algorithm>

#include "opscore/base/error.h"
#include "opscore/broker/conformance/results_conformance.h"

namespace opscore {

using namespace std::chrono_literals;

void ResultsConformance::SetUp() {
  if (side_) return;
  const std::string words = GetParam().name + ": the service is not there; see ./dev services";
  if (std::getenv("CI")) FAIL() << words;
  GTEST_SKIP() << words;
}

Barrier ResultsConformance::count(const std::string& group, const std::string& message_id) {
  const std::vector<GroupMember> members{{group, message_id}};
  return side_->backend().count(members).at(0);
}

namespace {

using testing::ElementsAre;

StoredResult result(const std::string& message_id, const std::string& value) {
  return {"default", "add", message_id, value, 60s};
}

TEST_P(ResultsConformance, ResultsAreThereToBeRead) {
  std::string long_one(3'000'000, '"');
  std::fill(long_one.begin() + 1, long_one.end() - 1, 'x');
  const std::vector<StoredResult> results{result("a", "42"), result("b", "null"),
                                          result("c", long_one)};
  EXPECT_EQ(side_->result(results[0]), std::nullopt);
  side_->backend().store(results);
  EXPECT_EQ(side_->result(results[0]), "42");
  EXPECT_EQ(side_->result(results[1]), "null");
  EXPECT_EQ(side_->result(results[2]), long_one);
}

TEST_P(ResultsConformance, StoredAgainThereIsTheLastOne) {
  side_->backend().store(std::vector{result("a", "1"), result("a", "2")});
  side_->backend().store(std::vector{result("a", "3")});
  EXPECT_EQ(side_->result(result("a", "")), "3");
}

TEST_P(ResultsConformance, TheLastMemberClearsTheBarrier) {
  side_->create_barrier(g_, 3);
  EXPECT_EQ(count(g_, "1"), Barrier::waiting);
  EXPECT_EQ(count(g_, "2"), Barrier::waiting);
  EXPECT_EQ(count(g_, "3"), Barrier::cleared);
}

TEST_P(ResultsConformance, AGroupOfOne) {
  side_->create_barrier(g_, 1);
  EXPECT_EQ(count(g_, "1"), Barrier::cleared);
}

TEST_P(ResultsConformance, AMemberCountsOnceHoweverOftenItIsTold) {
  side_->create_barrier(g_, 2);
  EXPECT_EQ(count(g_, "1"), Barrier::waiting);
  EXPECT_EQ(count(g_, "1"), Barrier::waiting);
  EXPECT_EQ(count(g_, "2"), Barrier::cleared);
  // Whoever died before the callbacks were sent is told so again.
  EXPECT_EQ(count(g_, "2"), Barrier::cleared);
  EXPECT_EQ(count(g_, "1"), Barrier::waiting);
}

TEST_P(ResultsConformance, GroupsDoNotKnowEachOther) {
  side_->create_barrier(g_, 1);
  side_->create_barrier(h_, 2);
  const std::vector<GroupMember> members{{h_, "1"}, {g_, "1"}, {i_, "1"}, {h_, "2"}};
  EXPECT_THAT(side_->backend().count(members),
              ElementsAre(Barrier::waiting, Barrier::cleared, Barrier::gone, Barrier::cleared));
}

TEST_P(ResultsConformance, ABarrierThatIsNotThereIsGone) {
  EXPECT_EQ(count(nowhere_, "1"), Barrier::gone);
  side_->create_barrier(nowhere_, 2);
  EXPECT_EQ(count(nowhere_, "1"), Barrier::waiting);
}

TEST_P(ResultsConformance, NothingToDoIsDone) {
  side_->backend().store({});
  EXPECT_THAT(side_->backend().count({}), testing::IsEmpty());
}

TEST_P(ResultsConformance, AnOutageIsSaidAndEnds) {
  side_->create_barrier(g_, 2);
  EXPECT_EQ(count(g_, "1"), Barrier::waiting);
  side_->set_away(true);
  try {
    side_->backend().store(std::vector{result("a", "1")});
    FAIL() << "it is away";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::unavailable);
  }
  EXPECT_THROW(count(g_, "2"), Error);
  side_->set_away(false);
  side_->backend().store(std::vector{result("a", "1")});
  EXPECT_EQ(side_->result(result("a", "")), "1");
}

}  // namespace
}  // namespace opscore
