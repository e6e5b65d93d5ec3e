#pragma once
// What RabbitMQ says of queues when `explain` asks.

#include "opscore/app/config.h"
#include "opscore/doctor/explain.h"
#include "opscore/net/http_client.h"

namespace opscore {

// Empty when no broker is configured. Each look is a connection of its own, and with a management
// API one call for each queue. `http` must outlive it.
LookAtQueues make_broker_look(const Config& config, HttpClient& http);

}  // namespace opscore
