#include "opscore/app/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "opscore/app/config_fields.h"
#include "opscore/model/names.h"

namespace opscore {
namespace {

namespace fs = std::filesystem;
using Problems = std::vector<std::string>;

std::string absolute_path(const std::string& path, const fs::path& base) {
  if (path.empty()) return path;
  return (base / path).lexically_normal().string();
}

// Where the relative paths of a value start.
fs::path base_of(const Origin& origin, const std::string& directory) {
  if (origin.source != Source::file) return directory;
  return fs::path(origin.file).parent_path();
}

void report(Problems& problems, const Origin& origin, std::string_view key, std::string_view what) {
  problems.push_back(fmt::format("{}: {} {}", origin.words(), key, what));
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& known) {
  auto nearest = nearest_names(name, known, 1);
  if (!nearest.empty()) return fmt::format("; did you mean '{}'?", nearest[0]);
  return known.size() > 12 ? "" : fmt::format("; known: {}", fmt::join(known, ", "));
}

// What may stand directly under `prefix` in a section.
template <class Section>
std::vector<std::string> names_under(std::span<const Field<Section>> fields,
                                     const std::string& prefix) {
  std::vector<std::string> names;
  for (const auto& field : fields) {
    std::string_view key = field.key;
    if (!key.starts_with(prefix)) continue;
    key.remove_prefix(prefix.size());
    std::string name(key.substr(0, key.find('.')));
    if (names.empty() || names.back() != name) names.push_back(std::move(name));
  }
  return names;
}

// Reads one section of the file by its table of fields.
template <class Section>
class SectionReader {
 public:
  SectionReader(std::span<const Field<Section>> fields, Section& section, std::string where,
                const std::string& directory, Problems& problems)
      : fields_(fields),
        section_(section),
        where_(std::move(where)),
        directory_(directory),
        problems_(problems) {}

  void read_defaults() {
    for (const auto& field : fields_) {
      Slot slot = field.slot(section_);
      if (*field.fallback == '\0') continue;
      if (auto codes = std::get_if<std::map<int, ExitCode>*>(&slot)) {
        **codes = {{65, {ExitCode::Meaning::fatal, {}}},
                   {75, {ExitCode::Meaning::snooze, std::chrono::seconds(30)}}};
        continue;
      }
      ConfigValue value;
      value.text = field.fallback;
      put(field, value);
    }
    section_.origins.clear();
  }

  void read_table(const ConfigValue& table, const std::string& prefix = "") {
    for (const auto& [name, value] : table.members) {
      std::string key = prefix + name;
      const Field<Section>* field = find(key);
      bool has_children = !names_under(fields_, key + ".").empty();
      if (field)
        put(*field, value);
      else if (has_children && value.kind == ConfigValue::Kind::table)
        read_table(value, key + ".");
      else if (has_children)
        report(problems_, value.origin, where_ + key, "must be a table");
      else
        report(problems_, value.origin, where_ + key,
               "is not a setting" + did_you_mean(name, names_under(fields_, prefix)));
    }
  }

  // Tells which one, unless the value is empty, which means unset.
  void put(const Field<Section>& field, const ConfigValue& value) {
    Slot slot = field.slot(section_);
    if (auto actors = std::get_if<std::vector<ActorConfig>*>(&slot)) {
      read_named(**actors, actor_fields(), field.key, value);
      return;
    }
    if (auto queues = std::get_if<std::vector<QueueConfig>*>(&slot)) {
      read_named(**queues, queue_fields(), field.key, value);
      return;
    }
    if (auto providers = std::get_if<std::vector<AgentProviderConfig>*>(&slot)) {
      read_named(**providers, provider_fields(), field.key, value);
      return;
    }
    bool is_scalar =
        value.kind != ConfigValue::Kind::array && value.kind != ConfigValue::Kind::table;
    if (is_scalar && value.text.empty()) return;
    if (auto problem = assign(slot, value, rules_of(field))) {
      if (field.secret != Secret::no) problem = mask(*problem, value.text);
      report(problems_, value.origin, where_ + field.key, *problem);
      return;
    }
    if (field.is_path) {
      const fs::path base = base_of(value.origin, directory_);
      if (auto paths = std::get_if<std::vector<std::string>*>(&slot)) {
        for (std::string& path : **paths) path = absolute_path(path, base);
      } else {
        auto& path = *std::get<std::string*>(slot);
        path = absolute_path(path, base);
      }
    }
    section_.origins[field.key] = value.origin;
  }

