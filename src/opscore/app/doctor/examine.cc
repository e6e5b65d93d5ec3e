#include "opscore/app/doctor/examine.h"

#include <fmt/format.h>

#include <future>
#include <set>
#include <sstream>

#include "opscore/app/doctor/probes.h"
#include "opscore/app/version.h"

namespace opscore {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (!line.empty()) lines.push_back(line);
  return lines;
}

// Queues of Dramatiq whose messages this installation takes, and those it gives tasks to.
struct DramatiqQueues {
  std::set<std::string> adopted, handed;
};

DramatiqQueues dramatiq_queues(const Config& config, const FleetFacts& fleet) {
  DramatiqQueues queues;
  queues.adopted.insert(config.broker.rabbitmq.adopt.begin(), config.broker.rabbitmq.adopt.end());
  for (const Session& session : fleet.sessions)
    queues.adopted.insert(session.report.adopts.begin(), session.report.adopts.end());
  for (const ActorConfig& actor : config.actors)
    if (actor.kind == "dramatiq")
      queues.handed.insert(actor.queue.empty() ? "default" : actor.queue);
  return queues;
}

BrokerFacts look_at_broker(const Config& config, HttpClient& http, const StoreProbe& store) {
  const FleetFacts fleet = store.fleet.value_or(FleetFacts());
  const DramatiqQueues dramatiq = dramatiq_queues(config, fleet);
  std::vector<std::string> names;
  for (const auto* queues : {&dramatiq.adopted, &dramatiq.handed})
    for (const std::string& queue : *queues)
      for (const char* suffix : {"", ".DQ", ".XQ"}) names.push_back(queue + suffix);
  for (const QueueStats& queue : fleet.queues) names.push_back("opscore." + queue.name);
  BrokerFacts facts = probe_broker(config, http, names);
  facts.adopted.assign(dramatiq.adopted.begin(), dramatiq.adopted.end());
  facts.handed.assign(dramatiq.handed.begin(), dramatiq.handed.end());
  facts.store = store.identity;
  return facts;
}

std::string store_words(const StoreProbe& probe) {
  const StoreFacts& store = probe.store;
  if (!store.problem.empty()) return store.where + ": cannot be used";
  if (!probe.fleet) return store.where + ": nothing is there yet";
  std::string words = fmt::format("{}: schema {}", store.where, store.schema);
  if (!store.embedded)
    words += fmt::format(", clock {:+} ms, {} of {} connections", store.clock_offset.count(),
                         store.connections, store.connections_max);
  if (store.disk_free_bytes) words += fmt::format(", {} MiB free", *store.disk_free_bytes >> 20);
  return words;
}

std::string fleet_words(const FleetFacts& fleet) {
  int64_t pending = 0, running = 0;
  for (const QueueStats& queue : fleet.queues) {
    pending += queue.pending;
    running += queue.running;
  }
  return fmt::format("sessions: {}, queues: {}, tasks due: {}, running: {}", fleet.sessions.size(),
                     fleet.queues.size(), pending, running);
}

std::string broker_words(const BrokerFacts& broker) {
  if (!broker.problem.empty()) return broker.where + ": cannot be reached";
  uint64_t unacked = 0;
  for (const auto& consumer : broker.consumers) unacked += consumer.unacked;
  std::string words = fmt::format("{}: queues of ours: {}", broker.where, broker.queues.size());
  if (!broker.management.empty() && broker.management_problem.empty())
    words += fmt::format(", consumers: {}, messages unacked: {}", broker.consumers.size(), unacked);
  return words;
}

void add_looks(const Config& config, const StoreProbe& store, const ServerFacts& server,
               const BrokerFacts& broker, const ModelFacts& models, Examination& examination) {
  examination.looks = {{"opscore", fmt::format("{} ({})", version(), build_words())},
                       {"config", config_words(config)},
                       {"store", store_words(store)}};
  if (store.fleet) examination.looks.push_back({"fleet", fleet_words(*store.fleet)});
  examination.looks.push_back(
      {"server",
       fmt::format("{}: {}", server.url,
                   !server.answers          ? "none answers"
                   : server.reasons.empty() ? "ready"
                                            : "answers, not ready: " + server.reasons[0])});
  if (!broker.where.empty()) examination.looks.push_back({"broker", broker_words(broker)});
  std::string usable;
  for (const auto& provider : models.providers)
    if (provider.unusable.empty())
      usable += (usable.empty() ? "" : ", ") + provider.name +
                (provider.is_default ? " (default)" : "") +
                (provider.refusal && provider.refusal->empty() ? " (answers)" : "");
  examination.looks.push_back({"models", usable.empty() ? "none can be used" : usable});
}

}  // namespace

Examination examine(const ConfigSources& sources, const DoctorOptions& options) {
  auto older_than = parse_duration(options.unacked_older_than);
  if (!older_than)
    throw Error(Errc::invalid, "--unacked-older-than: " + older_than.error().message());
  Examination examination;
  HostFacts host = probe_host(sources.environment);
  Config config;
  try {
    config = load_config(sources);
  } catch (const Error& error) {
    host.config_problems = lines_of(error.message());
    examination.looks = {{"opscore", fmt::format("{} ({})", version(), build_words())},
                         {"config", "cannot be used, so nothing else was looked at"}};
    examination.add(check_host(host));
    return examination;
  }
  host.config_notes = config.notes;
  HttpClient http;
  auto server_soon = std::async(std::launch::async, [&] { return probe_server(config); });
  auto models_soon =
      std::async(std::launch::async, [&] { return probe_models(config, http, options.online); });
  const StoreProbe store = probe_store(config);
  BrokerFacts broker = look_at_broker(config, http, store);
  broker.unacked_older_than = *older_than;
  const ServerFacts server = server_soon.get();
  const ModelFacts models = models_soon.get();

  add_looks(config, store, server, broker, models, examination);
  examination.add(check_host(host));
  examination.add(check_store(store.store));
  if (store.fleet) {
    examination.add(check_fleet(*store.fleet));
    examination.add(check_server(server, *store.fleet));
  }
  examination.add(check_broker(broker));
  examination.add(check_models(models));
  return examination;
}

}  // namespace opscore
