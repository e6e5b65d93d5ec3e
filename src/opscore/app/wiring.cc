#include "opscore/app/wiring.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "opscore/api/submit_body.h"
#include "opscore/api/views.h"
#include "opscore/app/broker_look.h"
#include "opscore/app/config_change.h"
#include "opscore/app/config_sandbox.h"
#include "opscore/app/host_metrics.h"
#include "opscore/app/open_services.h"
#include "opscore/app/python_hosting.h"
#include "opscore/app/rabbitmq_management.h"
#include "opscore/app/session_context.h"
#include "opscore/app/version.h"
#include "opscore/app/webhook_caller.h"
#include "opscore/broker/rabbitmq/amqp_url.h"
#include "opscore/engine/diagnosis.h"
#include "opscore/model/canary.h"
#include "opscore/process/crash_handler.h"
#include "opscore/store/hidden_canaries.h"
#include "opscore/store/intercepted_store.h"

namespace opscore {
namespace {

// Between two looks for a database that does not answer, and between two complaints about it.
constexpr Duration kConnectEvery{500};
constexpr Duration kComplainEvery{5000};
constexpr Duration kForever = std::chrono::hours(24);
// How long the API waits for the worker beside it; the socket listens all the time.
constexpr Duration kWorkerSoon{2'000};
constexpr char kReloadCommand[] = "reload";

AdopterOptions adopter_options(const Config& config) {
  AdopterOptions options;
  options.queues = config.broker.rabbitmq.adopt;
  options.has_results = !config.results.url.empty();
  options.stores_results = config.results.actors;
  return options;
}

ExternalWatchOptions external_watch_options(const Config& config, const Maintenance& maintenance,
                                            HttpClient& http) {
  ExternalWatchOptions options;
  options.leads = [&maintenance] { return maintenance.leads(); };
  options.unanswered = make_unanswered_counter(http, config.broker.management_url,
                                               parse_amqp_urls(config.broker.url)->front().vhost);
  return options;
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
  if (task.type == kCanaryType) return;
  append_task(out, {task, store.id_of(task), Service::worker_name(task.worker), {}});
}

ServiceOptions service_options(const Config& config, Duties duties, const Registry& registry,
                               const AddressGuard& guard, Store& store, TimePoint now,
                               std::function<void()> on_job,
                               std::function<std::string()> why_not_consuming) {
  ServiceOptions options;
  options.url_problem = [&guard](const std::string& url) { return guard.url_problem(url); };
  options.needs_worker = duties.worker;
  options.has_results = !config.results.url.empty();
  options.stores_results = config.results.actors;
  options.why_not_consuming = std::move(why_not_consuming);
  options.bulk.exports = config.store.exports;
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

std::string submit_of_actor(Service& service, const std::string& body, const std::string& key) {
  SubmitRequest request = read_submit(body);
  if (request.idempotency_key.empty() && request.task_id.empty()) request.idempotency_key = key;
  std::string answer;
  append_submitted(answer, service.submit(std::move(request)));
  return answer;
}

WorkerOptions worker_options(const Config& config, const WiringOptions& wiring, Broker* broker,
                             Children* children, Service& service,
                             std::function<void(SessionReport&)> complete,
                             std::function<std::string()> unready,
                             std::function<std::string()> describe) {
  WorkerOptions options;
  options.submit = [&service](const std::string& body, const std::string& key) {
    return submit_of_actor(service, body, key);
  };
  options.describe = std::move(describe);
  options.broker = broker;
  options.children = children;
  options.complete = std::move(complete);
  options.unready = std::move(unready);
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

MaintenanceOptions maintenance_options(const Config& config, std::function<SessionId()> session,
                                       BulkJobs& bulk, Auditor& auditor) {
  MaintenanceOptions options;
  options.retention = retention_of(config);
  options.session = std::move(session);
  options.bulk_work = [&bulk] { return bulk.work(); };
  options.audit = [&auditor] { auditor.tick(); };
  return options;
}

PresenceOptions presence_options(const WiringOptions& wiring,
                                 std::function<void(SessionReport&)> complete,
                                 std::function<std::string()> describe) {
  PresenceOptions options;
  options.describe = std::move(describe);
  options.session_name = session_name();
  options.session_context = session_context();
  options.on_command = wiring.on_command;
  options.complete = std::move(complete);
  if (wiring.page)
    options.on_session = [page = wiring.page](SessionId session) {
      page->set_session(session.value);
    };
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

ApiOptions api_options(const Config& config, Duties duties, const WiringOptions& wiring,
                       Server& server) {
  ApiOptions options;
  options.listen_fd = wiring.listener.fd;
  if (wiring.read_config) options.reload = [&server] { return server.reload_everywhere(); };
  options.token = config.server.token;
  options.allowed_hosts = config.server.allowed_hosts;
  options.connections_max = static_cast<size_t>(config.server.connections_max);
  options.client_timeout = config.server.client_timeout;
  options.probes_only = !duties.api;
  options.ops_core = config.api.compat == "ops-core";
  options.version = version();
  options.look_at_queues = make_broker_look(config, server.http);
  // Where there is other work, its loop says whether this process does it.
  if (!duties.worker && !duties.maintenance) options.on_progress = wiring.on_progress;
  return options;
}

// Ends the sessions of those that are known to be dead: on a SQLite file everybody else, since
// whoever holds its data lock is alone; elsewhere the one before this process, of whose death its
// supervisor has told. All others are for the leader of maintenance to judge.
void end_lost_sessions(Store& store, Log& log, bool is_alone,
                       const std::optional<LostSession>& death) {
  for (const Session& session : store.fleet().sessions(Duration(0))) {
    const bool is_told = death && death->session == session.id;
    if (!is_told && !is_alone) continue;
    LostSession lost;
    lost.session = session.id;
    lost.words = fmt::format("worker {} is gone: its process ended without a word", session.name);
    if (is_told) lost = *death;
    size_t count = store.tasks().rescue(lost);
    if (count > 0) log.warn("{}; gave back {} attempts", lost.words, count);
  }
}

void refuse_shared_queues(Store& store, const std::vector<std::string>& queues, TimePoint now) {
  if (queues.empty()) return;
  for (const Session& session : store.fleet().sessions(Duration(0)))
    for (const std::string& queue : queues)
      if (is_live(session, now) && serves(session, queue))
        throw Error(Errc::conflict,
                    fmt::format("--exclusive {0}: queue '{0}' is served by worker-{1} ({2}), last "
                                "heard {3} ago; 'opscore workers drain worker-{1}' ends that one, "
                                "or leave --exclusive out",
                                queue, session.id.value, session.name,
                                to_text(std::max(now - session.renewed_at, Duration(0)))));
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

Duties Duties::of(Role role) {
  return {.api = role == Role::up || role == Role::api,
          .worker = role == Role::up || role == Role::worker,
          .maintenance = role == Role::up || role == Role::maintenance};
}

Server::Server(const Config& config, Role role, const AddActors& add_actors, WiringOptions options)
    : role_(role),
      duties_(Duties::of(role)),
      add_actors_(add_actors),
      options_(std::move(options)),
      config_(config),
      log(log_options(config)),
      reaper(log),
      guard(address_guard(config)),
      python(hosted(config)),
      actors(installed(config)),
      service(store, clock, log, metrics,
              service_options(
                  config, duties_, actors->registry, guard, store, clock.now(),
                  [this] {
                    if (begun_ && maintenance) maintenance->wake();
                  },
                  [this] { return why_not_ready(); })),
      connecting_("connecting", log, [this](std::stop_token) { return connect(); }) {
  {
    MutexLock lock(reload_mutex_);
    adopt_hosted_queues();
  }
  if (duties_.api || config.probes.port)
    api.emplace(service, metrics, log, api_options(config, duties_, options_, *this));
  add_host_metrics(metrics, log, is_embedded(config) ? config.store.path : "", options_.restarts);
  if (duties_.worker) warn_of_missing_sandboxes(config, log);
}

// Returns when the actors are known, so that whoever starts next knows them, too.
std::unique_ptr<PythonChildren> Server::hosted(const Config& config) {
  if (!duties_.worker || config.python.modules.empty()) return nullptr;
  PythonOptions options = python_options(config, duties_.api ? options_.listener.port : 0);
  options.on_actors = options_.on_actors;
  auto children = std::make_unique<PythonChildren>(reaper, log, std::move(options));
  children->start(options_.gives_up);
  return children;
}

// Who runs an application of Dramatiq means its messages, too.
void Server::adopt_hosted_queues() {
  if (!python || config_.python.kind != "dramatiq" || config_.broker.url.empty()) return;
  std::set<std::string> served;
  for (const QueueWeight& queue : config_.worker.queues) served.insert(queue.queue);
  std::vector<std::string>& adopt = config_.broker.rabbitmq.adopt;
  for (const CatalogueEntry& actor : python->actors())
    if ((served.contains("*") || served.contains(actor.queue)) &&
        std::ranges::find(adopt, actor.queue) == adopt.end())
      adopt.push_back(actor.queue);
}

std::vector<std::string> Server::adopted_queues() {
  MutexLock lock(reload_mutex_);
  return duties_.worker ? config_.broker.rabbitmq.adopt : std::vector<std::string>{};
}

std::shared_ptr<InstalledActors> Server::installed(const Config& config) {
  return install_actors(config, add_actors_,
                        python ? python->actors() : std::vector<CatalogueEntry>{}, duties_.worker,
                        role_ == Role::up, reaper, options_.groups, http, guard, clock, random);
}

void Server::start() {
  MutexLock lock(reload_mutex_);
  const bool may_wait = !is_embedded(config_) && !options_.require_store;
  try {
    begin();
  } catch (const Error& error) {
    if (!may_wait || error.code() != Errc::unavailable) throw;
    complain(error);
    connecting_.start();
  }
  lock.unlock();
  // Else the first clients would hear that no worker runs their tasks.
  if (api && begun_ && worker && !worker->wait_consuming(Deadline::after(kWorkerSoon)))
    log.warn("the worker is not up yet: the API starts without it");
  if (api) api->start();
}

void Server::open_store() {
  if (!store.is_open()) {
    auto opened = is_embedded(config_) ? open_embedded(config_, clock, random, log)
                                       : open_shared(config_, role_, clock, random, log);
    store.open(observe(hide_canaries(std::move(opened)), clock, metrics));
  }
}

// May be tried again after it has failed.
void Server::begin() {
  open_store();
  end_lost_sessions(store, log, is_embedded(config_), options_.previous_death);
  if (duties_.worker && !worker) refuse_shared_queues(store, options_.exclusive, clock.now());
  if (duties_.maintenance) configure_queues(store, config_);
  if (has_broker(config_, duties_) && !broker) {
    broker = open_broker(
        config_, duties_, store, [this] { return worker ? worker->session() : presence->id(); },
        log, random);
    add_broker_metrics(metrics, *broker);
  }
  if (has_dramatiq(config_, duties_) && !dramatiq)
    dramatiq = open_dramatiq(config_, store, log, random);
  auto complete = [this](SessionReport& report) {
    if (maintenance) maintenance->report(report);
    // Who does not lead has no contact with it.
    if (dramatiq && maintenance && maintenance->leads()) report_dramatiq(*dramatiq, report);
    if (adopter) adopter->report(report);
  };
  auto unready = [this] { return adopter ? adopter->unready() : std::string(); };
  note_context();
  auto describe = [this] { return context(); };
  if (duties_.worker && !worker)
    worker.emplace(registry_of(actors), store, clock, random, log, metrics,
                   worker_options(config_, options_, broker.get(), python.get(), service, complete,
                                  unready, describe));
  if (duties_.maintenance && !duties_.worker && !presence)
    presence.emplace(store, clock, log, presence_options(options_, complete, describe));
  if (duties_.maintenance && !auditor) auditor.emplace(store, clock, log, metrics);
  if (duties_.maintenance && !maintenance)
    maintenance.emplace(
        store, clock, log, metrics,
        maintenance_options(config_, [this] { return session(); }, service.bulk(), *auditor));
  if (duties_.maintenance && broker && !hint_relay)
    hint_relay.emplace(store, *broker, clock, log, metrics,
                       HintRelayOptions{.leads = [this] { return maintenance->leads(); }});
  if (duties_.maintenance && !relay)
    relay.emplace(store, clock, random, log, metrics,
                  relay_options(config_, *maintenance, http, guard, service));
  if (adopts(config_, duties_) && !adopter)
    adopter.emplace(service, *dramatiq, clock, random, log, metrics, adopter_options(config_));
  if (duties_.maintenance && !foreign_relay) {
    results = open_results(config_);
    foreign_relay.emplace(service, dramatiq.get(), clock, log, metrics,
                          ForeignRelayOptions{.leads = [this] { return maintenance->leads(); },
                                              .results = results.get(),
                                              .keep_results = config_.results.ttl});
  }
  if (duties_.maintenance && dramatiq && !external_watch)
    external_watch.emplace(store, *dramatiq, clock, log, metrics,
                           external_watch_options(config_, *maintenance, http));
  start_parts();
  begun_ = true;
}

void Server::start_parts() {
  if (worker) worker->start();
  if (maintenance) maintenance->start();
  if (adopter) adopter->start();
  if (foreign_relay) foreign_relay->start();
  if (hint_relay) hint_relay->start();
  if (relay) relay->start();
  if (external_watch) external_watch->start();
}

std::string Server::why_not_ready() const {
  if (!duties_.worker) return {};
  if (!begun_) return store.why_not_open();
  // Who has an API is ready when tasks are accepted and run, and they are while RabbitMQ is away.
  const bool lacks_broker =
      (broker && !broker->state().connected) || (adopter && !adopter->unready().empty());
  return duties_.api && worker->session() && lacks_broker ? std::string()
                                                          : worker->why_not_consuming();
}

// Made here, since it takes a while and is asked for by the loop that takes work.
void Server::note_context() {
  const Json context = full_context({.config = config_,
                                     .role = role_,
                                     .launch = options_.launch,
                                     .actors = actors->registry,
                                     .store_identity = store.identity(),
                                     .python = python ? python->surroundings() : std::string()});
  MutexLock lock(context_mutex_);
  context_ = context.dump();
}

std::string Server::context() {
  MutexLock lock(context_mutex_);
  return context_;
}

Duration Server::connect() {
  if (begun_) return kForever;
  options_.on_progress();
  MutexLock lock(reload_mutex_);
  try {
    begin();
    log.info("the store was reached");
  } catch (const Error& error) {
    if (error.code() != Errc::unavailable) {
      options_.on_refused(error);
      return kForever;
    }
    complain(error);
  }
  return kConnectEvery;
}

void Server::complain(const Error& error) {
  store.not_yet(error.message());
  if (clock.steady() < complain_at_) return;
  complain_at_ = clock.steady() + kComplainEvery;
  log.warn("connecting to the store: {}; trying again until it answers", error.what());
}

// Which maintenance leads with. Asked for by its loop only.
SessionId Server::session() {
  if (worker) return worker->session();
  options_.on_progress();
  return presence->keep(maintenance->leads() ? "leading" : "standby");
}

ReloadReport Server::reload() {
  MutexLock lock(reload_mutex_);
  try {
    return reload_from(options_.read_config());
  } catch (const Error& error) {
    throw refused_reload(error);
  }
}

void Server::reload_if_usable() {
  MutexLock lock(reload_mutex_);
  try {
    reload_from(options_.read_config());
  } catch (const Error& error) {
    refused_reload(error);
  }
}

Error Server::refused_reload(const Error& error) {
  Error refused = error.with_context("reload: nothing was changed");
  log.error("{}", refused.what());
  return refused;
}

ReloadReport Server::reload_everywhere() {
  ReloadReport report = reload();
  if (std::string told = tell_others_to_reload(); !told.empty())
    report.notes.push_back(std::move(told));
  return report;
}

// Each reads its own files and says in its own log what came of it.
std::string Server::tell_others_to_reload() {
  std::vector<std::string> told;
  try {
    for (const Session& session : store.fleet().sessions(Duration(0))) {
      if (worker && session.id == worker->session()) continue;
      store.fleet().command(session.id, kReloadCommand);
      told.push_back(session.name);
    }
  } catch (const Error& error) {
    return fmt::format("the other processes could not be told: {}", error.what());
  }
  if (told.empty()) return {};
  return fmt::format("told to reload their own configuration, see their logs: {}",
                     fmt::join(told, ", "));
}

// All that can fail comes first: two writes, of which the first is undone when the second fails.
ReloadReport Server::reload_from(Config next) {
  ConfigChange change = compare_configs(config_, next);
  next = with_reloadable(config_, std::move(next));
  std::shared_ptr<InstalledActors> next_actors = installed(next);
  if (maintenance) configure_queues(store, next);
  try {
    if (worker) worker->announce(next_actors->registry);
  } catch (const Error&) {
    if (maintenance) configure_queues(store, config_);
    throw;
  }

  actors = std::move(next_actors);
  config_ = std::move(next);
  log.set_level(parse_log_level(config_.log.level));
  if (maintenance) maintenance->set_retention(retention_of(config_));
  if (begun_) note_context();
  if (worker) worker->replace(registry_of(actors));
  service.declare(declared(actors->registry, clock.now()));
  if (worker) warn_of_missing_sandboxes(config_, log);
  log.info("configuration reloaded; changed: {}; needs a restart: {}",
           change.changed.empty() ? "nothing" : fmt::format("{}", fmt::join(change.changed, ", ")),
           change.needs_restart.empty() ? "nothing"
                                        : fmt::format("{}", fmt::join(change.needs_restart, ", ")));
  return {std::move(change.changed), std::move(change.needs_restart), config_.notes};
}

bool Server::stop(const std::string& last_words) {
  connecting_.stop();
  if (api) api->stop(Deadline::after(limits::kStopGrace));
  if (adopter) adopter->stop();
  bool clean = !worker || worker->stop(last_words);
  if (python) python->stop();
  if (maintenance) maintenance->stop();
  if (hint_relay) hint_relay->stop();
  if (relay) relay->stop();
  if (foreign_relay) foreign_relay->stop();
  if (external_watch) external_watch->stop();
  if (presence) presence->close(last_words);
  log.flush();
  return clean;
}

}  // namespace opscore
