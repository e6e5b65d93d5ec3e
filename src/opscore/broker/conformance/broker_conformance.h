#pragma once
// The behaviour that every broker has, as a test suite over a factory. A broker takes part with
//
//   INSTANTIATE_BROKER_CONFORMANCE(rabbitmq, opscore::rabbitmq_factory());
//
// in its own test file.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "opscore/broker/broker.h"

namespace opscore {

struct BrokerFactory {
  using Connect = std::function<std::unique_ptr<Broker>()>;
  std::string name;
  // Opens a broker without queues; the answer makes connections to it, one for each worker. Null
  // when the service that it takes is not there.
  std::function<Connect()> open;
};

inline void PrintTo(const BrokerFactory& factory, std::ostream* out) {
  *out << factory.name;
}

class BrokerConformance : public testing::TestWithParam<BrokerFactory> {
 protected:
  // Skips without the service.
  void SetUp() override;
  std::unique_ptr<Broker> connect() { return connect_(); }
  void announce(const std::string& queue, size_t tasks = 1);
  // Receives until `count` hints have come or a long time has passed.
  static std::vector<Delivery> receive(Broker& broker, size_t count);
  static std::vector<size_t> tasks_of(const std::vector<Delivery>& deliveries);
  static void ack(Broker& broker, const std::vector<Delivery>& deliveries);
  // What queues() says of one; all zero when there is none.
  static BrokerQueue queue(Broker& broker, const std::string& name);
  // Waits until `holds` is true of that, or a long time has passed. Counts may lag behind.
  template <class Predicate>
  static bool eventually(Broker& broker, const std::string& name, Predicate holds) {
    Deadline deadline = Deadline::after(std::chrono::seconds(20));
    while (!holds(queue(broker, name)))
      if (deadline.passed()) return false;
    return true;
  }

  BrokerFactory::Connect connect_ = GetParam().open ? GetParam().open() : nullptr;
  std::unique_ptr<Broker> broker_ = connect_ ? connect() : nullptr;
};

}  // namespace opscore

#define INSTANTIATE_BROKER_CONFORMANCE(name, factory)                          \
  namespace opscore {                                                          \
  INSTANTIATE_TEST_SUITE_P(name, BrokerConformance, testing::Values(factory)); \
  }                                                                            \
  static_assert(true)
