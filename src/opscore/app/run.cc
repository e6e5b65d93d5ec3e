// The commands that start something: `up` and its like. Shutdown, from the signal to the exit code,
// is serve() from top to bottom.

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "opscore/app/commands.h"
#include "opscore/app/config_change.h"
#include "opscore/app/open_files.h"
#include "opscore/app/supervisor.h"
#include "opscore/app/version.h"
#include "opscore/app/wiring.h"
#include "opscore/store/sqlite/data_lock.h"
#include "opscore/store/sqlite/sqlite_store.h"

namespace opscore {
namespace {

constexpr int kExitRestart = 70;  // EX_SOFTWARE: the supervisor starts a fresh worker
constexpr int kExitImpatient = 130;
// Who stops a service often signals every process of it, and the supervisor passes its own on: that
// is one request.
constexpr Duration kSameRequest{500};

std::string url_of(const Config& config, int port) {
  bool any = config.server.address == "0.0.0.0" || config.server.address == "::";
  std::string host =
      any || config.server.address == "127.0.0.1" ? "localhost" : config.server.address;
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  return fmt::format("http://{}:{}", host, port);
}

// What bounds the programs in sandboxes, opened before there are other processes and threads.
struct SandboxGroups {
  std::unique_ptr<Cgroups> groups;  // null: none, and `words` says why
  std::string words;                // for the banner; empty: no sandbox is used
};

SandboxGroups open_groups(const Config& config) {
  if (config.sandbox.program.empty()) return {};
  auto opened = Cgroups::open();
  if (!opened)
    return {nullptr, fmt::format("{}; no cgroups, so limits bind each process and not a run as a "
                                 "whole: {}",
                                 config.sandbox.program, opened.error().message())};
  std::string words = fmt::format("{}; each run is a cgroup ({})", config.sandbox.program,
                                  fmt::join((*opened)->controllers(), ", "));
  return {std::move(*opened), std::move(words)};
}

void print_banner(const Config& config, const EmbeddedServer& server, const std::string& sandbox,
                  int port) {
  std::vector<std::string> types;
  for (const RegisteredActor* actor : server.actors->registry.all())
    types.push_back(actor->entry.type);
  std::string url = url_of(config, port);
  std::string auth =
      config.server.token.empty() ? "" : " -H \"Authorization: Bearer $OPSCORE_API_TOKEN\"";
  fmt::print("opscore {} is up\n", version());
  fmt::print("  api     {}/api/v1 ({}/openapi.json)\n", url, url);
  fmt::print("  data    {}\n", config.store.path);
  fmt::print("  actors  {}\n", fmt::join(types, ", "));
  fmt::print("  agent   {}\n", server.actors->agent_words);
  if (!sandbox.empty()) fmt::print("  sandbox {}\n", sandbox);
  for (const Config::File& file : config.files)
    if (file.read) fmt::print("  config  {}\n", file.path);
  for (const std::string& note : config.notes) fmt::print("  note    {}\n", note);
  fmt::print(
      "  try     curl -X POST {}/api/v1/tasks/ -H \"Content-Type: application/json\"{} "
      "-d '{{\"task_type\": \"agent_task\", "
      "\"input_data\": {{\"prompt\": \"What is 6 * 7?\"}}}}'\n",
      url, auth);
  std::fflush(stdout);
}

// Signals that end the process; blocked in every thread, so that only wait_for_end() sees them.
sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  return set;
}

// Why the process should end, from other threads.
struct EndRequest {
  std::atomic<bool> asked{false};  // an operator's command
  std::atomic<bool> dying{false};  // it cannot go on; a fresh one can
};

enum class End { asked, dying };

bool has_terminal() {
  int fd = ::open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

End wait_for_end(const sigset_t& signals, const EndRequest& request, EmbeddedServer& server) {
  const timespec tick{0, 100'000'000};
  const bool had_terminal = has_terminal();
  for (;;) {
    if (request.dying) return End::dying;
    if (request.asked) return End::asked;
    int signal = ::sigtimedwait(&signals, nullptr, &tick);
    if (signal == SIGTERM || signal == SIGINT) return End::asked;
    if (signal != SIGHUP) continue;
    // The terminal that it was started on has hung up: nobody means a reload.
    if (had_terminal && !has_terminal()) return End::asked;
    server.reload_if_usable();
  }
}

LostSession to_lost(const Death& death) {
  LostSession lost;
  lost.session = SessionId{death.session};
  lost.cause =
      death.cause == Death::Cause::crashed ? LostSession::Cause::crashed : LostSession::Cause::gone;
  lost.entered_known = true;
  for (const CrashPage::Entered& entered : death.entered) {
    lost.entered.push_back({TaskKey{entered.key}, entered.attempt});
    if (death.blamed_slot == entered.slot) lost.blamed = lost.entered.back();
  }
  lost.words = fmt::format("worker {} {}", death.pid, death.words);
  return lost;
}

// Stops on another thread, so that a second signal can end the process at once.
bool stop_server(EmbeddedServer& server, const std::string& words, const sigset_t& signals,
                 WorkerLink* link) {
  std::atomic<int> result{-1};
  std::jthread stopping([&] { result = server.stop(words) ? 1 : 0; });
  const timespec tick{0, 20'000'000};
  Deadline same_request = Deadline::after(kSameRequest);
  while (result < 0) {
    if (link) link->progress();  // a drain may take longer than the supervisor's patience
    if (int signal = ::sigtimedwait(&signals, nullptr, &tick);
        (signal == SIGTERM || signal == SIGINT) && same_request.passed()) {
      server.log.warn(
          "asked to stop a second time: exiting at once; what runs is rescued by the "
          "next start");
      server.log.flush();
      std::_Exit(kExitImpatient);
    }
  }
  return result == 1;
}

// What a worker starts with that follows one that died: the file may have been reloaded meanwhile.
// `problem`: why it cannot be used, and the configuration of the first start is.
Config reread(const Config& config, const ConfigSources& sources, std::string& problem) {
  try {
    return with_reloadable(config, load_config(sources));
  } catch (const Error& error) {
    problem = error.what();
    return config;
  }
}

int serve(const Config& first_config, const ConfigSources& sources, const AddActors& add_actors,
          const Listener& listener, const SandboxGroups& sandbox, WorkerLink* link) {
  sigset_t signals = ending_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  EndRequest request;
  std::string problem;
  const Config config =
      link && link->previous_death ? reread(first_config, sources, problem) : first_config;
  WiringOptions wiring;
  wiring.read_config = [&sources] { return load_config(sources); };
  wiring.listener = listener;
  wiring.groups = sandbox.groups.get();
  wiring.on_dying = [&](const std::string&) { request.dying = true; };
  if (link) {
    wiring.page = &link->page;
    wiring.on_progress = [link] { link->progress(); };
    wiring.restarts = link->restarts;
    if (link->previous_death) wiring.previous_death = to_lost(*link->previous_death);
  }
  Log* log = nullptr;
  wiring.on_command = [&](const std::string& command) {
    if (command == "drain" || command == "stop") request.asked = true;
    if (log && command.starts_with("log-level "))
      log->set_level(parse_log_level(command.substr(10)));
  };
  EmbeddedServer server(config, add_actors, wiring);
  log = &server.log;
  server.start();
  if (link && link->previous_death)
    server.log.warn("restarted: worker {} {}", link->previous_death->pid,
                    link->previous_death->words);
  else
    print_banner(config, server, sandbox.words, listener.port);

  if (!problem.empty())
    server.log.error("the configuration of the first start is used, since now it is wrong: {}",
                     problem);

  End end = wait_for_end(signals, request, server);
  if (end == End::dying)
    server.log.error("too many slots are held by actors that do not stop: restarting");
  bool clean =
      stop_server(server, end == End::dying ? "abandoned slots" : "asked to stop", signals, link);
  int code = end == End::dying ? kExitRestart : 0;
  // A thread still inside an actor cannot be ended, only left behind.
  if (!clean) std::_Exit(code);
  return code;
}

int refuse_role(const char* role) {
  // load_config() has refused every configuration without PostgreSQL before.
  throw Error(Errc::invalid,
              fmt::format("{}: this build has no PostgreSQL store; use 'opscore up'", role));
}

}  // namespace

void make_data_folder(const std::string& file) {
  std::filesystem::path folder = std::filesystem::path(file).parent_path();
  if (folder.empty()) return;
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed)
    throw Error(Errc::unavailable,
                fmt::format("create the data folder {}: {}\n  choose another with OPSCORE_DATA or "
                            "--data",
                            folder.string(), failed.message()),
                false);
}

