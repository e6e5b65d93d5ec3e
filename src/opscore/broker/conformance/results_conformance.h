#pragma once
// The behaviour of every results backend, as a test suite over a factory. One takes part with
//
//   INSTANTIATE_RESULTS_CONFORMANCE(redis, opscore::redis_results_factory());
//
// in its own test file.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "opscore/base/random.h"
#include "opscore/broker/results_backend.h"

namespace opscore {

// A backend, and what Python does to the same data.
class ResultsSide {
 public:
  virtual ~ResultsSide() = default;
  virtual ResultsBackend& backend() = 0;
  virtual void create_barrier(const std::string& group, int members) = 0;
  virtual std::optional<std::string> result(const StoredResult& stored) = 0;
  virtual void set_away(bool away) = 0;
};

struct ResultsFactory {
  std::string name;
  // Null when the service that it takes is not there.
  std::function<std::unique_ptr<ResultsSide>()> open;
};

inline void PrintTo(const ResultsFactory& factory, std::ostream* out) {
  *out << factory.name;
}

class ResultsConformance : public testing::TestWithParam<ResultsFactory> {
 protected:
  // Skips without the service.
  void SetUp() override;
  Barrier count(const std::string& group, const std::string& message_id);

  // Names of this test alone, in a service that others may use, too.
  const std::string id_ = fmt::format("opscore-test-{:x}-", SystemRandom().next());
  const std::string g_ = id_ + "g", h_ = id_ + "h", i_ = id_ + "i", nowhere_ = id_ + "nowhere";
  std::unique_ptr<ResultsSide> side_ = GetParam().open ? GetParam().open() : nullptr;
};

}  // namespace opscore

#define INSTANTIATE_RESULTS_CONFORMANCE(name, factory)                          \
  namespace opscore {                                                           \
  INSTANTIATE_TEST_SUITE_P(name, ResultsConformance, testing::Values(factory)); \
  }                                                                             \
  static_assert(true)
