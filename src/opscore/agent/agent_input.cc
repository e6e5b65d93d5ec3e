#include "opscore/agent/agent_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace opscore {
namespace {

constexpr double kTemperatureMax = 2;
constexpr double kSecondsMax = 30.0 * 24 * 3600;
constexpr int64_t kTokensMax = 1'000'000'000;

std::string no_provider_reason(const AgentOptions& options) {
  if (!options.default_provider.empty()) {
    const auto reason = options.unusable.find(options.default_provider);
    if (reason != options.unusable.end()) return reason->second;
  }
  return "no provider is configured: name one in agent_config.provider, or set "
         "AGENTKIT_LLM_PROVIDER for all tasks";
}

// An operator who sets a higher default means it for tasks too.
int steps_most(const AgentOptions& options) {
  return std::max(options.limits.steps, options.limits.steps_max);
}

std::string no_model_reason(const std::string& provider) {
  return fmt::format("provider '{}' has no default model: name one in agent_config.model",
                     provider);
}

// Reads members with their type and refuses what is left over. Errors are thrown here and become a
// value in read_agent_request.
class Fields {
 public:
  Fields(const Json& object, std::string place) : object_(object), place_(std::move(place)) {
    if (!object.is_object()) refuse("", "must be an object");
  }

  std::optional<std::string> text(const char* name) {
    const Json* value = take(name);
    if (value == nullptr) return std::nullopt;
    if (!value->is_string() || value->get_ref<const std::string&>().empty())
      refuse(name, "must be a string that is not empty");
    return value->get<std::string>();
  }
  std::optional<int64_t> whole(const char* name, int64_t least, int64_t most) {
    const Json* value = take(name);
    if (value == nullptr) return std::nullopt;
    // 3.0 is an integer to JSON Schema.
    const double number = value->is_number() ? value->get<double>() : NAN;
    if (number != std::trunc(number) || !(number >= static_cast<double>(least)) ||
        number > static_cast<double>(most))
      refuse(name, fmt::format("must be a whole number from {} to {}", least, most));
    return static_cast<int64_t>(number);
  }
  std::optional<double> number(const char* name, double least, double most) {
    const Json* value = take(name);
    if (value == nullptr) return std::nullopt;
    const double number = value->is_number() ? value->get<double>() : NAN;
    if (!(number >= least && number <= most))
      refuse(name, fmt::format("must be a number from {} to {}", least, most));
    return number;
  }
  const Json* take(const char* name) {
    known_.insert(name);
    const auto found = object_.find(name);
    return found == object_.end() ? nullptr : &*found;
  }
  Json rest() const {
    Json out = Json::object();
    for (const auto& [name, value] : object_.items())
      if (!known_.contains(name)) out[name] = value;
    return out;
  }
  void refuse_rest() const {
    const Json unknown = rest();
    for (const auto& [name, value] : unknown.items())
      refuse(name, fmt::format("unknown key; there are {}", fmt::join(known_, ", ")));
  }
  [[noreturn]] void refuse(const std::string& name, const std::string& what) const {
    const std::string path = name.empty() ? place_ : place_.empty() ? name : place_ + "." + name;
    throw Error(Errc::invalid, path.empty() ? "the input " + what : path + ": " + what).at(path);
  }

