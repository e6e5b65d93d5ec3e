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

#include "opscore/app/cli/exit_codes.h"
#include "opscore/app/commands.h"
#include "opscore/app/config_change.h"
#include "opscore/app/last_words.h"
#include "opscore/app/open_files.h"
#include "opscore/app/ready_signal.h"
#include "opscore/app/supervisor.h"
#include "opscore/app/systemd.h"
#include "opscore/app/version.h"
#include "opscore/app/wiring.h"
#include "opscore/store/sqlite/data_lock.h"

namespace opscore {
namespace {

constexpr int kExitRestart = 70;  // EX_SOFTWARE: the supervisor starts a fresh worker
// Who stops a service often signals every process of it, and the supervisor passes its own on: that
// is one request.
constexpr Duration kSameRequest{500};
// How long --check waits; a worker that works takes milliseconds.
constexpr Duration kCheckPatience{10'000};

const char* words_of(Role role) {
  return role == Role::api ? "serving its API" : role == Role::worker ? "a worker" : "maintaining";
}

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

std::string banner(const Config& config, Role role, Server& server, const std::string& sandbox,
                   int port) {
  std::string out;
  const Duties duties = Duties::of(role);
  std::vector<std::string> types;
  for (const RegisteredActor* actor : server.actors->registry.all())
    types.push_back(actor->entry.type);
  std::string url = url_of(config, port);
  std::string auth =
      config.server.token.empty() ? "" : " -H \"Authorization: Bearer $OPSCORE_API_TOKEN\"";
  out += fmt::format("opscore {} is {}\n", version(), role == Role::up ? "up" : words_of(role));
  if (duties.api) out += fmt::format("  api     {}/api/v1 ({}/openapi.json)\n", url, url);
  if (!duties.api && port > 0)
    out += fmt::format("  probes  {}:{}: /health, /ready, /metrics\n", config.probes.address, port);
  out += fmt::format("  data    {}\n", config.store_words());
  if (const auto adopt = server.adopted_queues(); !adopt.empty())
    out += fmt::format("  adopts  {}: messages of Dramatiq, also those on .DQ\n",
                       fmt::join(adopt, ", "));
  if (duties.worker) {
    out += fmt::format("  actors  {}\n", fmt::join(types, ", "));
    out += fmt::format("  agent   {}\n", server.actors->agent_words);
    if (server.python)
      out += fmt::format("  python  {}\n          {}: {} processes, each with {} tasks at once\n",
                         server.python->words(), fmt::join(config.python.modules, ", "),
                         config.python.processes, config.python.threads);
    if (!sandbox.empty()) out += fmt::format("  sandbox {}\n", sandbox);
  }
  for (const Config::File& file : config.files)
    if (file.read) out += fmt::format("  config  {}\n", file.path);
  for (const std::string& note : config.notes) out += fmt::format("  note    {}\n", note);
  if (duties.api && duties.worker)
    out += fmt::format(
        "  try     curl -X POST {}/api/v1/tasks/ -H \"Content-Type: application/json\"{} "
        "-d '{{\"task_type\": \"agent_task\", "
        "\"input_data\": {{\"prompt\": \"What is 6 * 7?\"}}}}'\n",
        url, auth);
  return out;
}

// A stdout that takes nothing is no reason to end.
void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
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

// While nobody waits for them yet.
bool is_asked_to_end() {
  sigset_t pending;
  ::sigpending(&pending);
  return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
}

// What other threads want of the main one.
struct Requests {
  std::atomic<bool> stop{false};     // an operator's command
  std::atomic<bool> hurry{false};    // it should not wait for what runs
  std::atomic<bool> dying{false};    // it cannot go on; a fresh one can
  std::atomic<bool> refused{false};  // it cannot go on, and neither can another
  std::atomic<bool> reload{false};
};

enum class End { asked, dying, refused };

bool has_terminal() {
  int fd = ::open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

// `say_ready` is called once the server is.
End wait_for_end(const sigset_t& signals, Requests& requests, Server& server,
                 std::function<void()> say_ready) {
  const timespec tick{0, 100'000'000}, soon{0, 10'000'000};
  const bool had_terminal = has_terminal();
  for (;;) {
    if (say_ready && server.why_not_ready().empty()) std::exchange(say_ready, {})();
    if (requests.dying) return End::dying;
    if (requests.refused) return End::refused;
    if (requests.stop) return End::asked;
    if (requests.reload.exchange(false)) server.reload_if_usable();
    int signal = ::sigtimedwait(&signals, nullptr, say_ready ? &soon : &tick);
    if (signal == SIGTERM || signal == SIGINT) return End::asked;
    if (signal != SIGHUP) continue;
    // The terminal that it was started on has hung up: nobody means a reload.
    if (had_terminal && !has_terminal()) return End::asked;
    server.reload_if_usable();
    if (server.python) server.python->reload();
  }
}

LostSession to_lost(const Death& death) {
  LostSession lost;
  lost.session = SessionId{death.session};
  lost.cause =
      death.cause == Death::Cause::crashed ? LostSession::Cause::crashed : LostSession::Cause::gone;
  lost.entered_known = true;
  for (const CrashPage::Entered& entered : death.entered) {
    const Lease lease{TaskKey{entered.key}, entered.attempt};
    lost.entered.emplace(lease, entered.started_at);
    if (death.blamed_slot == entered.slot) lost.blamed = lease;
  }
  lost.words = fmt::format("worker {} {}", death.pid, death.words);
  return lost;
}

// Stops on another thread, so that a second signal can end the process at once.
bool stop_server(Server& server, const std::string& words, const sigset_t& signals,
                 Requests& requests, int impatient_exit, WorkerLink* link) {
  std::atomic<int> result{-1};
  std::jthread stopping([&] { result = server.stop(words) ? 1 : 0; });
  const timespec tick{0, 20'000'000};
  Deadline same_request = Deadline::after(kSameRequest);
  while (result < 0) {
    if (link) link->progress();  // a drain may take longer than the supervisor's patience
    if (requests.hurry && server.worker) server.worker->hurry();
    if (int signal = ::sigtimedwait(&signals, nullptr, &tick);
        (signal == SIGTERM || signal == SIGINT) && same_request.passed()) {
      server.log.warn(
          "asked to stop a second time: exiting at once; what runs is rescued by the "
          "next start");
      server.log.flush();
      std::_Exit(impatient_exit);
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

// What a process of any role is given.
struct Start {
  Role role;
  const Config& config;
  const ConfigSources& sources;
  const RunOptions& options;
  const AddActors& add_actors;
  Listener listener;
  const SandboxGroups& sandbox;
  Systemd& systemd;
  ReadySignal& ready;
};

WiringOptions wiring_options(const Start& start, Requests& requests, WorkerLink* link) {
  WiringOptions wiring;
  wiring.read_config = [&start] { return load_config(start.sources); };
  wiring.listener = start.listener;
  wiring.groups = start.sandbox.groups.get();
  wiring.require_store = start.options.require_store;
  wiring.exclusive = start.options.exclusive;
  wiring.launch = start.options.launch;
  wiring.on_dying = [&](const std::string&) { requests.dying = true; };
  wiring.on_actors = [&] { requests.reload = true; };
  wiring.gives_up = is_asked_to_end;
  if (!link) {
    wiring.on_progress = [&start] { start.systemd.alive(); };
    return wiring;
  }
  wiring.page = &link->page;
  wiring.on_progress = [link] { link->progress(); };
  wiring.restarts = link->restarts;
  if (link->previous_death) wiring.previous_death = to_lost(*link->previous_death);
  return wiring;
}

void obey(const std::string& command, Requests& requests, Log& log) {
  if (command == "stop") requests.hurry = true;
  if (command == "drain" || command == "stop") requests.stop = true;
  if (command == "reload") requests.reload = true;
  if (command.starts_with("log-level ")) log.set_level(parse_log_level(command.substr(10)));
}

void say_ready(const Start& start, Server& server, WorkerLink* link) {
  if (const std::string problem = start.ready.ready(); !problem.empty())
    server.log.error("it takes work, and could not say so: {}", problem);
  if (link)
    link->ready();
  else
    start.systemd.ready();
}

// Of --check: the exit code.
int check(const Start& start, Server& server, Requests& requests, const sigset_t& signals) {
  const Deadline deadline = Deadline::after(kCheckPatience);
  const timespec soon{0, 10'000'000};
  std::string why = server.why_not_ready();
  bool is_asked_to_end = false;
  while (!why.empty() && !deadline.passed() && !is_asked_to_end) {
    const int signal = ::sigtimedwait(&signals, nullptr, &soon);
    is_asked_to_end = signal == SIGTERM || signal == SIGINT;
    why = server.why_not_ready();
  }
  const std::string canary = server.worker ? server.worker->canary().words : "";
  const std::string words = why.empty() ? "checked: " + canary : "the check failed: " + why;
  stop_server(server, words, signals, requests, start.options.impatient_exit, nullptr);
  if (why.empty())
    print(fmt::format("opscore: worker: {}\n", words));
  else
    say_everywhere(start.config.log.file, fmt::format("opscore: worker: {}\n", words));
  return why.empty() ? 0 : 1;
}

int serve(const Start& start, WorkerLink* link) {
  sigset_t signals = ending_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const bool is_restart = link && link->restarts > 0;
  std::string problem;
  const Config config = is_restart ? reread(start.config, start.sources, problem) : start.config;
  if (is_restart) start.ready.over();
  Requests requests;
  WiringOptions wiring = wiring_options(start, requests, link);
  Log* log = nullptr;
  wiring.on_command = [&](const std::string& command) { obey(command, requests, *log); };
  int refusal = 0;
  std::string last_words = "asked to stop";
  wiring.on_refused = [&](const Error& error) {
    last_words = fmt::format("the store cannot be used: {}", error.what());
    log->error("{}", last_words);
    refusal = static_cast<int>(server_exit_status(error.code()));
    requests.refused = true;
  };
  Server server(config, start.role, start.add_actors, wiring);
  log = &server.log;
  server.start();
  if (start.options.check) return check(start, server, requests, signals);
  if (is_restart && link->previous_death)
    server.log.warn("restarted: worker {} {}", link->previous_death->pid,
                    link->previous_death->words);
  else if (is_restart)
    server.log.warn("restarted for the {}. time", link->restarts);
  else
    print(banner(config, start.role, server, start.sandbox.words, start.listener.port));
  if (!problem.empty())
    server.log.error("the configuration of the first start is used, since now it is wrong: {}",
                     problem);

  End end = wait_for_end(signals, requests, server, [&] { say_ready(start, server, link); });
  start.ready.over();
  if (!link) start.systemd.stopping();
  if (end == End::dying) {
    last_words = "too many slots are held by actors that do not stop";
    server.log.error("{}: restarting", last_words);
  }
  if (end == End::refused && !start.config.log.file.empty())
    say_everywhere("", fmt::format("opscore: {}\n", last_words));  // the file has it
  bool clean =
      stop_server(server, last_words, signals, requests, start.options.impatient_exit, link);
  int code = end == End::dying ? kExitRestart : end == End::refused ? refusal : 0;
  // A thread still inside an actor cannot be ended, only left behind.
  if (!clean) std::_Exit(code);
  return code;
}

// Who stops it before it has begun gets what was asked for.
int serve_unless_asked_to_end(const Start& start, WorkerLink* link) {
  try {
    return serve(start, link);
  } catch (const Error& error) {
    if (error.code() != Errc::cancelled) throw;
    return 0;
  }
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

namespace {

// A check takes nothing from a queue that others may wait on, and answers nobody.
void take_no_work(Config& config) {
  config.worker.queues.clear();
  config.broker.rabbitmq.adopt.clear();
  config.probes.port.reset();
}

// Within a catch: says, too, what to do when another process has what only one can have.
[[noreturn]] void rethrow_with_advice(const Error& error, const RunOptions& options) {
  if (error.code() != Errc::conflict || options.when_taken.empty()) throw;
  throw Error(error.code(), fmt::format("{}\n  {}", error.message(), options.when_taken));
}

// With the data lock of a SQLite file.
int run_with_store(Role role, Config config, const ConfigSources& sources,
                   const RunOptions& options, const AddActors& add_actors) {
  const Duties duties = Duties::of(role);
  ReadySignal ready(options.ready_fd, options.ready_file);
  Listener listener;
  if (duties.api) {
    OpenFiles files = raise_open_files(config.server.connections_max);
    config.program_open_files = files.before;
    if (files.note) config.notes.push_back(*files.note);
    listener = listen_on(config.server.address, config.server.port);
  } else if (config.probes.port) {
    listener = listen_on(config.probes.address, *config.probes.port);
  }
  const SandboxGroups sandbox = duties.worker ? open_groups(config) : SandboxGroups{};
  Systemd systemd(sources.environment);
  const Start start{role, config, sources, options, add_actors, listener, sandbox, systemd, ready};
  if (!options.supervise) return serve_unless_asked_to_end(start, nullptr);
  SupervisorOptions supervision;
  supervision.on_ready = [&] {
    systemd.ready();
    ready.leave_to_child();
  };
  supervision.say = [&config](const std::string& line) { say_everywhere(config.log.file, line); };
  supervision.on_alive = [&systemd] { systemd.alive(); };
  supervision.on_stopping = [&systemd] { systemd.stopping(); };
  return supervise(supervision,
                   [&](WorkerLink& link) { return serve_unless_asked_to_end(start, &link); });
}

// Then it takes no words, and to find out again would take time.
bool store_is_away(const Config& config, const RunOptions& options, const Error& error) {
  return options.require_store && !config.store.url.empty() && error.code() == Errc::unavailable;
}

}  // namespace

int run_role(Role role, const Config& loaded, const ConfigSources& sources, const RunOptions& asked,
             const AddActors& add_actors) {
  Config config = loaded;
  RunOptions options = asked;
  if (options.check) {
    take_no_work(config);
    options.supervise = false;
    options.require_store = true;
  }
  std::optional<DataLock> lock;
  if (config.store.url.empty()) try {
      make_data_folder(config.store.path);
      lock.emplace(config.store.path);
    } catch (const Error& error) {
      rethrow_with_advice(error, options);
    }
  try {
    return run_with_store(role, config, sources, options, add_actors);
  } catch (const Error& error) {
    // Where the store takes no words, stderr and the log have them.
    if (!store_is_away(config, options, error)) (void)keep_last_words(config, error.message());
    rethrow_with_advice(error, options);
  }
}

}  // namespace opscore
