#include "opscore/llm/scripted/scripted_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>

#include "opscore/base/mutex.h"
#include "opscore/llm/scripted/template.h"

namespace opscore {
namespace {

[[noreturn]] void refuse(const std::string& place, const std::string& what) {
  throw Error(Errc::invalid, fmt::format("script: {}: {}", place, what)).at(place);
}

void check_members(const Json& object, const std::string& place,
                   const std::set<std::string>& allowed) {
  if (!object.is_object()) refuse(place, "must be an object");
  for (const auto& [name, value] : object.items())
    if (!allowed.contains(name))
      refuse(place + "." + name,
             fmt::format("unknown member; there are {}", fmt::join(allowed, ", ")));
}

void check_type(const Json& object, const std::string& place, const char* name,
                bool (Json::*is)() const, const char* wanted) {
  if (object.contains(name) && !(object[name].*is)())
    refuse(place + "." + name, std::string("must be ") + wanted);
}

// kebab or snake: both spellings of the same word are in use.
std::optional<Errc> code_of(std::string word) {
  std::replace(word.begin(), word.end(), '_', '-');
  return errc_from_slug(word);
}

void check_error(const Json& error, const std::string& place) {
  check_members(error, place, {"code", "message", "retryable", "retry_after_ms"});
  check_type(error, place, "code", &Json::is_string, "a string");
  check_type(error, place, "message", &Json::is_string, "a string");
  check_type(error, place, "retryable", &Json::is_boolean, "true or false");
  check_type(error, place, "retry_after_ms", &Json::is_number_unsigned, "a whole number");
  if (!error.contains("message")) refuse(place, "needs a message");
  if (error.contains("code") && !code_of(error["code"]))
    refuse(place + ".code", "unknown error code " + error["code"].dump());
}

void check_turn(const Json& turn, const std::string& place) {
  check_members(turn, place,
                {"when", "text", "tool_calls", "error", "usage", "finish_reason", "delay_ms"});
  check_type(turn, place, "text", &Json::is_string, "a string");
  check_type(turn, place, "finish_reason", &Json::is_string, "a string");
  check_type(turn, place, "tool_calls", &Json::is_array, "a list");
  check_type(turn, place, "delay_ms", &Json::is_number_unsigned, "a whole number");
  if (!turn.contains("text") && !turn.contains("tool_calls") && !turn.contains("error"))
    refuse(place, "needs a text, tool_calls or an error");
  if (turn.contains("error")) check_error(turn["error"], place + ".error");
  if (turn.contains("usage")) {
    check_members(turn["usage"], place + ".usage", {"input_tokens", "output_tokens"});
    for (const auto& [name, count] : turn["usage"].items())
      check_type(turn["usage"], place + ".usage", name.c_str(), &Json::is_number_unsigned,
                 "a whole number");
  }
  if (turn.contains("when")) {
    const Json& when = turn["when"];
    check_members(when, place + ".when", {"expression", "tool", "last_tool"});
    check_type(when, place + ".when", "expression", &Json::is_boolean, "true or false");
    check_type(when, place + ".when", "tool", &Json::is_string, "a string");
    check_type(when, place + ".when", "last_tool", &Json::is_string, "a string");
  }
  for (const Json& call : turn.value("tool_calls", Json::array())) {
    check_members(call, place + ".tool_calls", {"name", "arguments", "id"});
    check_type(call, place + ".tool_calls", "id", &Json::is_string, "a string");
    if (!call.contains("name") || !call["name"].is_string())
      refuse(place + ".tool_calls", "a call needs a name");
  }
}

void check_script(const Json& script) {
  check_members(script, "script", {"turns"});
  if (!script.contains("turns") || !script["turns"].is_array() || script["turns"].empty())
    refuse("turns", "must be a list that is not empty");
  for (size_t i = 0; i < script["turns"].size(); ++i) {
    const Json& turn = script["turns"][i];
    const std::string place = fmt::format("turns[{}]", i);
    if (!turn.is_array()) {
      check_turn(turn, place);
      continue;
    }
    if (turn.empty()) refuse(place, "must not be empty");
    for (size_t k = 0; k < turn.size(); ++k) check_turn(turn[k], fmt::format("{}[{}]", place, k));
  }
}

int64_t estimated_tokens(size_t bytes) {
  return static_cast<int64_t>((bytes + 3) / 4);
}

int64_t size_of(const LlmRequest& request) {
  size_t bytes = 0;
  for (const LlmMessage& message : request.messages) {
    bytes += message.text.size();
    for (const LlmToolCall& call : message.tool_calls)
      bytes += call.name.size() + call.arguments.size();
  }
  return estimated_tokens(bytes);
}

class ScriptedClient final : public LlmClient {
 public:
  explicit ScriptedClient(Json script) : script_(std::move(script)) { check_script(script_); }

  std::string provider() const override { return "scripted"; }

  LlmResponse complete(const LlmRequest& request, std::stop_token stop,
                       Deadline deadline) override {
    const TemplateValues values = values_of(request);
    const Json& turn = turn_for(request, values);
    wait(turn.value("delay_ms", int64_t{0}), stop, deadline);
    if (turn.contains("error")) fail(turn["error"], values);
    return answer(request, turn, values);
  }