int run_up(const Config& loaded, const ConfigSources& sources, const RunOptions& options,
           const AddActors& add_actors) {
  Config config = loaded;
  if (auto note = raise_open_files(config.server.connections_max)) config.notes.push_back(*note);
  make_data_folder(config.store.path);
  DataLock lock(config.store.path);
  Listener listener = listen_on(config.server.address, config.server.port);
  const SandboxGroups sandbox = open_groups(config);
  if (!options.supervise) return serve(config, sources, add_actors, listener, sandbox, nullptr);
  return supervise({}, [&](WorkerLink& link) {
    return serve(config, sources, add_actors, listener, sandbox, &link);
  });
}

int run_api(const Config&, const RunOptions&, const AddActors&) {
  return refuse_role("api");
}
int run_worker(const Config&, const RunOptions&, const AddActors&) {
  return refuse_role("worker");
}
int run_maintenance(const Config&, const RunOptions&, const AddActors&) {
  return refuse_role("maintenance");
}

int run_migrate(const Config& config) {
  make_data_folder(config.store.path);
  DataLock lock(config.store.path);
  SystemClock clock;
  SystemRandom random;
  Log log(log_options(config));
  SqliteOptions options;
  options.path = config.store.path;
  open_sqlite_store(clock, random, log, options);
  fmt::print("{} is up to date\n", config.store.path);
  return 0;
}

}  // namespace opscore
