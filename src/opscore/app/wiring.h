#pragma once
// The composition root: how one process of opscore fits together, in one screen. Members are built
// in this order and destroyed in reverse; each borrows from those above it.

#include "opscore/actor/python/python_children.h"
#include "opscore/api/server.h"
#include "opscore/app/installed_actors.h"
#include "opscore/app/listener.h"
#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/base/mutex.h"
#include "opscore/doctor/auditor.h"
#include "opscore/engine/service.h"
#include "opscore/process/cgroup.h"
#include "opscore/process/crash_page.h"
#include "opscore/process/launch.h"
#include "opscore/store/late_store.h"
#include "opscore/store/postgres/postgres_store.h"
#include "opscore/store/postgres/server_clock.h"
#include "opscore/worker/adopter.h"
#include "opscore/worker/external_watch.h"
#include "opscore/worker/foreign_relay.h"
#include "opscore/worker/hint_relay.h"
#include "opscore/worker/maintenance.h"
#include "opscore/worker/presence.h"
#include "opscore/worker/relay.h"
#include "opscore/worker/worker.h"

namespace opscore {

// What a process does. `up` does all of it.
struct Duties {
  bool api = false;
  bool worker = false;
  bool maintenance = false;
  static Duties of(Role role);
};

struct WiringOptions {
  Listener listener;                          // of the API
  CrashPage* page = nullptr;                  // null: unsupervised
  Cgroups* groups = nullptr;                  // for runs of sandboxed programs; null: none
  std::function<void()> on_progress = [] {};  // the loop that does the work of this role is alive
  std::function<void(const std::string&)> on_dying = [](const std::string&) {};
  std::function<void(const std::string&)> on_command = [](const std::string&) {};
  std::function<bool()> gives_up = [] { return false; };  // asked while it waits for its start
  std::function<void()> on_actors = [] {};  // the hosted ones are not what they were: reload
  // The store was reached late, and cannot be used: the process should end.
  std::function<void(const Error&)> on_refused = [](const Error&) {};
  std::optional<LostSession> previous_death;  // of the process before this one
  std::function<Config()> read_config;        // for a reload; empty: there is none
  int restarts = 0;                           // of this process, by the supervisor
  // A worker does not start when another live one serves one of these queues.
  std::vector<std::string> exclusive;
  Launch launch;                              // how this process was started
  bool require_store = false;  // start() throws when PostgreSQL does not answer, instead of waiting
};

LogOptions log_options(const Config& config);
PostgresOptions postgres_options(const Config& config);

// One process: what its role has of API, worker and maintenance, on the embedded store or on
// PostgreSQL.
class Server {
 public:
  // `up` on a SQLite file: the caller holds its data lock.
  Server(const Config& config, Role role, const AddActors& add_actors, WiringOptions options);

  // Opens the store, gives back what earlier processes are known to have lost, and begins. When
  // PostgreSQL does not answer it begins with what needs no store, and with the rest once it does.
  // Throws Error when the store cannot be used.
  void start();
  // Accepts no more requests, drains the worker, stops maintenance, answers what waits. False: an
  // actor did not stop; the process must exit at once.
  bool stop(const std::string& last_words);
  // Reads the configuration again and changes what can change while running: actors, limits,
  // retention, agents, log level. Throws Error{invalid} when it is not usable; then nothing was
  // changed, and the log says why. From any thread; one at a time.
  ReloadReport reload();
  // The same, where nobody waits for an answer.
  void reload_if_usable();
  // Why it takes no work yet; empty: it does, and a canary has shown it, or its role has none to
  // take.
  std::string why_not_ready() const;
  // The queues of Dramatiq whose messages it makes tasks of.
  std::vector<std::string> adopted_queues();
  // reload(), after which the other processes of the installation are told to do the same.
  ReloadReport reload_everywhere();

 private:
  std::unique_ptr<PythonChildren> hosted(const Config& config);
  void adopt_hosted_queues() OPSCORE_REQUIRES(reload_mutex_);
  std::shared_ptr<InstalledActors> installed(const Config& config);
  void open_store() OPSCORE_REQUIRES(reload_mutex_);
  void begin() OPSCORE_REQUIRES(reload_mutex_);
  void start_parts();
  void note_context() OPSCORE_REQUIRES(reload_mutex_);
  std::string context();
  Duration connect();
  void complain(const Error& error);
  SessionId session();
  ReloadReport reload_from(Config next) OPSCORE_REQUIRES(reload_mutex_);
  Error refused_reload(const Error& error);
  std::string tell_others_to_reload();

  const Role role_;
  const Duties duties_;
  const AddActors add_actors_;
  const WiringOptions options_;
  Mutex reload_mutex_;
  Config config_ OPSCORE_GUARDED_BY(reload_mutex_);  // what is in force
  std::atomic<bool> begun_{false};                   // with all that needs the store
  Mutex context_mutex_;
  std::string context_ OPSCORE_GUARDED_BY(context_mutex_);  // JSON: where this process runs
  SteadyPoint complain_at_{};

 public:
  Log log;
  ServerClock clock;  // of this machine, until PostgreSQL has told its own
  SystemRandom random;
  Metrics metrics;
  Reaper reaper;
  HttpClient http;
  AddressGuard guard;                      // of URLs that requests and models name
  std::unique_ptr<PythonChildren> python;  // null: none is hosted
  std::shared_ptr<InstalledActors> actors;
  LateStore store;
  Service service;
  std::unique_ptr<Broker> broker;           // null: the store tells of work
  std::unique_ptr<ForeignBroker> dramatiq;  // its queues; null: nobody here uses them
  std::unique_ptr<ResultsBackend> results;  // of its messages; null: there is none
  // What the role has of these; but for the API, from when the store is open.
  std::optional<Worker> worker;
  std::optional<Presence> presence;  // of maintenance without a worker
  std::optional<Auditor> auditor;
  std::optional<Maintenance> maintenance;
  std::optional<HintRelay> hint_relay;
  std::optional<Relay> relay;
  std::optional<Adopter> adopter;
  std::optional<ForeignRelay> foreign_relay;
  std::optional<ExternalWatch> external_watch;
  std::optional<ApiServer> api;

 private:
  Loop connecting_;
};

}  // namespace opscore
