#include <gmock/gmock.h>

#include <atomic>
#include <set>
#include <thread>

#include "opscore/broker/conformance/broker_conformance.h"

namespace opscore {

using namespace std::chrono_literals;

void BrokerConformance::SetUp() {
  if (connect_) return;
  const std::string words = GetParam().name + ": the service is not there; see ./dev services";
  if (std::getenv("CI")) FAIL() << words;
  GTEST_SKIP() << words;
}

void BrokerConformance::announce(const std::string& queue, size_t tasks) {
  EXPECT_THAT(broker_->announce(std::vector{Hint{queue, tasks}}), testing::IsEmpty());
}

std::vector<Delivery> BrokerConformance::receive(Broker& broker, size_t count) {
  std::vector<Delivery> all;
  Deadline deadline = Deadline::after(20s);
  while (all.size() < count && !deadline.passed())
    for (Delivery& delivery : broker.receive(deadline)) all.push_back(std::move(delivery));
  EXPECT_EQ(all.size(), count);
  return all;
}

std::vector<size_t> BrokerConformance::tasks_of(const std::vector<Delivery>& deliveries) {
  std::vector<size_t> tasks;
  for (const Delivery& delivery : deliveries) tasks.push_back(delivery.hint.tasks);
  return tasks;
}

void BrokerConformance::ack(Broker& broker, const std::vector<Delivery>& deliveries) {
  std::vector<uint64_t> tags;
  for (const Delivery& delivery : deliveries) tags.push_back(delivery.tag);
  broker.ack(tags);
}

BrokerQueue BrokerConformance::queue(Broker& broker, const std::string& name) {
  auto queues = broker.queues(std::vector{name});
  EXPECT_LE(queues.size(), 1u);
  return queues.empty() ? BrokerQueue{name, 0, 0, 0} : queues[0];
}

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST_P(BrokerConformance, AHintArrivesAsItWasAnnounced) {
  broker_->subscribe({"q"});
  announce("q", 42);
  auto deliveries = receive(*broker_, 1);
  ASSERT_EQ(deliveries.size(), 1u);
  EXPECT_EQ(deliveries[0].hint.queue, "q");
  EXPECT_EQ(deliveries[0].hint.tasks, 42u);
}

TEST_P(BrokerConformance, HintsWaitForASubscriber) {
  announce("q");
  EXPECT_TRUE(eventually(*broker_, "q", [](const BrokerQueue& q) { return q.ready == 1; }));
  broker_->subscribe({"q"});
  EXPECT_EQ(receive(*broker_, 1).size(), 1u);
}

TEST_P(BrokerConformance, AQueueKeepsItsOrder) {
  broker_->subscribe({"q"});
  broker_->announce(std::vector{Hint{"q", 1}, Hint{"q", 2}, Hint{"q", 3}});
  announce("q", 4);
  EXPECT_THAT(tasks_of(receive(*broker_, 4)), ElementsAre(1, 2, 3, 4));
}

TEST_P(BrokerConformance, OnlySubscribedQueuesAreDelivered) {
  broker_->subscribe({"a", "b"});
  broker_->announce(std::vector{Hint{"a", 1}, Hint{"other", 2}, Hint{"b", 3}});
  EXPECT_THAT(tasks_of(receive(*broker_, 2)), testing::UnorderedElementsAre(1, 3));
  EXPECT_THAT(broker_->receive(Deadline::after(20ms)), IsEmpty());
}

TEST_P(BrokerConformance, ASubscriptionReplacesTheOneBefore) {
  broker_->subscribe({"a"});
  broker_->subscribe({"b"});
  broker_->announce(std::vector{Hint{"a", 1}, Hint{"b", 2}});
  EXPECT_THAT(tasks_of(receive(*broker_, 1)), ElementsAre(2));
  broker_->subscribe({});
  announce("b", 3);
  EXPECT_THAT(broker_->receive(Deadline::after(20ms)), IsEmpty());
  broker_->subscribe({"a", "b"});
  EXPECT_THAT(tasks_of(receive(*broker_, 2)), testing::UnorderedElementsAre(1, 3));
}

TEST_P(BrokerConformance, UnansweredDeliveriesOutliveTheSubscription) {
  broker_->subscribe({"q"});
  announce("q");
  auto deliveries = receive(*broker_, 1);
  broker_->subscribe({});
  ack(*broker_, deliveries);
  EXPECT_TRUE(eventually(*broker_, "q", [](const BrokerQueue& q) {
    return q.ready == 0 && q.unanswered.value_or(0) == 0;
  }));
}

TEST_P(BrokerConformance, WhatAWorkerSendsToItselfComesToNobodyElse) {
  auto other = connect();
  other->subscribe({"q"});
  broker_->subscribe({"q"});
  EXPECT_EQ(broker_->send_to_self({"own.1", 7}), std::nullopt);
  auto deliveries = receive(*broker_, 1);
  ASSERT_EQ(deliveries.size(), 1u);
  EXPECT_EQ(deliveries[0].hint.queue, "own.1");
  EXPECT_EQ(deliveries[0].hint.tasks, 7u);
  ack(*broker_, deliveries);
  EXPECT_THAT(other->receive(Deadline::after(20ms)), IsEmpty());
  EXPECT_EQ(queue(*broker_, "own.1").consumers, 0u);
}

TEST_P(BrokerConformance, WhatAWorkerSendsToItselfComesWhateverIsSubscribed) {
  broker_->subscribe({});
  EXPECT_EQ(broker_->send_to_self({"own.1", 1}), std::nullopt);
  EXPECT_THAT(tasks_of(receive(*broker_, 1)), ElementsAre(1));
  broker_->subscribe({"q"});
  broker_->subscribe({});
  EXPECT_EQ(broker_->send_to_self({"own.1", 2}), std::nullopt);
  EXPECT_THAT(tasks_of(receive(*broker_, 1)), ElementsAre(2));
}

TEST_P(BrokerConformance, ReceiveEndsAtItsDeadline) {
  broker_->subscribe({"q"});
  EXPECT_THAT(broker_->receive(Deadline::after(0s)), IsEmpty());
  EXPECT_THAT(broker_->receive(Deadline::after(10ms)), IsEmpty());
}

TEST_P(BrokerConformance, AReceiverIsWoken) {
  auto worker = connect();
  std::vector<Delivery> deliveries;
  std::thread receiver([&] {
    worker->subscribe({"q"});
    deliveries = receive(*worker, 1);
  });
  announce("q", 7);
  receiver.join();
  EXPECT_THAT(tasks_of(deliveries), ElementsAre(7));
}

TEST_P(BrokerConformance, WhatWasAckedDoesNotComeBack) {
  auto worker = connect();
  worker->subscribe({"q"});
  broker_->announce(std::vector{Hint{"q", 1}, Hint{"q", 2}});
  ack(*worker, receive(*worker, 2));
  worker.reset();
  broker_->subscribe({"q"});
  EXPECT_THAT(broker_->receive(Deadline::after(20ms)), IsEmpty());
}

TEST_P(BrokerConformance, WhatWasGivenBackComesToSomeoneElse) {
  auto worker = connect();
  worker->subscribe({"q"});
  announce("q", 5);
  auto deliveries = receive(*worker, 1);
  worker->subscribe({});
  worker->give_back(std::vector{deliveries.at(0).tag});
  broker_->subscribe({"q"});
  EXPECT_THAT(tasks_of(receive(*broker_, 1)), ElementsAre(5));
}

TEST_P(BrokerConformance, AWorkerMayGetItsOwnHintAgain) {
  broker_->subscribe({"q"});
  announce("q", 5);
  auto first = receive(*broker_, 1);
  broker_->give_back(std::vector{first.at(0).tag});
  auto second = receive(*broker_, 1);
  EXPECT_THAT(tasks_of(second), ElementsAre(5));
  EXPECT_NE(first.at(0).tag, second.at(0).tag);
}

TEST_P(BrokerConformance, AnswersMayComeInAnyOrder) {
  broker_->subscribe({"q"});
  broker_->announce(std::vector{Hint{"q", 1}, Hint{"q", 2}, Hint{"q", 3}});
  auto deliveries = receive(*broker_, 3);
  broker_->ack(std::vector{deliveries.at(2).tag});
  broker_->give_back(std::vector{deliveries.at(0).tag});
  EXPECT_THAT(tasks_of(receive(*broker_, 1)), ElementsAre(1));
  broker_->ack(std::vector{deliveries.at(1).tag});
  EXPECT_THAT(broker_->receive(Deadline::after(20ms)), IsEmpty());
}

TEST_P(BrokerConformance, TheDeliveriesOfALostWorkerAreDeliveredAgain) {
  auto worker = connect();
  worker->subscribe({"q"});
  broker_->announce(std::vector{Hint{"q", 1}, Hint{"q", 2}, Hint{"q", 3}});
  auto deliveries = receive(*worker, 3);
  worker->ack(std::vector{deliveries.at(0).tag});
  worker.reset();
  broker_->subscribe({"q"});
  EXPECT_THAT(tasks_of(receive(*broker_, 2)), testing::UnorderedElementsAre(2, 3));
}

TEST_P(BrokerConformance, EachHintGoesToOneWorker) {
  constexpr size_t kHints = 400;
  std::atomic<size_t> received{0};
  std::vector<std::vector<size_t>> seen(4);
  std::vector<std::thread> workers;
  for (auto& mine : seen)
    workers.emplace_back([&] {
      auto worker = connect();
      worker->subscribe({"q"});
      Deadline deadline = Deadline::after(20s);
      while (received < kHints && !deadline.passed()) {
        auto deliveries = worker->receive(Deadline::after(5ms));
        for (const Delivery& delivery : deliveries) mine.push_back(delivery.hint.tasks);
        ack(*worker, deliveries);
        received += deliveries.size();
      }
    });
  for (size_t i = 0; i < kHints; ++i) announce("q", i + 1);
  for (std::thread& worker : workers) worker.join();
  std::multiset<size_t> all;
  for (const auto& mine : seen) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), kHints);
  EXPECT_EQ(std::set<size_t>(all.begin(), all.end()).size(), kHints);
}

