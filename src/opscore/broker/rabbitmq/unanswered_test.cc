#include "opscore/broker/rabbitmq/unanswered.h"

#include <gmock/gmock.h>

#include <random>
#include <set>

namespace opscore {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<AckFrame> ack(Unanswered& unanswered, std::vector<uint64_t> tags) {
  return unanswered.ack(tags);
}

TEST(Unanswered, MultipleOverAPrefixOnly) {
  Unanswered unanswered;
  for (uint64_t tag = 1; tag <= 9; ++tag) unanswered.delivered(tag);
  EXPECT_THAT(ack(unanswered, {1, 2, 3}), ElementsAre(AckFrame{3, true}));
  EXPECT_THAT(ack(unanswered, {4}), ElementsAre(AckFrame{4, false}));
  EXPECT_THAT(ack(unanswered, {8, 6}), ElementsAre(AckFrame{6, false}, AckFrame{8, false}));
  EXPECT_THAT(ack(unanswered, {7, 5}), ElementsAre(AckFrame{7, true}));
  EXPECT_THAT(ack(unanswered, {9}), ElementsAre(AckFrame{9, false}));
}

TEST(Unanswered, WhatWasGivenBackIsAnswered) {
  Unanswered unanswered;
  for (uint64_t tag = 1; tag <= 4; ++tag) unanswered.delivered(tag);
  EXPECT_TRUE(unanswered.give_back(2));
  EXPECT_FALSE(unanswered.give_back(2));
  EXPECT_THAT(ack(unanswered, {2, 1, 3}), ElementsAre(AckFrame{3, true}));
  EXPECT_TRUE(unanswered.give_back(4));
  EXPECT_THAT(ack(unanswered, {4}), IsEmpty());
}

TEST(Unanswered, UnknownAndRepeatedTagsAreIgnored) {
  Unanswered unanswered;
  unanswered.delivered(5);
  EXPECT_THAT(ack(unanswered, {4, 6, 0}), IsEmpty());
  EXPECT_THAT(ack(unanswered, {5, 5}), ElementsAre(AckFrame{5, false}));
  EXPECT_THAT(ack(unanswered, {5}), IsEmpty());
  EXPECT_FALSE(unanswered.give_back(5));
}

// Against what a server does with the frames: each tag is settled once, and never one that nobody
// has answered.
TEST(Unanswered, ARandomOrderSettlesEachDeliveryOnce) {
  std::mt19937 random(20261120);
  Unanswered unanswered;
  std::set<uint64_t> at_server;
  std::set<uint64_t> open;
  uint64_t last = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 2 == 0) {
      last += 1 + random() % 2;
      unanswered.delivered(last);
      at_server.insert(last);
      open.insert(last);
      continue;
    }
    std::vector<uint64_t> tags;
    for (size_t n = random() % 6; n > 0; --n)
      if (auto it = open.lower_bound(last - random() % 12); it != open.end()) {
        tags.push_back(*it);
        open.erase(it);
      }
    if (random() % 4 == 0) {
      for (uint64_t tag : tags)
        if (unanswered.give_back(tag)) {
          ASSERT_EQ(at_server.erase(tag), 1u);
        }
    } else {
      for (AckFrame frame : unanswered.ack(tags)) {
        ASSERT_TRUE(at_server.contains(frame.tag)) << "RabbitMQ closes the channel for this";
        auto begin = frame.multiple ? at_server.begin() : at_server.find(frame.tag);
        at_server.erase(begin, at_server.upper_bound(frame.tag));
      }
    }
    ASSERT_EQ(at_server, open);
  }
}

}  // namespace
}  // namespace opscore