  const Field<Section>* find(std::string_view key) const {
    for (const auto& field : fields_)
      if (key == field.key) return &field;
    return nullptr;
  }

 private:
  static std::string mask(std::string problem, const std::string& secret) {
    size_t at = problem.find(secret);
    if (!secret.empty() && at != std::string::npos) problem.replace(at, secret.size(), "***");
    return problem;
  }

  // Tables of tables: actors.NAME, agent.providers.NAME.
  template <class Named>
  void read_named(std::vector<Named>& out, std::span<const Field<Named>> fields, std::string key,
                  const ConfigValue& value) {
    if (value.kind != ConfigValue::Kind::table) {
      report(problems_, value.origin, key, fmt::format("must be tables: [{}.NAME]", key));
      return;
    }
    for (const auto& [name, table] : value.members) {
      std::string place = fmt::format("{}.{}", key, name);
      if (auto problem = name_problem(name)) {
        report(problems_, table.origin, place, fmt::format("is not a good name: it {}", *problem));
        continue;
      }
      if (table.kind != ConfigValue::Kind::table) {
        report(problems_, table.origin, place, fmt::format("must be a table: [{}]", place));
        continue;
      }
      Named entry;
      entry.name = name;
      entry.origin = table.origin;
      SectionReader<Named> reader(fields, entry, place + ".", directory_, problems_);
      reader.read_defaults();
      reader.read_table(table);
      out.push_back(std::move(entry));
    }
  }

