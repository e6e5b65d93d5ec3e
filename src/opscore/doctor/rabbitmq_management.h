#pragma once
// What the management API of RabbitMQ tells about one virtual host: its queues with their
// arguments, who consumes them, and who holds messages. Its numbers are some seconds old.

#include <cstdint>
#include <string>
#include <vector>

#include "opscore/doctor/checks.h"
#include "opscore/net/http_client.h"

namespace opscore {

struct ManagedConsumer {
  BrokerFacts::Consumer consumer;
  std::string peer_host;  // with consumer.peer, who it is
  uint16_t peer_port = 0;
  uint16_t port = 0;    // of RabbitMQ, as the peer sees it
  std::string process;  // of a consumer that is opscore: "host:pid"
};

struct Managed {
  std::vector<BrokerFacts::Queue> queues;
  std::vector<ManagedConsumer> consumers;
  std::optional<BrokerFacts::Permissions> permissions;  // when the user may ask for them
};

// `url` may hold credentials, `user` is whose permissions count. Throws Error: unavailable, timeout
// (no answer), forbidden (the credentials), malformed.
Managed ask_management(HttpClient& http, const std::string& url, const std::string& vhost,
                       const std::string& user, Deadline deadline);

}  // namespace opscore
