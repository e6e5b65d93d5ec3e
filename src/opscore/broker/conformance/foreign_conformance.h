#pragma once
// The behaviour of every implementation of Dramatiq's queues, as a test suite over a factory. One
// takes part with
//
//   INSTANTIATE_FOREIGN_CONFORMANCE(rabbitmq, opscore::foreign_rabbitmq_factory());
//
// in its own test file.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "opscore/broker/foreign_broker.h"

namespace opscore {

struct ForeignFactory {
  static constexpr size_t kBodyMax = 200'000;  // of what open() makes

  using Connect = std::function<std::unique_ptr<ForeignBroker>()>;
  std::string name;
  // Opens a broker; the answer makes connections to it. Null when the service that it takes is not
  // there.
  std::function<Connect()> open;
};

inline void PrintTo(const ForeignFactory& factory, std::ostream* out) {
  *out << factory.name;
}

class ForeignConformance : public testing::TestWithParam<ForeignFactory> {
 protected:
  // Skips without the service.
  void SetUp() override;
  std::unique_ptr<ForeignBroker> connect() { return connect_(); }
  void publish(const std::string& queue, const std::string& body);
  // Receives until `count` have come or a long time has passed.
  static std::vector<ForeignDelivery> receive(ForeignBroker& broker, size_t count);
  static std::vector<std::string> bodies_of(const std::vector<ForeignDelivery>& deliveries);
  static std::vector<uint64_t> tags_of(const std::vector<ForeignDelivery>& deliveries);
  // Waits until the queue has so many messages ready and consumers. Counts may lag behind.
  bool counts(const std::string& queue, uint64_t ready, uint64_t consumers);

  ForeignFactory::Connect connect_ = GetParam().open ? GetParam().open() : nullptr;
  std::unique_ptr<ForeignBroker> broker_ = connect_ ? connect() : nullptr;
  // Of this test alone.
  const std::string q_ = "q";
};

}  // namespace opscore

#define INSTANTIATE_FOREIGN_CONFORMANCE(name, factory)                          \
  namespace opscore {                                                           \
  INSTANTIATE_TEST_SUITE_P(name, ForeignConformance, testing::Values(factory)); \
  }                                                                             \
  static_assert(true)
