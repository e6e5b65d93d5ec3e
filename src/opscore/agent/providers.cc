#include "opscore/agent/providers.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/llm/openai/openai_client.h"
#include "opscore/llm/scripted/scripted_client.h"
#include "opscore/model/names.h"

namespace opscore {
namespace {

std::vector<ProviderConfig> built_in(const Lookup& lookup) {
  using Kind = ProviderConfig::Kind;
  const std::string openai_url = lookup("OPENAI_BASE_URL");
  return {{.name = "openai",
           .kind = Kind::openai,
           .base_url = openai_url.empty() ? "https://api.openai.com/v1" : openai_url,
           .api_key_env = "OPENAI_API_KEY",
           .model = "gpt-4o-mini",
           .script_path = {},
           .stream = {}},
          {.name = "openrouter",
           .kind = Kind::openai,
           .base_url = "https://openrouter.ai/api/v1",
           .api_key_env = "OPENROUTER_API_KEY",
           .model = "openai/gpt-4o-mini",
           .script_path = {},
           .stream = {}},
          {.name = "ollama",
           .kind = Kind::openai,
           .base_url = "http://127.0.0.1:11434/v1",
           .api_key_env = {},
           .model = {},
           .script_path = {},
           .stream = {}},
          {.name = "scripted",
           .kind = Kind::scripted,
           .base_url = {},
           .api_key_env = {},
           .model = "scripted",
           .script_path = {},
           .stream = {}}};
}

void override_with(ProviderConfig& config, const ProviderConfig& other) {
  const auto take = [](std::string& value, const std::string& from) {
    if (!from.empty()) value = from;
  };
  if (other.kind) config.kind = other.kind;
  take(config.base_url, other.base_url);
  take(config.api_key_env, other.api_key_env);
  take(config.model, other.model);
  take(config.script_path, other.script_path);
  if (other.stream) config.stream = other.stream;
}

std::vector<ProviderConfig> merged(const std::vector<ProviderConfig>& configs,
                                   const Lookup& lookup) {
  std::vector<ProviderConfig> all = built_in(lookup);
  const auto named = [](const std::string& name) {
    return [&name](const ProviderConfig& each) { return each.name == name; };
  };
  for (size_t i = 0; i < configs.size(); ++i) {
    const ProviderConfig& config = configs[i];
    if (auto problem = name_problem(config.name))
      throw Error(Errc::invalid, fmt::format("provider '{}': {}", config.name, *problem));
    if (std::any_of(configs.begin(), configs.begin() + static_cast<std::ptrdiff_t>(i),
                    named(config.name)))
      throw Error(Errc::invalid, fmt::format("provider '{}' is configured twice", config.name));
    const auto known = std::find_if(all.begin(), all.end(), named(config.name));
    if (known != all.end())
      override_with(*known, config);
    else
      all.push_back(config);
  }
  return all;
}

OpenAiOptions openai_options(const ProviderConfig& config, std::string key, const Lookup& lookup) {
  if (config.base_url.empty())
    throw Error(Errc::invalid, fmt::format("provider '{}' needs a base_url", config.name));
  OpenAiOptions options{
      .provider = config.name, .base_url = config.base_url, .api_key = std::move(key)};
  if (config.stream) options.stream = *config.stream;
  if (config.name == "openai") {
    options.organization = lookup("OPENAI_ORG_ID");
    options.project = lookup("OPENAI_PROJECT_ID");
  }
  return options;
}

std::shared_ptr<LlmClient> scripted_client(const ProviderConfig& config) {
  if (!config.base_url.empty() || !config.api_key_env.empty())
    throw Error(Errc::invalid,
                fmt::format("provider '{}' is scripted: it has no base_url and no api_key_env",
                            config.name));
  if (config.script_path.empty()) return make_scripted_client(parse_json(demo_script()));
  return make_scripted_client(std::filesystem::path(config.script_path));
}

std::string names_of(const std::vector<ProviderConfig>& all) {
  std::vector<std::string> names;
  names.reserve(all.size());
  for (const ProviderConfig& each : all) names.push_back(each.name);
  std::sort(names.begin(), names.end());
  return fmt::format("{}", fmt::join(names, ", "));
}

void choose_default(Providers& providers, const ProviderDefaults& defaults, const Lookup& lookup,
                    const std::vector<ProviderConfig>& all) {
  const bool by_environment = defaults.provider.empty();
  const std::string name = by_environment ? lookup("AGENTKIT_LLM_PROVIDER") : defaults.provider;
  if (!name.empty() && !providers.usable.contains(name) && !providers.unusable.contains(name))
    throw Error(Errc::invalid,
                fmt::format("{} names the unknown LLM provider '{}'; there are {}",
                            by_environment ? "AGENTKIT_LLM_PROVIDER" : "the configuration", name,
                            names_of(all)));
  providers.default_provider = name;
  const std::string model = defaults.model.empty() ? lookup("AGENTKIT_LLM_MODEL") : defaults.model;
  if (model.empty()) return;
  // A model belongs to its provider; where none is named, to whichever a task names.
  for (const ProviderConfig& config : all) {
    const auto usable = providers.usable.find(config.name);
    const bool meant =
        name.empty() ? config.kind != ProviderConfig::Kind::scripted : config.name == name;
    if (meant && usable != providers.usable.end()) usable->second.model = model;
  }
}

}  // namespace

Providers build_providers(const std::vector<ProviderConfig>& configs,
                          const ProviderDefaults& defaults, const Lookup& lookup, HttpClient& http,
                          const Clock& clock, Random& random) {
  Providers providers;
  const std::vector<ProviderConfig> all = merged(configs, lookup);
  for (const ProviderConfig& config : all) {
    if (config.kind == ProviderConfig::Kind::scripted) {
      providers.usable[config.name] = {scripted_client(config),
                                       config.model.empty() ? "scripted" : config.model};
      continue;
    }
    if (!config.script_path.empty())
      throw Error(Errc::invalid,
                  fmt::format("provider '{}' is not scripted: it has no script", config.name));
    std::string key = config.api_key_env.empty() ? std::string() : lookup(config.api_key_env);
    const bool lacks_key = !config.api_key_env.empty() && key.empty();
    // Made in any case, so that a bad base URL is found at the start.
    std::shared_ptr<LlmClient> client =
        make_openai_client(http, openai_options(config, std::move(key), lookup), clock, random);
    if (lacks_key)
      providers.unusable[config.name] =
          fmt::format("provider '{}' has no key: set {}", config.name, config.api_key_env);
    else
      providers.usable[config.name] = {std::move(client), config.model};
  }
  choose_default(providers, defaults, lookup, all);
  return providers;
}

}  // namespace opscore
