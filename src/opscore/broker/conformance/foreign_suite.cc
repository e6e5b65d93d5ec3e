#include <gmock/gmock.h>

#include "opscore/broker/conformance/foreign_conformance.h"

namespace opscore {

using namespace std::chrono_literals;

void ForeignConformance::SetUp() {
  if (connect_) return;
  const std::string words = GetParam().name + ": the service is not there; see ./dev services";
  if (std::getenv("CI")) FAIL() << words;
  GTEST_SKIP() << words;
}

void ForeignConformance::publish(const std::string& queue, const std::string& body) {
  EXPECT_THAT(broker_->publish(std::vector{ForeignMessage{queue, body, {}, {}}}),
              testing::ElementsAre(true));
}

std::vector<ForeignDelivery> ForeignConformance::receive(ForeignBroker& broker, size_t count) {
  std::vector<ForeignDelivery> all;
  Deadline deadline = Deadline::after(20s);
  while (all.size() < count && !deadline.passed())
    for (ForeignDelivery& delivery : broker.receive(deadline)) all.push_back(std::move(delivery));
  EXPECT_EQ(all.size(), count);
  return all;
}

std::vector<std::string> ForeignConformance::bodies_of(
    const std::vector<ForeignDelivery>& deliveries) {
  std::vector<std::string> bodies;
  for (const ForeignDelivery& delivery : deliveries) bodies.push_back(delivery.body);
  return bodies;
}

std::vector<uint64_t> ForeignConformance::tags_of(const std::vector<ForeignDelivery>& deliveries) {
  std::vector<uint64_t> tags;
  for (const ForeignDelivery& delivery : deliveries) tags.push_back(delivery.tag);
  return tags;
}

bool ForeignConformance::counts(const std::string& queue, uint64_t ready, uint64_t consumers) {
  Deadline deadline = Deadline::after(20s);
  while (!deadline.passed()) {
    auto queues = broker_->queues(std::vector{queue});
    if (queues.size() == 1 && queues[0].ready == ready && queues[0].consumers == consumers)
      return true;
  }
  return false;
}

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

TEST_P(ForeignConformance, AMessageArrivesByteForByte) {
  broker_->subscribe({q_});
  const std::string body("{\"a\":\0\xff}", 8);
  broker_->publish(std::vector{ForeignMessage{q_, body, 5, {{kReasonHeader, "why"}}}});
  auto deliveries = receive(*broker_, 1);
  ASSERT_EQ(deliveries.size(), 1u);
  EXPECT_EQ(deliveries[0].queue, q_);
  EXPECT_EQ(deliveries[0].body, body);
  EXPECT_EQ(deliveries[0].priority, 5);
  EXPECT_FALSE(deliveries[0].redelivered);
  EXPECT_TRUE(deliveries[0].is_whole());
}

TEST_P(ForeignConformance, AnEmptyBody) {
  broker_->subscribe({q_});
  publish(q_, "");
  auto deliveries = receive(*broker_, 1);
  EXPECT_THAT(bodies_of(deliveries), ElementsAre(""));
  EXPECT_EQ(deliveries.at(0).priority, std::nullopt);
}

TEST_P(ForeignConformance, DelayedMessagesAreDeliveredAndDeadOnesAreNot) {
  broker_->subscribe({q_});
  publish(q_ + ".DQ", "delayed");
  publish(q_ + ".XQ", "dead");
  auto deliveries = receive(*broker_, 1);
  EXPECT_EQ(deliveries.at(0).queue, q_ + ".DQ");
  EXPECT_THAT(broker_->receive(Deadline::after(20ms)), IsEmpty());
  EXPECT_TRUE(counts(q_ + ".XQ", 1, 0));
}

TEST_P(ForeignConformance, AQueueComesWithItsCompanions) {
  publish(q_, "x");
  const std::vector<std::string> names{q_, q_ + ".DQ", q_ + ".XQ", "never_seen"};
  EXPECT_EQ(broker_->queues(names).size(), 3u);
  broker_->subscribe({"consumed"});
  broker_->receive(Deadline::after(0s));
  EXPECT_EQ(broker_->queues(std::vector<std::string>{"consumed.XQ"}).size(), 1u);
}

TEST_P(ForeignConformance, AQueueKeepsItsOrder) {
  broker_->publish(std::vector<ForeignMessage>{{q_, "1", {}, {}}, {q_, "2", {}, {}}});
  publish(q_, "3");
  broker_->subscribe({q_});
  EXPECT_THAT(bodies_of(receive(*broker_, 3)), ElementsAre("1", "2", "3"));
}

TEST_P(ForeignConformance, WhatWasAckedDoesNotComeBackAndTheRestDoes) {
  auto worker = connect();
  worker->subscribe({q_});
  for (const char* body : {"1", "2", "3"}) publish(q_, body);
  auto deliveries = receive(*worker, 3);
  worker->ack(std::vector{deliveries.at(1).tag});
  worker.reset();
  broker_->subscribe({q_});
  auto again = receive(*broker_, 2);
  EXPECT_THAT(bodies_of(again), UnorderedElementsAre("1", "3"));
  EXPECT_TRUE(again.at(0).redelivered);
  broker_->ack(tags_of(again));
  EXPECT_THAT(broker_->receive(Deadline::after(20ms)), IsEmpty());
  EXPECT_TRUE(counts(q_, 0, 1));
}

TEST_P(ForeignConformance, WhatWasGivenBackComesAgain) {
  broker_->subscribe({q_});
  publish(q_, "x");
  broker_->give_back(tags_of(receive(*broker_, 1)));
  auto again = receive(*broker_, 1);
  EXPECT_THAT(bodies_of(again), ElementsAre("x"));
  EXPECT_TRUE(again.at(0).redelivered);
}

TEST_P(ForeignConformance, WhatIsRejectedIsDead) {
  broker_->subscribe({q_});
  publish(q_, "one");
  publish(q_ + ".DQ", "two");
  broker_->reject(tags_of(receive(*broker_, 2)));
  EXPECT_TRUE(counts(q_ + ".XQ", 2, 0));
}

TEST_P(ForeignConformance, LongBodiesAreCut) {
  broker_->subscribe({q_});
  const std::string longest(ForeignFactory::kBodyMax, 'x');
  publish(q_, longest);
  publish(q_, longest + "y");
  auto deliveries = receive(*broker_, 2);
  EXPECT_EQ(deliveries.at(0).body, longest);
  EXPECT_TRUE(deliveries.at(0).is_whole());
  EXPECT_EQ(deliveries.at(1).body, longest);
  EXPECT_EQ(deliveries.at(1).size, longest.size() + 1);
  EXPECT_FALSE(deliveries.at(1).is_whole());
}

TEST_P(ForeignConformance, ASubscriptionReplacesTheOneBefore) {
  broker_->subscribe({q_});
  broker_->subscribe({"other"});
  publish(q_, "x");
  publish("other", "y");
  EXPECT_THAT(bodies_of(receive(*broker_, 1)), ElementsAre("y"));
  EXPECT_TRUE(counts("other", 0, 1));
  EXPECT_TRUE(counts("other.DQ", 0, 1));
  broker_->subscribe({});
  EXPECT_TRUE(counts("other", 0, 0));
}

TEST_P(ForeignConformance, ManyMessagesAreEachTaken) {
  std::vector<ForeignMessage> messages;
  for (int i = 0; i < 3000; ++i) messages.push_back({q_, std::to_string(i), {}, {}});
  EXPECT_THAT(broker_->publish(messages), testing::Each(true));
  EXPECT_TRUE(counts(q_, 3000, 0));
}

TEST_P(ForeignConformance, NothingIsPublishedAndAnswered) {
  EXPECT_THAT(broker_->publish({}), IsEmpty());
  broker_->ack({});
  broker_->reject({});
  broker_->give_back({});
  broker_->subscribe({});
  EXPECT_THAT(broker_->receive(Deadline::after(0s)), IsEmpty());
  EXPECT_THAT(broker_->queues({}), IsEmpty());
}

std::vector<std::string> bodies_seen(const std::vector<WalkedMessage>& seen) {
  std::vector<std::string> bodies;
  for (const WalkedMessage& message : seen) bodies.push_back(message.body);
  return bodies;
}

TEST_P(ForeignConformance, AWalkLeavesEverythingInItsPlace) {
  for (const char* body : {"one", "two", "three"}) publish(q_, body);
  auto walk = broker_->walk(q_);
  EXPECT_THAT(bodies_seen(walk->next(2)), ElementsAre("one", "two"));
  EXPECT_THAT(bodies_seen(walk->next(10)), ElementsAre("three"));
  EXPECT_THAT(walk->next(10), IsEmpty());
  walk.reset();
  EXPECT_TRUE(counts(q_, 3, 0));
  broker_->subscribe({q_});
  auto deliveries = receive(*broker_, 3);
  EXPECT_THAT(bodies_of(deliveries), ElementsAre("one", "two", "three"));
  EXPECT_TRUE(deliveries[0].redelivered);
}

TEST_P(ForeignConformance, WhatAWalkTakesIsGone) {
  for (const char* body : {"one", "two", "three"}) publish(q_, body);
  auto walk = broker_->walk(q_);
  auto seen = walk->next(3);
  ASSERT_EQ(seen.size(), 3u);
  walk->take(std::vector{seen[1].tag});
  walk.reset();
  EXPECT_TRUE(counts(q_, 2, 0));
  EXPECT_THAT(bodies_seen(broker_->walk(q_)->next(10)), ElementsAre("one", "three"));
}

TEST_P(ForeignConformance, AWalkSaysHowAMessageDied) {
  publish(q_, "poison");
  broker_->publish(
      std::vector{ForeignMessage{q_ + ".XQ", "dead", uint8_t{3}, {{kReasonHeader, "too old"}}}});
  broker_->subscribe({q_});
  broker_->reject(tags_of(receive(*broker_, 1)));
  ASSERT_TRUE(counts(q_ + ".XQ", 2, 0));
  auto seen = broker_->walk(q_ + ".XQ")->next(10);
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].priority, 3);
  EXPECT_THAT(seen[0].headers,
              ElementsAre(std::pair<std::string, std::string>(kReasonHeader, "too old")));
  EXPECT_THAT(seen[0].deaths, IsEmpty());
  ASSERT_EQ(seen[1].deaths.size(), 1u);
  EXPECT_EQ(seen[1].deaths[0].queue, q_);
  EXPECT_EQ(seen[1].deaths[0].reason, "rejected");
  EXPECT_EQ(seen[1].deaths[0].count, 1);
}

TEST_P(ForeignConformance, AQueueThatIsNotThereCannotBeWalked) {
  try {
    broker_->walk("nowhere");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::not_found) << error.what();
  }
}

}  // namespace
}  // namespace opscore