TEST_P(BrokerConformance, AnyThreadMayAnnounce) {
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 20; ++n) announce("q");
    });
  broker_->subscribe({"q"});
  EXPECT_EQ(receive(*broker_, 80).size(), 80u);
  for (std::thread& thread : threads) thread.join();
}

TEST_P(BrokerConformance, QueuesAreCounted) {
  auto worker = connect();
  broker_->announce(std::vector{Hint{"a", 9}, Hint{"b", 1}, Hint{"a", 9}});
  auto counts = [&](const std::string& name, uint64_t ready, uint64_t unanswered,
                    uint64_t consumers) {
    return eventually(*broker_, name, [&](const BrokerQueue& q) {
      return q.ready == ready && q.unanswered.value_or(unanswered) == unanswered &&
             q.consumers == consumers;
    });
  };
  EXPECT_TRUE(counts("a", 2, 0, 0));
  EXPECT_TRUE(counts("b", 1, 0, 0));
  worker->subscribe({"a"});
  auto deliveries = receive(*worker, 2);
  EXPECT_TRUE(counts("a", 0, 2, 1));
  ack(*worker, deliveries);
  EXPECT_TRUE(counts("a", 0, 0, 1));
  worker.reset();
  EXPECT_TRUE(counts("a", 0, 0, 0));
  EXPECT_THAT(broker_->queues(std::vector<std::string>{"never_announced"}), IsEmpty());
  EXPECT_THAT(broker_->queues({}), IsEmpty());
}

TEST_P(BrokerConformance, TheStateOfABrokerThatWorks) {
  announce("q");
  BrokerState state = broker_->state();
  EXPECT_TRUE(state.connected);
  EXPECT_THAT(state.where, testing::Not(IsEmpty()));
  EXPECT_THAT(state.problem, IsEmpty());
  EXPECT_THAT(state.blocked, IsEmpty());
  EXPECT_THAT(state.refused, IsEmpty());
}

TEST_P(BrokerConformance, NothingIsAnnouncedAnsweredOrGivenBack) {
  broker_->announce({});
  broker_->ack({});
  broker_->give_back({});
  broker_->subscribe({});
  EXPECT_THAT(broker_->receive(Deadline::after(0s)), IsEmpty());
}

}  // namespace
}  // namespace opscore
