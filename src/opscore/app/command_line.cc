#include "opscore/app/command_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <thread>

#include "opscore/actor.h"
#include "opscore/app/cli/client_commands.h"
#include "opscore/app/config_show.h"
#include "opscore/app/dramatiq_arguments.h"
#include "opscore/app/last_words.h"
#include "opscore/app/open_files.h"
#include "opscore/app/version.h"

namespace opscore {
namespace {

// What can be answered from the store alone.
bool reads_offline(const std::string& command) {
  return command == "explain" || command == "tasks show" || command == "workers show" ||
         command == "workers diff";
}

CommandExit run_client(ClientCommand command, const CommandLine& line, const Config& config) {
  SystemClock clock;
  Screen screen = look_at_terminal(config.environment);
  auto api = make_http_api_client(config);
  auto rabbitmq = make_rabbitmq_access(config);
  ClientContext context{line,      config,   screen,    clock,    *api,
                        *rabbitmq, std::cin, std::cout, std::cerr};
  try {
    return command(context);
  } catch (const Error& error) {
    // Another server's tasks are not in the store here.
    bool may_read = reads_offline(line.command) && config.client.url.empty();
    if (error.code() != Errc::unavailable || !may_read) throw;
    if (config.store.url.empty() && ::access(config.store.path.c_str(), F_OK) != 0) throw;
  }
  std::cerr << fmt::format("no server answers at {}: reading {} itself\n", config.server_url(),
                           config.store_words());
  auto offline = make_offline_api_client(config);
  ClientContext from_file{line,      config,   screen,    clock,    *offline,
                          *rabbitmq, std::cin, std::cout, std::cerr};
  return command(from_file);
}

int run_doctor(const CommandLine& line, const ConfigSources& sources) {
  try {
    const Examination examination = examine(sources, line.doctor);
    const Screen screen = look_at_terminal(sources.environment);
    std::cout << (line.json ? to_json(examination).dump(2) + "\n"
                            : printable(screen, to_text(examination)));
    return exit_code_of(examination);
  } catch (const Error& error) {
    std::cerr << error_text(line.command, error.message());
    return static_cast<int>(CommandExit::usage);
  }
}

int print_version(bool json) {
  if (json)
    std::cout << Json{{"version", version()}, {"build", build_words()}}.dump() << '\n';
  else
    std::cout << fmt::format("opscore {} ({})\n", version(), build_words());
  return 0;
}

int run_config(const CommandLine& line, const Config& config) {
  if (line.command == "config show") {
    std::cout << (line.json ? config_json(config).dump(2) + "\n" : config_text(config));
    return 0;
  }
  if (line.json)
    std::cout << Json{{"ok", true}, {"notes", config.notes}}.dump() << '\n';
  else
    std::cout << fmt::format("the configuration is fine: {} actors, {} notes\n",
                             config.actors.size(), config.notes.size());
  for (const auto& note : config.notes) std::cerr << "note: " << note << '\n';
  return 0;
}

constexpr char kWhenTaken[] =
    "without a DATABASE_URL, 'opscore dramatiq' is a whole server, one for a data file and a "
    "port.\n"
    "  Several on a machine: give them all the same DATABASE_URL (PostgreSQL). They are workers "
    "then,\n"
    "  beside 'opscore api' and 'opscore maintenance'. Or one that hosts everything: all modules, "
    "and\n"
    "  more of -p and -t. Or an installation of its own, with tasks of its own, for each:\n"
    "  OPSCORE_DATA=FOLDER OPSCORE_SERVER_PORT=PORT opscore dramatiq ...";

// The drop-in for the dramatiq command: with PostgreSQL a worker, else everything on one file.
int run_dramatiq(const CommandLine& line, ConfigSources sources, const AddActors& add_actors) {
  Config config = load_config(sources);
  if (!config.store.url.empty()) {
    sources.role = Role::worker;
    config = load_config(sources);
  }
  std::optional<PidFile> pid_file;
  try {
    pid_file.emplace(line.dramatiq.pid_file);
  } catch (const Error& error) {
    std::cerr << error_text(line.command, error.message());
    return kDramatiqPidFile;
  }
  RunOptions options = line.run;
  options.impatient_exit = kDramatiqKilled;
  if (sources.role == Role::up) options.when_taken = kWhenTaken;
  return run_role(sources.role, config, sources, options, add_actors);
}

int run_server(const CommandLine& line, const Config& config, const ConfigSources& sources,
               const AddActors& add_actors) {
  const std::string& command = line.command;
  if (command == "up" || command == "api" || command == "worker" || command == "maintenance")
    return run_role(sources.role, config, sources, line.run, add_actors);
  if (command == "dramatiq") return run_dramatiq(line, sources, add_actors);
  if (command == "migrate") return run_migrate(config, line.migrate);
  if (command == "backup") return run_backup(config, line.file, line.json);
  if (command == "restore") return run_restore(config, line.file, line.json);
  if (command == "bench") {
    BenchOptions bench = line.bench;
    if (bench.mode == BenchOptions::Mode::server && bench.url.empty())
      bench.url = config.server_url();
    return run_bench(config, bench, add_actors);
  }
  OPSCORE_ASSERT(false, "a command that nothing runs");
}

bool serves(const std::string& command) {
  return command == "up" || command == "api" || command == "worker" || command == "maintenance" ||
         command == "dramatiq";
}

// The exit status: an answer that nobody could read was not given.
int after_output(int code) {
  if (std::cout << std::flush) return code;
  std::cerr << error_text("stdout",
                          "what was to be printed could not be written; is the disk full?");
  return code == 0 ? static_cast<int>(CommandExit::failed) : code;
}

// Of a client command: an id, a condition or a key that is empty, usually because a variable of a
// script is not set, must not be taken for one that was left out.
std::optional<std::string> empty_argument(const CommandLine& line,
                                          const std::vector<std::string>& arguments) {
  if (!find_client_command(line.command)) return std::nullopt;
  std::string before;
  for (const std::string& argument : arguments) {
    bool has_value = argument.starts_with("--") && argument.find('=') + 1 == argument.size();
    const std::string& name = has_value ? argument : before;
    bool may_be = name.starts_with("--cursor") || name.starts_with("--url") ||
                  name.starts_with("--config") || name.starts_with("--input");
    if ((argument.empty() || has_value) && !may_be)
      return fmt::format("there is an empty argument{}; leave it out, or look where it comes from",
                         name.starts_with("--") ? " of " + name.substr(0, name.find('=')) : "");
    before = argument;
  }
  return std::nullopt;
}

// Why a command ends: on stderr and, of one that serves, in its log file, even when the rest of its
// configuration could not be read.
void report_end(const CommandLine& line, const ConfigSources& sources, const std::string& text) {
  std::string log_file;
  if (serves(line.command)) {
    auto flag = line.flags.find("log.file");
    auto variable = sources.environment.find("OPSCORE_LOG_FILE");
    if (flag != line.flags.end())
      log_file = flag->second;
    else if (variable != sources.environment.end())
      log_file = variable->second;
  }
  say_everywhere(log_file, text);
}

int run_command(const CommandLine& line, const AddActors& add_actors) {
  if (line.command == "version") return print_version(line.json);
  ClientCommand client = find_client_command(line.command);
  const ConfigSources sources = config_sources(line, process_environment());
  if (line.command == "doctor") return run_doctor(line, sources);
  Config config;
  try {
    config = load_config(sources);
  } catch (const Error& error) {
    report_end(line, sources, error_text("configuration", "not usable\n" + error.message()));
    return static_cast<int>(CommandExit::usage);
  }
  try {
    if (client) return static_cast<int>(run_client(client, line, config));
    if (line.command.starts_with("config ")) return run_config(line, config);
    return run_server(line, config, sources, add_actors);
  } catch (const Error& error) {
    report_end(line, sources, error_text(line.command, error.message()));
    if (line.run.check) return static_cast<int>(CommandExit::failed);
    return static_cast<int>(client ? client_exit_status(error.code())
                                   : server_exit_status(error.code()));
  }
}

}  // namespace

// layout: table
Role role_of(const std::string& command) {
  if (command == "up" || command == "dramatiq") return Role::up;
  if (command == "api") return Role::api;
  if (command == "worker") return Role::worker;
  if (command == "maintenance") return Role::maintenance;
  if (command == "migrate" || command == "backup" || command == "restore") return Role::migrate;
  if (command == "config reload") return Role::client;
  if (command == "doctor") return Role::inspect;
  if (command.starts_with("config ")) return Role::inspect;
  return Role::client;
}

ConfigSources config_sources(const CommandLine& line,
                             const std::map<std::string, std::string>& environment) {
  ConfigSources sources;
  sources.role = role_of(line.command);
  sources.flags = line.flags;
  sources.flag_names = line.flag_names;
  sources.environment = environment;
  sources.config_file = line.config_file;
  sources.use_dotenv = !line.no_dotenv;
  sources.cpus = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  return sources;
}

std::map<std::string, std::string> process_environment() {
  std::map<std::string, std::string> environment;
  for (char** entry = ::environ; entry && *entry; ++entry) {
    std::string_view text = *entry;
    size_t equals = text.find('=');
    if (equals != std::string_view::npos)
      environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

std::string error_text(const std::string& attempted, const std::string& message) {
  std::string text = fmt::format("opscore: {}: ", attempted);
  for (char c : message) {
    text += c;
    if (c == '\n') text += "  ";
  }
  return text + "\n";
}

int run_main(int argc, char** argv, const AddActors& add_actors) {
  const Launch launch = look_at_launch();
  hold_standard_files();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  auto line = parse_command_line(arguments);
  if (!line) {
    std::cout << line.error().out;
    std::cerr << line.error().err;
    return after_output(line.error().code);
  }
  if (auto empty = empty_argument(*line, arguments)) {
    std::cerr << error_text(line->command, *empty);
    return static_cast<int>(CommandExit::usage);
  }
  // A reader of stdout or stderr that is gone ends no server.
  if (serves(line->command)) std::signal(SIGPIPE, SIG_IGN);
  try {
    line->run.launch = launch;
    int code = run_command(*line, add_actors);
    return serves(line->command) ? code : after_output(code);
  } catch (const std::exception& error) {
    std::cerr << error_text(line->command, error.what());
    return static_cast<int>(CommandExit::failed);
  }
}

}  // namespace opscore