 private:
  const Json& object_;
  const std::string place_;
  std::set<std::string> known_;
};

std::string user_message(Fields& input) {
  const auto prompt = input.text("prompt");
  const auto goal = input.text("goal");
  if (!prompt && !goal) input.refuse("prompt", "a prompt or a goal is needed");
  std::string message = prompt ? *prompt : *goal;
  if (prompt && goal) message = fmt::format("Goal: {}\n\n{}", *goal, *prompt);
  if (const Json context = input.rest(); !context.empty())
    message += "\n\nContext (JSON):\n" + context.dump();
  return message;
}

void choose_provider(Fields& config, const AgentOptions& options, AgentRequest& request) {
  const auto named = config.text("provider");
  request.provider = named.value_or(options.default_provider);
  const auto provider = options.providers.find(request.provider);
  if (provider == options.providers.end()) {
    const auto reason = options.unusable.find(request.provider);
    if (reason != options.unusable.end()) config.refuse("provider", reason->second);
    if (!named) config.refuse("provider", no_provider_reason(options));
    std::vector<std::string> names;
    names.reserve(options.providers.size());
    for (const auto& [name, usable] : options.providers) names.push_back(name);
    config.refuse("provider", fmt::format("unknown provider '{}'; there are {}", *named,
                                          fmt::join(names, ", ")));
  }
  request.model = config.text("model").value_or(provider->second.model);
  if (request.model.empty()) config.refuse("model", no_model_reason(request.provider));
}

const Tool* find_tool(const AgentOptions& options, const std::string& name) {
  for (const auto& tool : options.tools) {
    const ToolSpec& spec = tool->spec();
    if (spec.name == name) return tool.get();
    if (std::find(spec.aliases.begin(), spec.aliases.end(), name) != spec.aliases.end())
      return tool.get();
  }
  return nullptr;
}

void choose_tools(Fields& config, const AgentOptions& options, AgentRequest& request) {
  const Json* names = config.take("tools");
  if (names == nullptr) {
    for (const auto& tool : options.tools)
      if (!tool->spec().opt_in) request.tools.push_back(tool.get());
    return;
  }
  if (!names->is_array()) config.refuse("tools", "must be a list of tool names");
  for (const Json& name : *names) {
    const Tool* tool = name.is_string() ? find_tool(options, name.get<std::string>()) : nullptr;
    if (tool == nullptr) {
      std::vector<std::string> known;
      known.reserve(options.tools.size());
      for (const auto& each : options.tools) known.push_back(each->spec().name);
      config.refuse("tools", fmt::format("unknown tool {}; there are {}", name.dump(),
                                         fmt::join(known, ", ")));
    }
    if (std::find(request.tools.begin(), request.tools.end(), tool) == request.tools.end())
      request.tools.push_back(tool);
  }
}

void read_budget(Fields& config, const AgentOptions& options, AgentRequest& request) {
  request.tokens_max = options.limits.tokens;
  const Json* json = config.take("budget");
  if (json == nullptr) return;
  Fields budget(*json, "agent_config.budget");
  request.tokens_max = budget.whole("tokens", 1, kTokensMax).value_or(request.tokens_max);
  if (const auto seconds = budget.number("seconds", 0, kSecondsMax))
    request.time_max = Duration(static_cast<int64_t>(*seconds * 1000));
  budget.refuse_rest();
}

AgentRequest read_request(const Json& document, const AgentOptions& options) {
  static const Json kNoConfig = Json::object();
  AgentRequest request;
  Fields input(document, "");
  const Json* config_json = input.take("agent_config");
  Fields config(config_json == nullptr ? kNoConfig : *config_json, "agent_config");
  request.prompt = user_message(input);
  choose_provider(config, options, request);
  choose_tools(config, options, request);
  read_budget(config, options, request);
  request.system = config.text("system").value_or("");
  request.steps_max = static_cast<int>(
      config.whole("max_steps", 1, steps_most(options)).value_or(options.limits.steps));
  request.temperature = config.number("temperature", 0, kTemperatureMax);
  config.refuse_rest();
  return request;
}

Json text_rule(const char* description) {
  return {{"type", "string"}, {"minLength", 1}, {"description", description}};
}

Json config_schema(const AgentOptions& options) {
  Json names = Json::array();
  for (const auto& [name, provider] : options.providers) names.push_back(name);
  Json tools = Json::array();
  for (const auto& tool : options.tools) {
    tools.push_back(tool->spec().name);
    for (const std::string& alias : tool->spec().aliases) tools.push_back(alias);
  }
  Json tool_rule = {{"type", "array"}, {"items", {{"type", "string"}}}};
  if (tools.empty())
    tool_rule["maxItems"] = 0;
  else
    tool_rule["items"]["enum"] = std::move(tools);
  return {
      {"provider",
       {{"type", "string"}, {"enum", std::move(names)}, {"x-opscore-reasons", options.unusable}}},
      {"model", text_rule("as the provider names it")},
      {"system", text_rule("replaces the built-in system prompt")},
      {"tools", std::move(tool_rule)},
      {"max_steps", {{"type", "integer"}, {"minimum", 1}, {"maximum", steps_most(options)}}},
      {"temperature", {{"type", "number"}, {"minimum", 0}, {"maximum", kTemperatureMax}}},
      {"budget",
       {{"type", "object"},
        {"additionalProperties", false},
        {"properties",
         {{"tokens", {{"type", "integer"}, {"minimum", 1}, {"maximum", kTokensMax}}},
          {"seconds", {{"type", "number"}, {"minimum", 0}, {"maximum", kSecondsMax}}}}}}}};
}

}  // namespace

std::expected<AgentRequest, Error> read_agent_request(const std::string& input,
                                                      const AgentOptions& options) {
  try {
    return read_request(parse_json(input), options);
  } catch (const Error& error) {
    return std::unexpected(error);
  }
}

std::string agent_input_schema(const AgentOptions& options) {
  Json config = {
      {"type", "object"}, {"additionalProperties", false}, {"properties", config_schema(options)}};
  Json schema = {{"$schema", "http://json-schema.org/draft-07/schema#"},
                 {"type", "object"},
                 {"anyOf", Json::array({{{"required", Json::array({"prompt"})}},
                                        {{"required", Json::array({"goal"})}}})}};
  schema["properties"]["prompt"] = text_rule("what the agent is to do");
  schema["properties"]["goal"] = text_rule("the same; together with a prompt, its wider purpose");
  const auto require = [](Json& rule, const char* name, const std::string& why) {
    rule["required"].push_back(name);
    rule["x-opscore-required"][name] = why;
  };
  const auto standard = options.providers.find(options.default_provider);
  if (standard == options.providers.end()) {
    require(config, "provider", no_provider_reason(options));
    require(schema, "agent_config", no_provider_reason(options));
  } else if (standard->second.model.empty()) {
    require(schema, "agent_config", no_model_reason(standard->first));
  }
  for (const auto& [name, provider] : options.providers) {
    if (!provider.model.empty()) continue;
    // A provider without a model of its own, named or standing in as the default.
    Json chosen = {{"properties", {{"provider", {{"const", name}}}}}};
    if (name != options.default_provider) chosen["required"] = Json::array({"provider"});
    Json rule = Json::object();
    require(rule, "model", no_model_reason(name));
    config["allOf"].push_back({{"if", std::move(chosen)}, {"then", std::move(rule)}});
  }
  schema["properties"]["agent_config"] = std::move(config);
  return schema.dump();
}

}  // namespace opscore
