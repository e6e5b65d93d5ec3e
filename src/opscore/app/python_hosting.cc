#include "opscore/app/python_hosting.h"

#include <fmt/format.h>

#include "opscore/actor/python/package.h"
#include "opscore/app/command_line.h"
#include "opscore/app/supervisor.h"
#include "opscore/app/version.h"
#include "opscore/process/find_program.h"

namespace opscore {
namespace {

// The application's own environment, for that is what it was written for; and where RabbitMQ and
// the API are.
std::vector<std::string> environment_of_actors(const Config& config, int api_port) {
  auto variables = process_environment();
  if (!config.broker.url.empty()) variables.try_emplace("RABBITMQ_URL", config.broker.url);
  if (api_port > 0) {
    Config here = config;
    here.server.port = api_port;
    variables.try_emplace("OPSCORE_URL", here.server_url());
    if (!config.server.token.empty())
      variables.try_emplace("OPSCORE_API_TOKEN", config.server.token);
  }
  std::vector<std::string> environment;
  for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
  return environment;
}

}  // namespace

// Who has activated a virtual environment means its interpreter.
std::expected<std::string, Error> find_interpreter(const Config& config) {
  const std::string& configured = config.python.interpreter;
  const auto environment = config.lookup("VIRTUAL_ENV");
  std::string command = !configured.empty() ? configured
                        : environment       ? *environment + "/bin/python3"
                                            : "python3";
  auto found = find_program(command, "");
  if (found) return found;
  const char* advice = !configured.empty() ? ""
                       : environment       ? "; VIRTUAL_ENV names it"
                                           : "; install it, or set python.interpreter";
  return std::unexpected(Error(
      Errc::invalid, fmt::format("the Python interpreter: {}{}", found.error().message(), advice)));
}

PythonOptions python_options(const Config& config, int api_port) {
  PythonOptions options;
  options.interpreter = config.python.program;
  options.modules = config.python.modules;
  options.dramatiq = config.python.kind == "dramatiq";
  options.log_level = config.log.level;
  options.takes_logging = config.python.take_logging;
  if (!config.python.watch.empty())
    options.watch =
        WatchRules{config.python.watch, config.python.watch_include, config.python.watch_exclude};
  options.path = config.python.path;
  options.processes = static_cast<size_t>(config.python.processes);
  options.threads = static_cast<size_t>(config.python.threads);
  options.memory_max = static_cast<uint64_t>(config.python.max_memory.value);
  options.tasks_max = static_cast<uint64_t>(config.python.max_tasks);
  options.version = version();
  options.package = python_package();
  options.env = environment_of_actors(config, api_port);
  options.count_oom_kills = read_oom_kills;
  return options;
}

}  // namespace opscore
