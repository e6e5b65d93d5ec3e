#pragma once
// What `opscore doctor` looks at, each with a limit of time. None of them throws: that something
// cannot be looked at is a fact. Safe for concurrent use.

#include "opscore/app/config.h"
#include "opscore/doctor/checks.h"
#include "opscore/net/http_client.h"

namespace opscore {

inline constexpr Duration kProbePatience{1'300};  // of each; two of them follow each other

HostFacts probe_host(const std::map<std::string, std::string>& environment);
// The settings that a user may look for first, with where each is from.
std::string config_words(const Config& config);

// The store, and what is in it; that only when it can be read.
struct StoreProbe {
  StoreFacts store;
  std::optional<FleetFacts> fleet;
  std::string identity;
};
StoreProbe probe_store(const Config& config);

ServerFacts probe_server(const Config& config);

// `names` are queues to ask for, as RabbitMQ names them; of all it tells when there is a management
// API.
BrokerFacts probe_broker(const Config& config, HttpClient& http,
                         const std::vector<std::string>& names);

ModelFacts probe_models(const Config& config, HttpClient& http, bool online);

}  // namespace opscore
