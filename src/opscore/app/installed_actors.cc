#include "opscore/app/installed_actors.h"

#include "opscore/actor/exec/exec_actor.h"
#include "opscore/actor/http/http_actor.h"
#include "opscore/actor/native/builtin.h"
#include "opscore/agent/agent_actor.h"
#include "opscore/agent/providers.h"
#include "opscore/agent/tools/builtin_tools.h"
#include "opscore/agent/tools/exec_tool.h"
#include "opscore/agent/tools/http_get_tool.h"
#include "opscore/app/config_sandbox.h"
#include "opscore/engine/input_schema.h"

namespace opscore {
namespace {

ActorOptions actor_options(const Config& all, const ActorConfig& config) {
  ActorOptions options;
  options.queue = config.queue;
  options.version = config.version;
  options.description = config.description;
  options.input_schema = config.input_schema.json;
  options.timeout = config.timeout;
  options.max_attempts = config.max_attempts;
  options.retry = config.retry();
  options.concurrency = static_cast<size_t>(config.concurrency);
  // SIGTERM, the configured grace, SIGKILL, and the reaping of what escaped.
  if (config.kind == "exec") options.stop_grace = config.stop_grace + limits::kStopGrace * 2;
  options.aliases = config.aliases;
  options.sandbox = config.sandbox;
  options.unsandboxed = unsandboxed(all, config);
  if (config.kind == "dramatiq") options.dramatiq = config.options.json;
  return options;
}

// What bounds a program that is started without end, when nobody set another bound.
constexpr uint64_t kSandboxProcesses = 1024;

ExecSandbox sandbox_options(const Config& all, const ActorConfig& config, Cgroups* groups) {
  ExecSandbox sandbox;
  sandbox.bwrap = all.sandbox.program;
  sandbox.rules.network = config.network;
  sandbox.rules.read = config.read;
  sandbox.rules.write = config.write;
  sandbox.rules.hidden = hidden_from(all, config);
  sandbox.rules.tmp_bytes = static_cast<uint64_t>(config.tmp_max.value);
  sandbox.groups = groups;
  sandbox.limits.memory_bytes = static_cast<uint64_t>(config.limits.memory.value);
  sandbox.limits.processes = config.limits.processes > 0
                                 ? static_cast<uint64_t>(config.limits.processes)
                                 : kSandboxProcesses;
  sandbox.limits.cpus = config.limits.cpus;
  return sandbox;
}

ExecOptions exec_options(const Config& all, const ActorConfig& config, Cgroups* groups) {
  ExecOptions options;
  options.command = config.command;
  options.command[0] = config.program;
  options.cwd = config.cwd;
  options.output = config.output == "json" ? OutputFormat::json : OutputFormat::text;
  options.env = config.env;
  options.stop_grace = config.stop_grace;
  options.result_bytes_max = static_cast<size_t>(config.result_max.value);
  for (const auto& [code, meaning] : config.exit_codes) {
    ExitMeaning& mapped = options.exit_codes[code];
    mapped.kind = meaning.meaning == ExitCode::Meaning::fatal    ? ExitMeaning::Kind::fatal
                  : meaning.meaning == ExitCode::Meaning::snooze ? ExitMeaning::Kind::snooze
                                                                 : ExitMeaning::Kind::retry;
    mapped.delay = meaning.delay;
  }
  options.limits.memory_bytes = config.limits.memory.value;
  options.limits.cpu = config.limits.cpu;
  options.limits.open_files = config.limits.open_files;
  options.limits.open_files_soft = all.program_open_files;
  options.limits.file_bytes = config.limits.file_size.value;
  options.limits.processes = config.limits.processes;
  options.unsandboxed = unsandboxed(all, config);
  if (!all.sandbox.program.empty() && config.sandbox != "off")
    options.sandbox = sandbox_options(all, config, groups);
  // Where the group cannot say it, it is said of what is in the sandbox.
  if (options.sandbox) {
    const bool grouped = groups && groups->bounds("pids");
    options.limits.processes = grouped ? 0 : options.sandbox->limits.processes;
  }
  return options;
}

// Of a process that says what there is and runs none of it.
class DeclaredActor final : public Actor {
 public:
  Outcome run(TaskContext& task) override {
    throw Error(Errc::internal, fmt::format("this process does not run tasks: {}", task.type()));
  }
};

HttpActorOptions http_options(const ActorConfig& config) {
  HttpActorOptions options;
  options.url = config.url;
  options.headers.assign(config.headers.begin(), config.headers.end());
  options.secret = config.secret;
  if (!config.output.empty())
    options.output = config.output == "json" ? OutputFormat::json : OutputFormat::text;
  options.result_bytes_max = static_cast<size_t>(config.result_max.value);
  return options;
}

ProviderConfig provider_config(const AgentProviderConfig& config) {
  ProviderConfig provider;
  provider.name = config.name;
  if (config.kind == "openai") provider.kind = ProviderConfig::Kind::openai;
  if (config.kind == "scripted") provider.kind = ProviderConfig::Kind::scripted;
  provider.base_url = config.base_url;
  provider.api_key_env = config.api_key_env;
  provider.model = config.model;
  provider.script_path = config.script;
  return provider;
}

std::optional<std::string> check_schema(const std::string& schema, const std::string& json) {
  auto problem = InputSchema(schema).check(json);
  if (!problem) return std::nullopt;
  return problem->path.empty() ? problem->message : problem->path + ": " + problem->message;
}

// Decides the default provider and says so.
std::string choose_provider(const Config& config, bool demo_agent, const Providers& providers,
                            AgentOptions& agent) {
  agent.default_provider = providers.default_provider;
  if (!agent.default_provider.empty()) {
    if (auto bad = providers.unusable.find(agent.default_provider); bad != providers.unusable.end())
      return fmt::format("provider '{}' is configured but cannot be used: {}",
                         agent.default_provider, bad->second);
    return fmt::format("provider '{}'", agent.default_provider);
  }
  if (!demo_agent) return "no default provider; tasks must name one";
  agent.default_provider = "scripted";
  return "no provider is configured, so agent tasks replay a demo script (provider 'scripted', no "
         "model is asked); set agent.provider and its key";
}

void add_agent(InstalledActors& installed, const Config& config, bool demo_agent, HttpClient& http,
               const AddressGuard& guard, const Clock& clock, Random& random) {
  Providers providers = configured_providers(config, http, clock, random);
  AgentOptions agent;
  installed.agent_words = choose_provider(config, demo_agent, providers, agent);
  agent.providers = std::move(providers.usable);
  agent.unusable = std::move(providers.unusable);
  agent.tools = {make_calculator(), make_current_time(), make_http_get(http, guard)};
  std::set<std::string> taken;
  for (const auto& tool : agent.tools) taken.insert(tool->spec().name);
  for (auto& tool : make_exec_tools(installed.registry, taken, check_schema))
    agent.tools.push_back(std::move(tool));
  if (config.agent.max_steps > 0) agent.limits.steps = config.agent.max_steps;
  ActorOptions options;
  options.description = "An agent: asks a language model, runs the tools it calls, and answers.";
  options.input_schema = agent_input_schema(agent);
  options.timeout = limits::kAgentTimeout;
  options.stop_grace = limits::kStopGrace * 3;  // its tools are programs, too
  options.aliases = {"agent_run"};
  installed.registry.add("agent_task", "agent", make_agent_actor(std::move(agent)), options);
}

}  // namespace

Providers configured_providers(const Config& config, HttpClient& http, const Clock& clock,
                               Random& random) {
  std::vector<ProviderConfig> configs;
  for (const AgentProviderConfig& provider : config.agent.providers)
    configs.push_back(provider_config(provider));
  auto lookup = [&](const std::string& name) { return config.lookup(name).value_or(""); };
  return build_providers(configs, {config.agent.provider, config.agent.model}, lookup, http, clock,
                         random);
}

std::unique_ptr<InstalledActors> install_actors(const Config& config, const AddActors& add_actors,
                                                const std::vector<CatalogueEntry>& hosted,
                                                bool runs, bool demo_agent, Reaper& reaper,
                                                Cgroups* groups, HttpClient& http,
                                                const AddressGuard& guard, const Clock& clock,
                                                Random& random) {
  auto installed = std::make_unique<InstalledActors>();
  add_builtin_actors(installed->registry);
  for (const ActorConfig& actor : config.actors) {
    auto make = [&]() -> std::unique_ptr<Actor> {
      if (actor.kind == "dramatiq") return nullptr;
      if (!runs) return std::make_unique<DeclaredActor>();
      if (actor.kind == "http") return make_http_actor(http, http_options(actor));
      return make_exec_actor(reaper, exec_options(config, actor, groups));
    };
    installed->registry.add(actor.name, actor.kind, make(), actor_options(config, actor));
  }
  for (const CatalogueEntry& entry : hosted) installed->registry.add_hosted(entry);
  if (add_actors) add_actors(installed->registry);
  add_agent(*installed, config, demo_agent, http, guard, clock, random);
  return installed;
}

}  // namespace opscore
