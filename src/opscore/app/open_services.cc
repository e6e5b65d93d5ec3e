#include "opscore/app/open_services.h"

#include <algorithm>

#include "opscore/app/session_context.h"
#include "opscore/app/version.h"
#include "opscore/broker/rabbitmq/rabbitmq_broker.h"
#include "opscore/broker/rabbitmq/rabbitmq_foreign_broker.h"
#include "opscore/broker/redis/redis_results.h"
#include "opscore/store/postgres/postgres_store.h"
#include "opscore/store/sqlite/sqlite_store.h"

namespace opscore {
namespace {

bool hands_over(const Config& config) {
  return std::ranges::any_of(config.actors,
                             [](const ActorConfig& actor) { return actor.kind == "dramatiq"; });
}

// `opscore doctor` tells by them who holds messages.
std::vector<std::pair<std::string, std::string>> broker_properties(const Store& store) {
  return {{"store", store.identity()}, {"process", session_name()}, {"version", version()}};
}

}  // namespace

PostgresOptions postgres_options(const Config& config) {
  PostgresOptions options;
  options.url = config.store.url;
  options.direct_url = config.store.direct_url;
  options.schema = config.store.schema;
  return options;
}

bool is_embedded(const Config& config) {
  return config.store.url.empty();
}

bool has_broker(const Config& config, Duties duties) {
  return !is_embedded(config) && !config.broker.url.empty() &&
         (duties.worker || duties.maintenance);
}

bool adopts(const Config& config, Duties duties) {
  return duties.worker && !config.broker.rabbitmq.adopt.empty();
}

bool has_dramatiq(const Config& config, Duties duties) {
  const bool publishes = duties.maintenance && (!is_embedded(config) || hands_over(config));
  return !config.broker.url.empty() && (adopts(config, duties) || publishes);
}

std::unique_ptr<Store> open_embedded(const Config& config, const Clock& clock, Random& random,
                                     Log& log) {
  SqliteOptions options;
  options.path = config.store.path;
  options.disk_reserve_bytes = config.store.disk_reserve.value;
  return open_sqlite_store(clock, random, log, options);
}

std::unique_ptr<Store> open_shared(const Config& config, Role role, ServerClock& clock,
                                   Random& random, Log& log) {
  PostgresOptions options = postgres_options(config);
  options.clock = &clock;
  options.migrate = role == Role::up;
  options.announce = has_broker(config, Duties::of(role));
  return open_postgres_store(clock, random, log, options);
}

std::unique_ptr<Broker> open_broker(const Config& config, Duties duties, const Store& store,
                                    std::function<SessionId()> session, Log& log, Random& random) {
  RabbitMqOptions options;
  options.url = config.broker.url;
  options.connection_name = duties.worker ? "opscore worker" : "opscore maintenance";
  options.properties = broker_properties(store);
  options.session = [session] { return std::to_string(session().value); };
  return open_rabbitmq_broker(options, log, random);
}

std::unique_ptr<ForeignBroker> open_dramatiq(const Config& config, const Store& store, Log& log,
                                             Random& random) {
  ForeignRabbitMqOptions options;
  options.url = config.broker.url;
  options.connection_name = "opscore dramatiq";
  options.properties = broker_properties(store);
  options.max_priority = config.broker.rabbitmq.max_priority;
  options.dead_ttl = config.broker.rabbitmq.dead_message_ttl;
  return open_foreign_rabbitmq(options, log, random);
}

std::unique_ptr<ResultsBackend> open_results(const Config& config) {
  if (config.results.url.empty()) return nullptr;
  RedisResultsOptions options;
  options.url = config.results.url;
  options.keys = {config.results.name_space, config.results.namespace_keys};
  options.barrier_ttl = config.results.barrier_ttl;
  return open_redis_results(options);
}

void report_dramatiq(const ForeignBroker& broker, SessionReport& report) {
  const BrokerState state = broker.state();
  SessionReport::Broker& shown = report.dramatiq.emplace();
  shown.where = state.where;
  shown.problem = state.problem;
  shown.blocked = state.blocked;
  for (const Refusal& refusal : state.refused) shown.refused[refusal.queue] = refusal.why;
}

void add_broker_metrics(Metrics& metrics, const Broker& broker) {
  metrics.on_expose([&] {
    const BrokerState state = broker.state();
    metrics.set_gauge("opscore_broker_connected", "1 while RabbitMQ can be reached.",
                      state.connected);
    metrics.set_gauge("opscore_broker_blocked", "1 while RabbitMQ takes no messages: an alarm.",
                      !state.blocked.empty());
    metrics.set_gauge("opscore_broker_refused_queues", "Queues that RabbitMQ refuses; see the log.",
                      static_cast<double>(state.refused.size()));
  });
}

}  // namespace opscore
