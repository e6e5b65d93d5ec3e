#pragma once
// The LLM providers of an installation, from configuration and environment. Built in, with the
// variable that holds the key, the base URL and the default model:
//
// - openai: OPENAI_API_KEY; OPENAI_BASE_URL, else api.openai.com/v1; gpt-4o-mini
// - openrouter: OPENROUTER_API_KEY; openrouter.ai/api/v1; openai/gpt-4o-mini
// - ollama: no key; http://127.0.0.1:11434/v1; no model
// - scripted: replays a script, the demo unless one is configured

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "opscore/agent/agent_actor.h"
#include "opscore/base/random.h"
#include "opscore/net/http_client.h"

namespace opscore {

// One [agent.providers.NAME]. For a built-in name, what is empty keeps its built-in value.
struct ProviderConfig {
  enum class Kind { openai, scripted };
  std::string name;
  std::optional<Kind> kind;  // openai for a name that is not built in
  std::string base_url;
  std::string api_key_env;  // the variable that holds the key; empty for a new name: no key
  std::string model;
  std::string script_path;  // scripted only
  std::optional<bool> stream;
};

// What tasks get that name no provider or model, as configuration says it. Empty: the environment's
// AGENTKIT_LLM_PROVIDER and AGENTKIT_LLM_MODEL decide; else there is none.
struct ProviderDefaults {
  std::string provider;
  std::string model;  // of the default provider; of all that ask a model when there is none
};

struct Providers {
  std::map<std::string, AgentProvider> usable;
  std::map<std::string, std::string> unusable;  // name -> reason, for people
  std::string default_provider;                 // may be unusable; empty when nothing names one
};

// The value of a variable; empty when it is unset.
using Lookup = std::function<std::string(const std::string&)>;

// `http`, `clock` and `random` must outlive the clients. Throws Error{invalid} for a configuration
// that cannot be meant: a default provider that is not known, a name given twice, a bad base URL, a
// script that is none.
Providers build_providers(const std::vector<ProviderConfig>& configs,
                          const ProviderDefaults& defaults, const Lookup& lookup, HttpClient& http,
                          const Clock& clock, Random& random);

}  // namespace opscore
