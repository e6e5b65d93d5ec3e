#include "opscore/app/wiring.h"

#include <fmt/ranges.h>

#include "opscore/api/views.h"
#include "opscore/app/config_change.h"
#include "opscore/app/config_sandbox.h"
#include "opscore/app/host_metrics.h"
#include "opscore/app/session_context.h"
#include "opscore/app/version.h"
#include "opscore/app/webhook_caller.h"
#include "opscore/process/crash_handler.h"
#include "opscore/store/intercepted_store.h"
#include "opscore/store/sqlite/sqlite_store.h"

namespace opscore {
namespace {

std::unique_ptr<Store> open_store(const Config& config, const Clock& clock, Random& random,
                                  Log& log, Metrics& metrics) {
  SqliteOptions options;
  options.path = config.store.path;
  options.disk_reserve_bytes = config.store.disk_reserve.value;
  return observe(open_sqlite_store(clock, random, log, options), clock, metrics);
}

AddressGuard address_guard(const Config& config) {
  std::vector<IpRange> allowed;
  for (const std::string& range : config.net.allow) allowed.push_back(*IpRange::parse(range));
  return AddressGuard(std::move(allowed));
}

std::vector<CatalogueEntry> declared(const Registry& registry, TimePoint now) {
  std::vector<CatalogueEntry> entries;
  for (const RegisteredActor* actor : registry.all()) {
    entries.push_back(actor->entry);
    entries.back().seen_at = now;
  }
  return entries;
}

// What an export says of a task: the same as a list.
void write_exported(std::string& out, const Store& store, const Task& task) {
  append_task(out, {task, store.id_of(task), Service::worker_name(task.worker), {}});
}

ServiceOptions service_options(const Config& config, const Registry& registry,
                               const AddressGuard& guard, Store& store, TimePoint now,
                               std::function<void()> on_job) {
  ServiceOptions options;
  options.url_problem = [&guard](const std::string& url) { return guard.url_problem(url); };
  options.bulk.exports = config.store.path + ".exports";
  options.bulk.disk_reserve_bytes = config.store.disk_reserve.value;
  options.bulk.write_task = [&store](std::string& out, const Task& task) {
    write_exported(out, store, task);
  };
  options.bulk.wake = std::move(on_job);
  options.declared = declared(registry, now);
  return options;
}

std::shared_ptr<const Registry> registry_of(const std::shared_ptr<InstalledActors>& actors) {
  return {actors, &actors->registry};
}

Retention retention_of(const Config& config) {
  Retention retention{config.retention.completed, config.retention.failed, {}};
  for (const auto& [type, keep] : config.retention.types)
    retention.completed_by_type.emplace_back(type, keep);
  return retention;
}

WorkerOptions worker_options(const Config& config, const WiringOptions& wiring) {
  WorkerOptions options;
  options.slots = static_cast<size_t>(config.worker.slots);
  options.queues.clear();
  for (const QueueWeight& queue : config.worker.queues) options.queues[queue.queue] = queue.weight;
  options.session_name = session_name();
  options.session_context = session_context();
  options.drain_grace = config.worker.drain_grace;
  options.page = wiring.page;
  if (wiring.page)
    options.on_slot_thread = [](size_t slot) { set_crash_slot(static_cast<int32_t>(slot)); };
  options.on_progress = wiring.on_progress;
  options.on_command = wiring.on_command;
  options.on_dying = wiring.on_dying;
  return options;
}

MaintenanceOptions maintenance_options(const Config& config, const Worker& worker, BulkJobs& bulk) {
  MaintenanceOptions options;
  options.retention = retention_of(config);
  options.session = [&worker] { return worker.session(); };
  options.bulk_work = [&bulk] { return bulk.work(); };
  return options;
}

RelayOptions relay_options(const Config& config, const Maintenance& maintenance, HttpClient& http,
                           const AddressGuard& guard, Service& service) {
  RelayOptions options;
  options.leads = [&maintenance] { return maintenance.leads(); };
  options.call =
      make_webhook_caller(http, guard, service, {config.webhooks.secret, config.webhooks.timeout});
  options.policy.tries = config.webhooks.max_attempts;
  return options;
}

ApiOptions api_options(const Config& config, const WiringOptions& wiring, EmbeddedServer& server) {
  ApiOptions options;
  options.listen_fd = wiring.listener.fd;
  if (wiring.read_config) options.reload = [&server] { return server.reload(); };
  options.token = config.server.token;
  options.allowed_hosts = config.server.allowed_hosts;
  options.connections_max = static_cast<size_t>(config.server.connections_max);
  options.client_timeout = config.server.client_timeout;
  options.ops_core = config.api.compat == "ops-core";
  options.version = version();
  return options;
}

// Holding the data lock proves that every other session of this file is dead.
void end_earlier_sessions(Store& store, Log& log, const std::optional<LostSession>& death) {
  for (const Session& session : store.fleet().sessions(Duration(0))) {
    LostSession lost;
    lost.session = session.id;
    lost.words = fmt::format("worker {} is gone: its process ended without a word", session.name);
    if (death && death->session == session.id) lost = *death;
    size_t count = store.tasks().rescue(lost);
    if (count > 0) log.warn("{}; gave back {} attempts", lost.words, count);
  }
}

void warn_of_missing_sandboxes(const Config& config, Log& log) {
  for (const ActorConfig& actor : config.actors)
    if (std::string why = unsandboxed(config, actor); !why.empty())
      log.warn("actor {} runs WITHOUT the sandbox it prefers: {}", actor.name, why);
}

void configure_queues(Store& store, const Config& config) {
  store.tasks().change_settings([&](Settings& settings) {
    for (auto& [queue, set] : settings.queues) set.limits.configured = {};
    for (const QueueConfig& queue : config.queues) {
      QueueLimits& limits = settings.queues[queue.name].limits.configured;
      limits.max_pending = queue.max_pending;
      limits.concurrency = queue.concurrency;
      if (queue.max_input.value > 0) limits.max_input_bytes = queue.max_input.value;
    }
  });
}

}  // namespace

LogOptions log_options(const Config& config) {
  LogOptions options;
  options.level = parse_log_level(config.log.level);
  options.format = config.log.format == "json"   ? LogOptions::Format::json
                   : config.log.format == "text" ? LogOptions::Format::text
                                                 : LogOptions::Format::automatic;
  options.file = config.log.file;
  return options;
}

EmbeddedServer::EmbeddedServer(const Config& config, const AddActors& add_actors,
                               WiringOptions options)
    : add_actors_(add_actors),
      read_config_(options.read_config),
      groups_(options.groups),
      config_(config),
      log(log_options(config)),
      reaper(log),
      guard(address_guard(config)),
      actors(install_actors(config, add_actors, true, reaper, options.groups, http, guard, clock,
                            random)),
      store(open_store(config, clock, random, log, metrics)),
      service(*store, clock, random, log, metrics,
              service_options(config, actors->registry, guard, *store, clock.now(),
                              [this] { maintenance.wake(); })),
      worker(registry_of(actors), *store, clock, random, log, metrics,
             worker_options(config, options)),
      maintenance(*store, clock, log, metrics, maintenance_options(config, worker, service.bulk())),
      relay(*store, clock, random, log, metrics,
            relay_options(config, maintenance, http, guard, service)),
      api(service, metrics, log, api_options(config, options, *this)) {
  add_host_metrics(metrics, log, config.store.path, options.restarts);
  end_earlier_sessions(*store, log, options.previous_death);
  configure_queues(*store, config);
  warn_of_missing_sandboxes(config, log);
}

ReloadReport EmbeddedServer::reload() {
  MutexLock lock(reload_mutex_);
  try {
    return reload_from(read_config_());
  } catch (const Error& error) {
    Error refused = error.with_context("reload: nothing was changed");
    log.error("{}", refused.what());
    throw refused;
  }
}

void EmbeddedServer::reload_if_usable() {
  try {
    reload();
  } catch (const Error&) {  // it is in the log
  }
}

// All that can fail comes first.
ReloadReport EmbeddedServer::reload_from(Config next) {
  ConfigChange change = compare_configs(config_, next);
  next = with_reloadable(config_, std::move(next));
  std::shared_ptr<InstalledActors> installed =
      install_actors(next, add_actors_, true, reaper, groups_, http, guard, clock, random);
  worker.announce(installed->registry);
  configure_queues(*store, next);

  actors = std::move(installed);
  config_ = std::move(next);
  log.set_level(parse_log_level(config_.log.level));
  maintenance.set_retention(retention_of(config_));
  worker.replace(registry_of(actors));
  service.declare(declared(actors->registry, clock.now()));
  warn_of_missing_sandboxes(config_, log);
  log.info("configuration reloaded; changed: {}; needs a restart: {}",
           change.changed.empty() ? "nothing" : fmt::format("{}", fmt::join(change.changed, ", ")),
           change.needs_restart.empty() ? "nothing"
                                        : fmt::format("{}", fmt::join(change.needs_restart, ", ")));
  return {std::move(change.changed), std::move(change.needs_restart), config_.notes};
}

void EmbeddedServer::start() {
  worker.start();
  maintenance.start();
  relay.start();
  api.start();
}

bool EmbeddedServer::stop(const std::string& last_words) {
  api.stop(Deadline::after(limits::kStopGrace));
  bool clean = worker.stop(last_words);
  maintenance.stop();
  relay.stop();
  log.flush();
  return clean;
}

}  // namespace opscore
