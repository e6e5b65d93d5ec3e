#pragma once
// The composition root: how one process of opscore fits together, in one screen. Members are built
// in this order and destroyed in reverse; each borrows from those above it.

#include "opscore/api/server.h"
#include "opscore/app/installed_actors.h"
#include "opscore/app/listener.h"
#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/base/mutex.h"
#include "opscore/engine/service.h"
#include "opscore/process/cgroup.h"
#include "opscore/process/crash_page.h"
#include "opscore/store/store.h"
#include "opscore/worker/maintenance.h"
#include "opscore/worker/relay.h"
#include "opscore/worker/worker.h"

namespace opscore {

struct WiringOptions {
  Listener listener;
  CrashPage* page = nullptr;                  // null: unsupervised
  Cgroups* groups = nullptr;                  // for runs of sandboxed programs; null: none
  std::function<void()> on_progress = [] {};  // the intake's loop is alive
  std::function<void(const std::string&)> on_dying = [](const std::string&) {};
  std::function<void(const std::string&)> on_command = [](const std::string&) {};
  std::optional<LostSession> previous_death;  // of the worker before this one
  std::function<Config()> read_config;        // for a reload; empty: there is none
  int restarts = 0;                           // of the worker, by the supervisor
};

LogOptions log_options(const Config& config);

// API, worker and maintenance on the embedded store.
class EmbeddedServer {
 public:
  // Opens the store and gives back what earlier processes held: the caller holds the data lock,
  // which proves that they are dead.
  EmbeddedServer(const Config& config, const AddActors& add_actors, WiringOptions options);

  void start();
  // Accepts no more requests, drains the worker, stops maintenance, answers what waits. False: an
  // actor did not stop; the process must exit at once.
  bool stop(const std::string& last_words);
  // A drain under way does not wait for its grace any longer.
  void hurry() { worker.hurry(); }
  // Reads the configuration again and changes what can change while running: actors, limits,
  // retention, agents, log level. Throws Error{invalid} when it is not usable; then nothing was
  // changed, and the log says why. From any thread; one at a time.
  ReloadReport reload();
  // The same, where nobody waits for an answer.
  void reload_if_usable();

 private:
  ReloadReport reload_from(Config next) OPSCORE_REQUIRES(reload_mutex_);

  Mutex reload_mutex_;
  const AddActors add_actors_;
  const std::function<Config()> read_config_;
  Cgroups* const groups_;
  Config config_ OPSCORE_GUARDED_BY(reload_mutex_);  // what is in force

 public:
  Log log;
  SystemClock clock;
  SystemRandom random;
  Metrics metrics;
  Reaper reaper;
  HttpClient http;
  AddressGuard guard;  // of URLs that requests and models name
  std::shared_ptr<InstalledActors> actors;
  std::unique_ptr<Store> store;
  Service service;
  Worker worker;
  Maintenance maintenance;
  Relay relay;
  ApiServer api;
};

}  // namespace opscore
