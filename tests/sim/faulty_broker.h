#pragma once
// A broker to which everything happens that may happen to one.

#include <functional>
#include <memory>

#include "opscore/base/random.h"
#include "opscore/broker/memory/memory_broker.h"

namespace opscore::sim {

// A connection to the hub. While `enabled`: announcements fail before or after they were taken,
// hints are lost or come twice, and any call may find that the connection has broken, whereupon
// whatever was not answered is delivered again.
std::unique_ptr<Broker> inject_faults(std::shared_ptr<MemoryBrokerHub> hub, Random& random,
                                      std::function<bool()> enabled);

}  // namespace opscore::sim