  std::span<const Field<Section>> fields_;
  Section& section_;
  std::string where_;
  const std::string& directory_;
  Problems& problems_;
};

using ConfigReader = SectionReader<Config>;

// Kubernetes describes every service of a namespace in variables; those of one whose name starts
// with opscore look like settings.
bool is_service_link(std::string_view name, std::string_view value) {
  return name.find("_SERVICE_HOST") != name.npos || name.find("_SERVICE_PORT") != name.npos ||
         name.find("_PORT_") != name.npos || value.starts_with("tcp://");
}

// Set by opscore for programs that it runs, or by its tests: never settings.
bool is_other_variable(std::string_view name) {
  return name == "OPSCORE_TASK_ID" || name == "OPSCORE_ATTEMPT" ||
         name.starts_with("OPSCORE_TEST_");
}

void check_variable(const std::string& name, const std::string& value, const Origin& origin,
                    Config& config, Problems& problems) {
  if (!name.starts_with("OPSCORE_") || value.empty() || is_other_variable(name)) return;
  std::vector<std::string> known;
  for (const auto& field : config_fields())
    for (std::string variable : field.variables) {
      if (variable == name && !value.starts_with("tcp://")) return;
      known.push_back(std::move(variable));
    }
  if (is_service_link(name, value)) {
    config.notes.push_back(
        fmt::format("{} looks like a Kubernetes service link and was ignored", name));
    return;
  }
  auto words = fmt::format("{}: is not a setting{}", origin.words(), did_you_mean(name, known));
  // A process inherits variables that were meant for others; the .env beside it is its own.
  (origin.source == Source::dotenv ? problems : config.notes).push_back(std::move(words));
}

void read_variables(ConfigReader& reader, const std::map<std::string, ConfigValue>& variables) {
  for (const auto& field : config_fields())
    for (const char* name : field.variables) {
      auto found = variables.find(name);
      if (found == variables.end() || found->second.text.empty()) continue;
      if (found->second.text.starts_with("tcp://")) continue;
      reader.put(field, found->second);
      break;
    }
}

std::map<std::string, ConfigValue> dotenv_variables(const std::string& text,
                                                    const std::string& file, Config& config,
                                                    Problems& problems) {
  std::map<std::string, ConfigValue> variables;
  for (const auto& entry : parse_dotenv(text, file, problems)) {
    Origin origin{Source::dotenv, file, entry.line, entry.name};
    check_variable(entry.name, entry.value, origin, config, problems);
    ConfigValue value;
    value.text = entry.value;
    value.origin = origin;
    variables[entry.name] = value;
    if (!entry.has_reference) continue;
    for (const auto& field : config_fields())
      for (std::string_view name : field.variables)
        if (name == entry.name)
          problems.push_back(fmt::format(
              "{}: contains ${{...}}, which is not expanded: write the value, or use single quotes "
              "if it is meant as it stands",
              origin.words()));
  }
  return variables;
}

std::optional<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// Reads one of the files; what cannot be read although it is there is a problem.
std::optional<std::string> find_file(const std::string& path, Config& config, Problems& problems) {
  std::error_code error;
  bool there = fs::exists(path, error);
  config.files.push_back({path, false});
  if (!there) return std::nullopt;
  auto text = fs::is_directory(path, error) ? std::nullopt : read_file(path);
  if (!text) problems.push_back(fmt::format("{}: cannot be read", path));
  config.files.back().read = text.has_value();
  return text;
}

std::string toml_name(const ConfigSources& sources) {
  if (sources.config_file.empty()) return absolute_path("opscore.toml", sources.directory);
  return absolute_path(sources.config_file, sources.directory);
}

}  // namespace

std::string Origin::words() const {
  switch (source) {
    case Source::fallback:
      return "default";
    case Source::file:
      return fmt::format("{}:{}", file, line);
    case Source::dotenv:
      return fmt::format("{}:{}: {}", file, line, name);
    case Source::environment:
      return "environment: " + name;
    case Source::flag:
      return name;
  }
  OPSCORE_ASSERT(false, "a source without words");
}

std::optional<RetryPolicy> ActorConfig::retry() const {
  for (const auto& [key, origin] : origins)
    if (key.starts_with("backoff.")) return backoff;
  return std::nullopt;
}

Origin Config::origin_of(const std::string& key) const {
  auto found = origins.find(key);
  return found == origins.end() ? Origin{} : found->second;
}

std::optional<std::string> Config::lookup(const std::string& variable) const {
  auto found = environment.find(variable);
  if (found == environment.end()) return std::nullopt;
  return found->second;
}

std::string Config::store_words() const {
  if (store.url.empty()) return store.path;
  return fmt::format("{}, schema {}", mask_url(store.url), store.schema);
}

std::string Config::server_url() const {
  if (!client.url.empty()) return client.url;
  std::string host = server.address;
  if (host == "0.0.0.0" || host == "::") host = host == "::" ? "::1" : "127.0.0.1";
  if (host.find(':') != std::string::npos) host = fmt::format("[{}]", host);
  return fmt::format("http://{}:{}", host, server.port);
}

Config read_config(const ConfigSources& sources, const std::optional<std::string>& toml_text,
                   const std::optional<std::string>& dotenv_text, Problems& problems) {
  Config config;
  ConfigReader reader(config_fields(), config, "", sources.directory, problems);
  config.worker.slots = std::max(8, 4 * sources.cpus);
  config.python.processes = sources.cpus;
  reader.read_defaults();
  if (toml_text) reader.read_table(parse_toml(*toml_text, toml_name(sources), problems));
  if (dotenv_text) {
    auto file = absolute_path(".env", sources.directory);
    auto variables = dotenv_variables(*dotenv_text, file, config, problems);
    read_variables(reader, variables);
    for (const auto& [name, value] : variables)
      if (!value.text.empty()) config.environment[name] = value.text;
  }
  std::map<std::string, ConfigValue> variables;
  for (const auto& [name, text] : sources.environment) {
    if (text.empty()) continue;
    ConfigValue value;
    value.text = text;
    value.origin = {Source::environment, {}, 0, name};
    check_variable(name, text, value.origin, config, problems);
    variables[name] = std::move(value);
    config.environment[name] = text;
  }
  read_variables(reader, variables);
  for (const auto& [key, text] : sources.flags) {
    const auto* field = reader.find(key);
    OPSCORE_ASSERT(field, "a flag for a setting that does not exist");
    ConfigValue value;
    value.text = text;
    auto named = sources.flag_names.find(key);
    value.origin = {
        Source::flag, {}, 0, named == sources.flag_names.end() ? field->flag : named->second};
    reader.put(*field, value);
  }
  return config;
}

Config load_config(const ConfigSources& sources) {
  Problems problems;
  Config searched;
  std::optional<std::string> dotenv;
  if (sources.use_dotenv)
    dotenv = find_file(absolute_path(".env", sources.directory), searched, problems);
  auto toml = find_file(toml_name(sources), searched, problems);
  if (!toml && !sources.config_file.empty() && problems.empty())
    problems.push_back(fmt::format("{}: no such file", toml_name(sources)));
  Config config = read_config(sources, toml, dotenv, problems);
  config.files = searched.files;
  check_config(config, sources.role, problems);
  if (!problems.empty()) throw Error(Errc::invalid, fmt::format("{}", fmt::join(problems, "\n")));
  return config;
}

}  // namespace opscore
