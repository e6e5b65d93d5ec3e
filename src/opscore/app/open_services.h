#pragma once
// Opens the store and the brokers that a configuration names: a new kind of either is a line here.
// All throw Error{unavailable, ...} as the opened thing says, and what they refer to must outlive
// what they return.

#include <functional>
#include <memory>

#include "opscore/app/config.h"
#include "opscore/app/wiring.h"
#include "opscore/broker/broker.h"
#include "opscore/broker/foreign_broker.h"
#include "opscore/broker/results_backend.h"
#include "opscore/store/store.h"

namespace opscore {

bool is_embedded(const Config& config);
// Without one the store is the queue; an API only writes to the store what is to be announced.
bool has_broker(const Config& config, Duties duties);
bool adopts(const Config& config, Duties duties);
// On a store of its own only for what it adopts or hands over itself.
bool has_dramatiq(const Config& config, Duties duties);

std::unique_ptr<Store> open_embedded(const Config& config, const Clock& clock, Random& random,
                                     Log& log);
std::unique_ptr<Store> open_shared(const Config& config, Role role, ServerClock& clock,
                                   Random& random, Log& log);
std::unique_ptr<Broker> open_broker(const Config& config, Duties duties, const Store& store,
                                    std::function<SessionId()> session, Log& log, Random& random);
std::unique_ptr<ForeignBroker> open_dramatiq(const Config& config, const Store& store, Log& log,
                                             Random& random);
// Nothing when none is configured.
std::unique_ptr<ResultsBackend> open_results(const Config& config);

// As of the last contact with them.
void report_dramatiq(const ForeignBroker& broker, SessionReport& report);
void add_broker_metrics(Metrics& metrics, const Broker& broker);

}  // namespace opscore