 private:
  static TemplateValues values_of(const LlmRequest& request) {
    TemplateValues values;
    std::map<std::string, std::string> names;  // call id -> tool
    for (const LlmMessage& message : request.messages) {
      if (message.role == LlmMessage::Role::user && !values.contains("prompt"))
        values["prompt"] = message.text;
      for (const LlmToolCall& call : message.tool_calls) names[call.id] = call.name;
      if (message.role == LlmMessage::Role::tool) {
        values["last_tool_result"] = message.text;
        values["last_tool"] = names[message.tool_call_id];
      }
    }
    values["expression"] = first_expression(values["prompt"]);
    return values;
  }

  const Json& turn_for(const LlmRequest& request, const TemplateValues& values) const {
    const auto asked = static_cast<size_t>(std::count_if(
        request.messages.begin(), request.messages.end(),
        [](const auto& message) { return message.role == LlmMessage::Role::assistant; }));
    const Json& turns = script_.at("turns");
    if (asked >= turns.size())
      throw LlmError(
          Errc::invalid,
          fmt::format("scripted: the script has {} turns and was asked for another", turns.size()),
          false);
    const Json& turn = turns[asked];
    if (!turn.is_array()) return turn;
    for (const Json& choice : turn)
      if (holds(choice.value("when", Json::object()), request, values)) return choice;
    throw LlmError(Errc::invalid,
                   fmt::format("scripted: no choice of turns[{}] fits this conversation", asked),
                   false);
  }

  static bool holds(const Json& when, const LlmRequest& request, const TemplateValues& values) {
    if (when.contains("expression") &&
        when["expression"].get<bool>() == values.at("expression").empty())
      return false;
    if (when.contains("last_tool")) {
      const auto last = values.find("last_tool");
      if (last == values.end() || last->second != when["last_tool"].get<std::string>())
        return false;
    }
    if (!when.contains("tool")) return true;
    return std::any_of(request.tools.begin(), request.tools.end(), [&](const LlmToolSpec& tool) {
      return tool.name == when["tool"].get<std::string>();
    });
  }

  static void wait(int64_t ms, const std::stop_token& stop, Deadline deadline) {
    Mutex mutex;
    StoppableCondition never;
    MutexLock lock(mutex);
    const Duration left = deadline.left();
    never.wait_for(lock, stop, std::min(Duration(ms), left), [] { return false; });
    if (stop.stop_requested()) throw LlmError(Errc::cancelled, "scripted: cancelled", false);
    if (deadline.passed() || Duration(ms) > left)
      throw LlmError(Errc::timeout, "scripted: no answer before the deadline", false);
  }

  [[noreturn]] static void fail(const Json& error, const TemplateValues& values) {
    const Errc code = code_of(error.value("code", "unavailable")).value();
    std::optional<Duration> retry_after;
    if (error.contains("retry_after_ms"))
      retry_after = Duration(error["retry_after_ms"].get<int64_t>());
    throw LlmError(code, "scripted: " + fill_template(error["message"].get<std::string>(), values),
                   error.value("retryable", info(code).retryable), retry_after);
  }

  static LlmResponse answer(const LlmRequest& request, const Json& turn,
                            const TemplateValues& values) {
    LlmResponse response;
    LlmMessage& message = response.message;
    message.role = LlmMessage::Role::assistant;
    message.text = fill_template(turn.value("text", ""), values);
    size_t bytes = message.text.size();
    const auto turns_before =
        std::count_if(request.messages.begin(), request.messages.end(),
                      [](const LlmMessage& m) { return m.role == LlmMessage::Role::assistant; });
    for (const Json& call : turn.value("tool_calls", Json::array())) {
      const Json arguments = fill_template_in(call.value("arguments", Json::object()), values);
      message.tool_calls.push_back(
          {.id = call.value("id", fmt::format("scripted_{}_{}", turns_before + 1,
                                              message.tool_calls.size() + 1)),
           .name = call["name"],
           .arguments = arguments.is_string() ? arguments.get<std::string>() : arguments.dump()});
      bytes += message.tool_calls.back().arguments.size();
    }
    response.finish_reason =
        turn.value("finish_reason", message.tool_calls.empty() ? "stop" : "tool_calls");
    response.model = "scripted";
    response.usage = {size_of(request), estimated_tokens(bytes)};
    if (turn.contains("usage"))
      response.usage = {turn["usage"].value("input_tokens", int64_t{0}),
                        turn["usage"].value("output_tokens", int64_t{0})};
    return response;
  }

  const Json script_;
};

}  // namespace

std::unique_ptr<LlmClient> make_scripted_client(Json script) {
  return std::make_unique<ScriptedClient>(std::move(script));
}

std::unique_ptr<LlmClient> make_scripted_client(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(Errc::not_found, fmt::format("script '{}' cannot be read", path.string()));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  try {
    return make_scripted_client(parse_json(text));
  } catch (const Error& error) {
    throw error.with_context(fmt::format("read the script '{}'", path.string()));
  }
}

}  // namespace opscore
