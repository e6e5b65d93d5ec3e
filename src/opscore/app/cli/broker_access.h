#pragma once
// The queues of Dramatiq as commands see them: RabbitMQ itself, without a server of opscore.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "opscore/app/config.h"
#include "opscore/base/log.h"
#include "opscore/base/random.h"
#include "opscore/broker/foreign_broker.h"
#include "opscore/net/http_client.h"

namespace opscore {

// Not thread-safe.
class BrokerAccess {
 public:
  virtual ~BrokerAccess() = default;
  // Throws Error{invalid} when the configuration names none.
  virtual ForeignBroker& broker() = 0;
  // What consumers of a queue hold; nothing when nobody can be asked.
  virtual std::optional<uint64_t> unanswered(const std::string& queue) = 0;
};

// Connects when it is first used. `config` must outlive it.
std::unique_ptr<BrokerAccess> make_rabbitmq_access(const Config& config);

}  // namespace opscore
