#include "opscore/store/memory/change_feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using Interest = Changes::Interest;

Change of_queue(std::string name) {
  return {{std::move(name)}, {}, {}};
}
Change of_task(int64_t key) {
  return {{}, {TaskKey{key}}, {}};
}

ChangeBatch look(ChangeFeed& feed, uint64_t since, Interest interest) {
  return feed.wait(since, interest, Deadline::after(0s));
}

TEST(ChangeFeed, AnEmptyChangeIsNone) {
  ChangeFeed feed;
  feed.publish({});
  EXPECT_EQ(feed.position(), 0u);
}

TEST(ChangeFeed, EachInterestSeesItsOwn) {
  ChangeFeed feed;
  feed.publish(of_queue("q"));
  feed.publish(of_task(1));
  feed.publish({{}, {}, {SessionId{3}}});
  EXPECT_THAT(look(feed, 0, Interest::work).queues, ElementsAre("q"));
  EXPECT_THAT(look(feed, 0, Interest::work).sessions, ElementsAre(SessionId{3}));
  EXPECT_THAT(look(feed, 0, Interest::work).tasks, IsEmpty());
  EXPECT_THAT(look(feed, 0, Interest::tasks).tasks, ElementsAre(TaskKey{1}));
  EXPECT_THAT(look(feed, 0, Interest::tasks).queues, IsEmpty());
}

TEST(ChangeFeed, RepetitionsInABatchAreOne) {
  ChangeFeed feed;
  for (int i = 0; i < 3; ++i) feed.publish(of_queue("q"));
  EXPECT_THAT(look(feed, 0, Interest::work).queues, ElementsAre("q"));
  EXPECT_THAT(look(feed, 2, Interest::work).queues, ElementsAre("q"));
  EXPECT_THAT(look(feed, 3, Interest::work).queues, IsEmpty());
}

TEST(ChangeFeed, WhoIsBehindTheRingIsTold) {
  ChangeFeed feed(10);
  for (int i = 1; i <= 100; ++i) feed.publish(of_task(i));
  ChangeBatch behind = look(feed, 1, Interest::tasks);
  EXPECT_TRUE(behind.reset);
  EXPECT_EQ(behind.position, 100u);
  ChangeBatch near = look(feed, 98, Interest::tasks);
  EXPECT_FALSE(near.reset);
  EXPECT_THAT(near.tasks, ElementsAre(TaskKey{99}, TaskKey{100}));
}

TEST(ChangeFeed, WhatDoesNotConcernAReaderDoesNotResetIt) {
  ChangeFeed feed(10);
  feed.publish(of_queue("q"));
  uint64_t seen = feed.position();
  for (int i = 1; i <= 100; ++i) feed.publish(of_task(i));
  EXPECT_FALSE(look(feed, seen, Interest::work).reset);
  EXPECT_TRUE(look(feed, 0, Interest::work).reset);
}

TEST(ChangeFeed, AHugeCommitIsKeptWhole) {
  ChangeFeed feed(10);
  Change huge;
  for (int i = 0; i < 1000; ++i) huge.tasks.push_back(TaskKey{i});
  feed.publish(std::move(huge));
  ChangeBatch batch = look(feed, 0, Interest::tasks);
  EXPECT_FALSE(batch.reset);
  EXPECT_EQ(batch.tasks.size(), 1000u);
}

TEST(ChangeFeed, AnInterruptIsNotLostOnWhoBeginsToWaitAfterIt) {
  ChangeFeed feed;
  uint64_t before = feed.position();
  feed.interrupt();
  for (Interest interest : {Interest::work, Interest::tasks}) {
    ChangeBatch batch = feed.wait(before, interest, Deadline::never());
    EXPECT_FALSE(batch.reset);
    EXPECT_GT(batch.position, before);
  }
}

}  // namespace
}  // namespace opscore
