#include "opscore/broker/memory/memory_broker.h"

#include <gtest/gtest.h>

#include <thread>

#include "opscore/base/error.h"
#include "opscore/broker/conformance/broker_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;

BrokerFactory memory_broker_factory() {
  return {"memory", [] {
            auto hub = open_memory_broker();
            return [hub] { return hub->connect(); };
          }};
}

std::vector<uint64_t> tags_of(const std::vector<Delivery>& deliveries) {
  std::vector<uint64_t> tags;
  for (const Delivery& delivery : deliveries) tags.push_back(delivery.tag);
  return tags;
}

TEST(MemoryBroker, DeliversNoMoreThanAWindowUnanswered) {
  auto broker = open_memory_broker()->connect();
  broker->subscribe({"q"});
  broker->announce(std::vector<Hint>(MemoryBrokerHub::kWindow + 5, Hint{"q", 1}));
  auto first = broker->receive(Deadline::after(1s));
  EXPECT_EQ(first.size(), MemoryBrokerHub::kWindow);
  EXPECT_TRUE(broker->receive(Deadline::after(0s)).empty());
  broker->ack(tags_of(first));
  EXPECT_EQ(broker->receive(Deadline::after(1s)).size(), 5u);
}

TEST(MemoryBroker, WhileAwayEveryCallThrowsUnavailable) {
  auto hub = open_memory_broker();
  auto broker = hub->connect();
  hub->set_away(true);
  for (const auto& call : std::vector<std::function<void()>>{
           [&] { broker->announce(std::vector{Hint{"q", 1}}); },
           [&] { broker->subscribe({"q"}); },
           [&] { broker->receive(Deadline::after(10s)); },
           [&] { broker->ack(std::vector{uint64_t{1}}); },
           [&] { broker->give_back(std::vector{uint64_t{1}}); },
           [&] { broker->queues(std::vector<std::string>{"q"}); },
       }) {
    try {
      call();
      ADD_FAILURE() << "a broker that is away answered";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::unavailable);
      EXPECT_TRUE(error.retryable());
    }
  }
}

TEST(MemoryBroker, GoingAwayEndsAWaitAndRequeues) {
  auto hub = open_memory_broker();
  auto broker = hub->connect();
  broker->subscribe({"q"});
  broker->announce(std::vector{Hint{"q", 3}});
  auto deliveries = broker->receive(Deadline::after(1s));
  bool threw = false;
  std::thread waiter([&] {
    try {
      broker->receive(Deadline::after(20s));
    } catch (const Error&) {
      threw = true;
    }
  });
  hub->set_away(true);
  waiter.join();
  EXPECT_TRUE(threw);
  hub->set_away(false);
  broker->ack(tags_of(deliveries));  // stale: the hint has gone back meanwhile
  auto again = broker->receive(Deadline::after(1s));
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].hint.tasks, 3u);
}

TEST(MemoryBroker, BrokersKeepTheirHubAlive) {
  auto broker = open_memory_broker()->connect();
  broker->announce(std::vector{Hint{"q", 1}});
  EXPECT_EQ(broker->queues(std::vector<std::string>{"q"}).size(), 1u);
}

}  // namespace
}  // namespace opscore

INSTANTIATE_BROKER_CONFORMANCE(memory, opscore::memory_broker_factory());
