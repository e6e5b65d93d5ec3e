#include "opscore/broker/memory/memory_foreign_broker.h"

#include <gmock/gmock.h>

#include <thread>

#include "opscore/base/error.h"
#include "opscore/broker/conformance/foreign_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

ForeignFactory memory_foreign_factory() {
  return {"memory", [] {
            auto hub = open_memory_foreign(ForeignFactory::kBodyMax);
            return ForeignFactory::Connect([hub] { return hub->connect(); });
          }};
}

TEST(MemoryForeign, AnOutageReachesEverybodyAndLosesNothing) {
  auto hub = open_memory_foreign();
  auto broker = hub->connect();
  broker->subscribe({"q"});
  broker->publish(std::vector{ForeignMessage{"q", "x", {}, {}}});
  auto held = broker->receive(Deadline::after(20s));
  ASSERT_EQ(held.size(), 1u);
  hub->set_away(true);
  EXPECT_THROW(broker->receive(Deadline::after(0s)), Error);
  EXPECT_THROW(broker->ack(std::vector{held[0].tag}), Error);
  EXPECT_FALSE(broker->state().connected);
  hub->set_away(false);
  broker->ack(std::vector{held[0].tag});  // from before the outage
  auto again = broker->receive(Deadline::after(20s));
  ASSERT_EQ(again.size(), 1u);
  EXPECT_TRUE(again[0].redelivered);
}

TEST(MemoryForeign, ARefusedQueueHoldsUpNoOther) {
  auto hub = open_memory_foreign();
  auto broker = hub->connect();
  hub->set_refused("bad", "no permission");
  const std::vector<ForeignMessage> messages{{"bad", "1", {}, {}}, {"good", "2", {}, {}}};
  EXPECT_THAT(broker->publish(messages), ElementsAre(false, true));
  EXPECT_EQ(broker->state().refused.at(0).why, "no permission");
  EXPECT_THAT(hub->contents("good"), ElementsAre(messages[1]));
}

}  // namespace
}  // namespace opscore

INSTANTIATE_FOREIGN_CONFORMANCE(memory, opscore::memory_foreign_factory());
