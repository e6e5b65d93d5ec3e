// What must hold between settings, and what they name on this machine.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "opscore/app/config_fields.h"
#include "opscore/app/config_sandbox.h"
#include "opscore/app/python_hosting.h"
#include "opscore/base/json.h"
#include "opscore/broker/redis/redis_url.h"
#include "opscore/engine/input_schema.h"
#include "opscore/llm/scripted/scripted_client.h"
#include "opscore/model/names.h"
#include "opscore/process/find_program.h"

namespace opscore {
namespace {

namespace fs = std::filesystem;
using Problems = std::vector<std::string>;

constexpr std::string_view kBuiltinProviders[] = {"openai", "openrouter", "ollama", "scripted"};

// In a folder that is named as the data file.
constexpr char kDataFile[] = "opscore.db";

bool serves(Role role) {
  return role == Role::up || role == Role::api || role == Role::inspect;
}
bool runs_tasks(Role role) {
  return role == Role::up || role == Role::worker || role == Role::inspect;
}

bool is_loopback(const std::string& address) {
  in_addr v4;
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return address == "::1";
}

bool is_builtin_provider(std::string_view name) {
  return std::find(std::begin(kBuiltinProviders), std::end(kBuiltinProviders), name) !=
         std::end(kBuiltinProviders);
}

std::expected<std::string, std::string> read_text(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return std::unexpected("is a directory");
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::unexpected(std::generic_category().message(errno));
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// Why a log could not be appended to this file; nothing when it can. Makes nothing.
std::optional<std::string> log_problem(const std::string& path) {
  std::error_code unknown;
  if (fs::is_directory(path, unknown)) return path + " is a directory";
  if (fs::exists(path, unknown)) {
    if (::access(path.c_str(), W_OK) == 0) return std::nullopt;
    return fmt::format("{} cannot be written: {}", path, std::generic_category().message(errno));
  }
  const std::string folder = fs::absolute(path).parent_path().string();
  if (::access(folder.c_str(), W_OK | X_OK) == 0) return std::nullopt;
  return fmt::format("{} cannot be made in {}: {}", path, folder,
                     std::generic_category().message(errno));
}

class Checker {
 public:
  Checker(Config& config, Role role, Problems& problems)
      : config_(config), role_(role), problems_(problems) {}

  void check() {
    check_token();
    if (config_.server.address == "localhost") config_.server.address = "127.0.0.1";
    if (config_.probes.address == "localhost") config_.probes.address = "127.0.0.1";
    if (serves(role_)) check_bind("server.address", config_.server.address);
    if (config_.probes.port && (role_ == Role::worker || role_ == Role::maintenance))
      check_bind("probes.address", config_.probes.address);
    check_log();
    check_store();
    name_data_file();
    check_role();
    check_providers();
    check_actors();
    check_queues();
    check_python();
    check_sandbox(config_, role_, problems_);
  }

 private:
  void report(const Origin& origin, std::string_view what) {
    problems_.push_back(fmt::format("{}: {}", origin.words(), what));
  }

  // token and token_file are one setting in two spellings: the one from the stronger source counts.
  void check_token() {
    auto& server = config_.server;
    Origin token = config_.origin_of("server.token");
    Origin file = config_.origin_of("server.token_file");
    if (server.token_file.empty() || token.source > file.source) return;
    if (token.source == file.source) {
      report(file, "server.token_file: there is also server.token, from the same source: keep one");
      return;
    }
    auto text = read_text(server.token_file);
    if (!text) {
      // A client may be somebody who is not to read the server's file; the server will say so.
      if (role_ != Role::client)
        report(file, fmt::format("server.token_file: {}: {}", server.token_file, text.error()));
      return;
    }
    size_t start = std::min(text->find_first_not_of(" \t\r\n"), text->size());
    server.token = text->substr(start, text->find_last_not_of(" \t\r\n") + 1 - start);
    if (server.token.size() < 8 || server.token.find_first_of(" \t\r\n") != std::string::npos)
      report(file, fmt::format("server.token_file: {} must hold one token of at least 8 characters",
                               server.token_file));
  }

  void check_bind(const std::string& key, const std::string& address) {
    const auto& server = config_.server;
    if (is_loopback(address) || !server.token.empty() || server.allow_unauthenticated) return;
    report(
        config_.origin_of(key),
        fmt::format("{} {} is reachable from other machines, and there is no token. "
                    "Three ways out: set OPSCORE_API_TOKEN or --token-file; or listen on "
                    "127.0.0.1; or say --allow-unauthenticated, and whoever reaches the port may "
                    "run every actor",
                    key, address));
  }

  void check_log() {
    const bool has_log = role_ != Role::client && role_ != Role::migrate;
    if (!has_log || config_.log.file.empty()) return;
    if (auto problem = log_problem(config_.log.file))
      report(config_.origin_of("log.file"), "log.file: " + *problem);
  }

  void check_store() {
    auto& store = config_.store;
    if (store.url.empty()) return;
    Origin origin = config_.origin_of("store.url");
    Origin path = config_.origin_of("store.path");
    auto url = parse_database_url(store.url);
    if (!url) {
      report(origin, fmt::format("store.url {}", url.error().message()));
      store.url.clear();
      return;
    }
    for (const auto& note : url->notes)
      config_.notes.push_back(fmt::format("{}: {}", origin.words(), note));
    if (path.source > origin.source) {
      config_.notes.push_back(fmt::format("the store is {} ({}), which outranks the URL of {}",
                                          store.path, path.words(), origin.words()));
      store.url.clear();
    } else if (url->kind == DatabaseUrl::Kind::postgresql) {
      store.url = url->url;
    } else {
      use_sqlite_url(*url, origin, path);
    }
  }

  void use_sqlite_url(const DatabaseUrl& url, const Origin& origin, const Origin& path) {
    auto& store = config_.store;
    store.url.clear();
    fs::path base =
        origin.source == Source::file ? fs::path(origin.file).parent_path() : fs::path();
    std::string named = (base / url.path).lexically_normal().string();
    if (path.source == origin.source && named != store.path) {
      report(origin, fmt::format("store.url names {}, but store.path, from the same source, names "
                                 "{}: keep one",
                                 named, store.path));
      return;
    }
    store.path = named;
    config_.origins["store.path"] = origin;
  }

  // A folder may be named instead of the file in it.
  void name_data_file() {
    std::string& path = config_.store.path;
    std::error_code unknown;
    if (path.ends_with('/') || fs::is_directory(path, unknown))
      path = (fs::path(path) / kDataFile).string();
  }

  std::string searched() const {
    std::vector<std::string> words;
    words.reserve(config_.files.size());
    for (const auto& file : config_.files)
      words.push_back(fmt::format("{} ({})", fs::absolute(file.path).lexically_normal().string(),
                                  file.read ? "read" : "not there"));
    return fmt::format("{}", fmt::join(words, ", "));
  }

  void check_role() {
    bool postgresql = !config_.store.url.empty();
    bool is_cluster = role_ == Role::api || role_ == Role::worker || role_ == Role::maintenance;
    if (is_cluster && !postgresql) {
      auto files = searched();
      problems_.push_back(fmt::format(
          "this role shares its store with other processes, which takes PostgreSQL, and no "
          "DATABASE_URL names one. Looked at: flags, environment{}{}. For one process on SQLite "
          "run: opscore up",
          files.empty() ? "" : ", ", files));
    }
    if (config_.store.exports.empty())
      config_.store.exports =
          postgresql ? "./opscore-data/exports" : config_.store.path + ".exports";
    // What holds for the whole installation is written to its store by one kind of process.
    if ((role_ == Role::api || role_ == Role::worker) && !config_.queues.empty())
      config_.notes.push_back(
          fmt::format("{}: limits of queues are set by `opscore maintenance`, from its own "
                      "configuration: here they have no effect",
                      config_.queues.front().origin.words()));
    const bool hands_over = std::ranges::any_of(
        config_.actors, [](const ActorConfig& actor) { return actor.kind == "dramatiq"; });
    const std::vector<std::string>& adopt = config_.broker.rabbitmq.adopt;
    if (runs_tasks(role_) && !adopt.empty() && config_.broker.url.empty())
      report(config_.origin_of("broker.rabbitmq.adopt"),
             "broker.rabbitmq.adopt names queues of RabbitMQ, and nothing says where RabbitMQ is: "
             "set broker.url, or RABBITMQ_URL");
    check_results();
    const bool hosts = config_.python.kind == "dramatiq" && !config_.python.modules.empty();
    if (role_ == Role::up && !postgresql && !config_.broker.url.empty() && adopt.empty() &&
        !hosts && !hands_over)
      config_.notes.push_back(
          fmt::format("{}: RabbitMQ is not used: on SQLite queues are kept in the store; it takes "
                      "a DATABASE_URL, too",
                      config_.origin_of("broker.url").words()));
  }

  // Without a broker nothing uses it, and REDIS_URL may be another program's.
  void check_results() {
    const auto& results = config_.results;
    if (config_.broker.url.empty()) return;
    if (results.url.empty()) {
      if (!results.actors.empty())
        report(config_.origin_of("results.actors"),
               "results.actors names actors whose results are stored, and nothing says where: set "
               "results.url to the application's Redis");
      return;
    }
    if (auto url = parse_redis_url(results.url); !url)
      report(config_.origin_of("results.url"), url.error().message());
  }

  void check_providers() {
    const auto& agent = config_.agent;
    std::vector<std::string> known(std::begin(kBuiltinProviders), std::end(kBuiltinProviders));
    for (const auto& provider : agent.providers) {
      known.push_back(provider.name);
      if (runs_tasks(role_)) check_provider(provider);
    }
    if (!agent.provider.empty() &&
        std::find(known.begin(), known.end(), agent.provider) == known.end())
      report(config_.origin_of("agent.provider"),
             fmt::format("agent.provider '{}' is not known; known: {}", agent.provider,
                         fmt::join(known, ", ")));
  }

  void check_provider(const AgentProviderConfig& provider) {
    std::string place = "agent.providers." + provider.name;
    if (is_builtin_provider(provider.name)) {
      bool scripted = provider.name == "scripted";
      if (!provider.kind.empty() && (provider.kind == "scripted") != scripted)
        report(provider.origins.at("kind"),
               fmt::format("{}: {} is built in and of another kind: choose another name", place,
                           provider.name));
    } else if (provider.kind == "scripted" && provider.script.empty()) {
      report(provider.origin, place + " needs a script");
    } else if (provider.kind != "scripted" && provider.base_url.empty()) {
      report(provider.origin, place + " needs a base_url");
    }
    if (!provider.script.empty()) check_script(provider, place + ".script");
  }

  void check_script(const AgentProviderConfig& provider, const std::string& place) {
    const Origin& origin = provider.origins.at("script");
    auto text = check_json_file(provider.script, origin, place);
    if (!text) return;
    try {
      make_scripted_client(parse_json(*text));
    } catch (const Error& error) {
      report(origin, fmt::format("{}: {}: {}", place, provider.script, error.message()));
    }
  }

  std::optional<std::string> check_json_file(const std::string& path, const Origin& origin,
                                             const std::string& place) {
    auto text = read_text(path);
    if (!text) {
      report(origin, fmt::format("{}: {}: {}", place, path, text.error()));
      return std::nullopt;
    }
    if (auto checked = check_json(*text); !checked) {
      report(origin, fmt::format("{}: {} is not JSON: {}", place, path, checked.error().message()));
      return std::nullopt;
    }
    return *text;
  }

  void check_actors() {
    std::map<std::string, std::string> taken = {{"agent_task", "built in"},
                                                {"agent_run", "built in"}};
    for (auto& actor : config_.actors) {
      std::string place = "actors." + actor.name;
      check_name(actor, actor.name, place, taken);
      for (const auto& alias : actor.aliases) check_name(actor, alias, place, taken);
      check_actor(actor, place);
      if (runs_tasks(role_)) check_machine(actor, place);
    }
  }

  void check_python() {
    PythonConfig& python = config_.python;
    if (!runs_tasks(role_)) return;
    if (python.modules.empty()) {
      if (!python.watch.empty())
        report(config_.origin_of("python.watch"),
               "python.watch: there are no modules to load anew: name one with --python");
      return;
    }
    const bool is_set = !python.interpreter.empty();
    if (auto found = find_interpreter(config_))
      python.program = *found;
    else
      report(config_.origin_of(is_set ? "python.interpreter" : "python.modules"),
             found.error().message());
  }

  void check_queues() {
    for (const auto& queue : config_.queues)
      if (auto problem = queue_name_problem(queue.name))
        report(queue.origin, fmt::format("queues.{}: the name {}", queue.name, *problem));
  }

  void check_name(const ActorConfig& actor, const std::string& name, const std::string& place,
                  std::map<std::string, std::string>& taken) {
    if (name.starts_with("opscore."))
      report(actor.origin, fmt::format("{}: names that start with opscore. are reserved", place));
    auto [other, added] = taken.emplace(name, place);
    if (!added)
      report(actor.origin,
             fmt::format("{}: the name '{}' is taken: {}", place, name, other->second));
  }

  void check_actor(ActorConfig& actor, const std::string& place) {
    for (const auto& field : actor_fields())
      if (*field.only_of != '\0' && actor.kind != field.only_of &&
          actor.origins.contains(field.key))
        report(actor.origins.at(field.key),
               fmt::format("{}.{} is for kind = \"{}\"; this actor is of kind \"{}\"", place,
                           field.key, field.only_of, actor.kind));
    if (actor.kind == "http")
      check_http(actor, place);
    else if (actor.kind == "dramatiq")
      check_dramatiq(actor, place);
    else
      check_exec(actor, place);
    if (actor.backoff.min > actor.backoff.max)
      report(actor.origin, fmt::format("{}.backoff: min is more than max", place));
    if (actor.backoff.jitter_low > actor.backoff.jitter_high)
      report(actor.origin, fmt::format("{}.backoff: jitter_low is more than jitter_high", place));
  }

  void check_http(const ActorConfig& actor, const std::string& place) {
    if (!actor.origins.contains("url"))
      report(actor.origin, fmt::format("{} needs a url that can be called", place));
    if (!actor.secret.empty() && !actor.secret_env.empty())
      report(actor.origins.at("secret"),
             fmt::format("{}: there are secret and secret_env: keep one", place));
  }

  // What is Python's to decide, or is made for each message.
  void check_dramatiq(ActorConfig& actor, const std::string& place) {
    for (const char* key : {"concurrency", "result_max", "output", "backoff.factor",
                            "backoff.jitter_low", "backoff.jitter_high"})
      if (actor.origins.contains(key))
        report(actor.origins.at(key),
               fmt::format("{}.{} has no meaning for an actor that Python runs", place, key));
    if (config_.broker.url.empty() && (role_ == Role::up || role_ == Role::maintenance))
      report(actor.origin,
             fmt::format("{}: its tasks are sent to RabbitMQ, and broker.url (RABBITMQ_URL) does "
                         "not say where that is",
                         place));
    if (!load_object(actor.options, actor, "options", place)) return;
    const Json options =
        actor.options.json.empty() ? Json::object() : Json::parse(actor.options.json);
    actor.options.json = options.dump();
    for (const char* name : {"eta", "retries", "traceback", "requeue_timestamp"})
      if (options.contains(name))
        report(actor.origins.at("options"),
               fmt::format("{}.options: {} is not for declarations", place, name));
  }

  void check_exec(const ActorConfig& actor, const std::string& place) {
    if (actor.command.empty() && !actor.origins.contains("command"))
      report(actor.origin,
             fmt::format("{} needs a command: command = [\"program\", \"argument\"]", place));
    else if (actor.command.empty() || actor.command[0].empty())
      report(actor.origins.at("command"), fmt::format("{}.command names no program", place));
    if (actor.limits.cpu.count() % 1000 != 0)
      report(actor.origins.at("limits.cpu"),
             fmt::format("{}.limits.cpu must be whole seconds", place));
    for (const char* name : {"OPSCORE_TASK_ID", "OPSCORE_ATTEMPT"})
      if (actor.env.contains(name))
        report(actor.origins.at("env"), fmt::format("{}.env: {} is set by opscore", place, name));
  }

  void check_machine(ActorConfig& actor, const std::string& place) {
    if (actor.kind == "http") fill_secrets(actor, place);
    if (actor.kind == "exec") check_program(actor, place);
    check_schema(actor, place);
  }

  std::string variable(const std::string& name, const Origin& origin, const std::string& place) {
    if (auto value = config_.lookup(name)) return *value;
    report(origin, fmt::format("{}: the variable {} is not set", place, name));
    return {};
  }

  void fill_secrets(ActorConfig& actor, const std::string& place) {
    if (!actor.secret_env.empty())
      actor.secret =
          variable(actor.secret_env, actor.origins.at("secret_env"), place + ".secret_env");
    for (auto& [name, value] : actor.headers) {
      const Origin& origin = actor.origins.at("headers");
      const std::string header = fmt::format("{}.headers.{}", place, name);
      std::string filled;
      for (size_t at = 0; at < value.size();) {
        const size_t open = std::min(value.find("${", at), value.size());
        filled += value.substr(at, open - at);
        if (open == value.size()) break;
        const size_t close = value.find('}', open);
        if (close == std::string::npos) {
          report(origin, header + " has a ${ without its }");
          break;
        }
        filled += variable(value.substr(open + 2, close - open - 2), origin, header);
        at = close + 1;
      }
      if (auto problem = header_problem(name, filled))
        report(origin, fmt::format("{} {}", header, *problem));
      value = std::move(filled);
    }
  }

  void check_program(ActorConfig& actor, const std::string& place) {
    if (!actor.origins.contains("cwd"))
      actor.cwd = fs::path(actor.origin.file).parent_path().string();
    std::error_code error;
    if (!actor.cwd.empty() && !fs::is_directory(actor.cwd, error)) {
      report(actor.origins.at("cwd"),
             fmt::format("{}.cwd: {} is not a directory", place, actor.cwd));
    } else if (!actor.command.empty() && !actor.command[0].empty()) {
      auto program = find_program(actor.command[0], actor.cwd, path_for(actor));
      if (program)
        actor.program = *program;
      else
        report(actor.origins.at("command"),
               fmt::format("{}.command: {}", place, program.error().message()));
    }
  }

  // A program is looked up where it will be: in its own PATH, when it has one.
  std::string path_for(const ActorConfig& actor) const {
    auto own = actor.env.find("PATH");
    if (own != actor.env.end()) return own->second;
    return config_.lookup("PATH").value_or(search_path());
  }

  void check_schema(ActorConfig& actor, const std::string& place) {
    if (!load_object(actor.input_schema, actor, "input_schema", place)) return;
    if (actor.input_schema.json.empty()) return;
    try {
      InputSchema compiled(actor.input_schema.json);
    } catch (const Error& error) {
      report(actor.origins.at("input_schema"),
             fmt::format("{}.input_schema is {}", place, error.message()));
    }
  }

  // False when it is not one, which is reported then.
  bool load_object(SchemaText& object, const ActorConfig& actor, const std::string& key,
                   const std::string& place) {
    if (object.json.empty() && object.file.empty()) return true;
    const Origin& origin = actor.origins.at(key);
    if (!object.file.empty()) {
      auto path = (fs::path(origin.file).parent_path() / object.file).lexically_normal().string();
      auto text = check_json_file(path, origin, fmt::format("{}.{}", place, key));
      if (!text) return false;
      object.json = *text;
    }
    size_t first = object.json.find_first_not_of(" \t\r\n");
    if (first != std::string::npos && object.json[first] == '{') return true;
    report(origin, fmt::format("{}.{} must be a JSON object", place, key));
    return false;
  }

  Config& config_;
  Role role_;
  Problems& problems_;
};

}  // namespace

void check_config(Config& config, Role role, Problems& problems) {
  Checker(config, role, problems).check();
}

}  // namespace opscore
