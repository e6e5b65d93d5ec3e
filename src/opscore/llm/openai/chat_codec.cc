#include "opscore/llm/openai/chat_codec.h"

#include <fmt/format.h>

#include <cmath>

namespace opscore {
namespace {

std::string compact(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const Json& member(const Json& object, const char* name) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(name);
  return found == object.end() ? kNull : *found;
}

std::string text_member(const Json& object, const char* name) {
  const Json& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

int64_t count_member(const Json& object, const char* name) {
  const Json& value = member(object, name);
  if (!value.is_number()) return 0;
  const double number = value.get<double>();
  return number > 0 && number < 1e15 ? static_cast<int64_t>(number) : 0;
}

// Text, or a list of parts of which the text ones count.
std::string content_text(const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  std::string out;
  if (content.is_array())
    for (const Json& part : content) out += text_member(part, "text");
  return out;
}

Json encode_message(const LlmMessage& message) {
  switch (message.role) {
    case LlmMessage::Role::system:
      return {{"role", "system"}, {"content", message.text}};
    case LlmMessage::Role::user:
      return {{"role", "user"}, {"content", message.text}};
    case LlmMessage::Role::tool:
      return {{"role", "tool"}, {"tool_call_id", message.tool_call_id}, {"content", message.text}};
    case LlmMessage::Role::assistant:
      break;
  }
  if (message.raw.is_object()) return message.raw;
  Json out = {{"role", "assistant"}, {"content", message.text}};
  for (const LlmToolCall& call : message.tool_calls)
    out["tool_calls"].push_back(
        {{"id", call.id},
         {"type", "function"},
         {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  return out;
}

LlmUsage decode_usage(const Json& usage) {
  return {.input_tokens = count_member(usage, "prompt_tokens"),
          .output_tokens = count_member(usage, "completion_tokens")};
}

// Makes the turn's calls complete, so that it can be sent back and answered.
std::vector<LlmToolCall> settle_tool_calls(Json& message) {
  std::vector<LlmToolCall> calls;
  if (!member(message, "tool_calls").is_array()) {
    message.erase("tool_calls");
    return calls;
  }
  for (Json& raw : message["tool_calls"]) {
    if (!raw.is_object()) throw Error(Errc::malformed, "a tool call is not an object");
    LlmToolCall call;
    call.id = text_member(raw, "id");
    if (call.id.empty()) {
      call.id = fmt::format("call_{}", calls.size() + 1);
      raw["id"] = call.id;
    }
    raw["type"] = "function";
    if (!member(raw, "function").is_object())
      throw Error(Errc::malformed, "a tool call names no function");
    Json& function = raw["function"];
    call.name = text_member(function, "name");
    if (call.name.empty()) throw Error(Errc::malformed, "a tool call names no function");
    const Json& arguments = member(function, "arguments");
    call.arguments = arguments.is_string() ? arguments.get<std::string>()
                     : arguments.is_null() ? std::string()
                                           : compact(arguments);
    function["arguments"] = call.arguments;
    calls.push_back(std::move(call));
  }
  if (calls.empty()) message.erase("tool_calls");
  return calls;
}

LlmResponse to_response(Json message, std::string finish_reason, const Json& usage,
                        std::string model) {
  LlmResponse response;
  response.message.role = LlmMessage::Role::assistant;
  message["role"] = "assistant";
  response.message.text = content_text(member(message, "content"));
  response.message.tool_calls = settle_tool_calls(message);
  if (!message.contains("content")) message["content"] = nullptr;
  const std::string refusal = text_member(message, "refusal");
  if (response.message.text.empty() && response.message.tool_calls.empty()) {
    if (refusal.empty()) {
      message["content"] = "";  // null without tool calls is refused when it is sent back
    } else {
      response.message.text = refusal;
      finish_reason = "refusal";
    }
  }
  if (!response.message.tool_calls.empty() && (finish_reason.empty() || finish_reason == "stop"))
    finish_reason = "tool_calls";
  response.finish_reason = finish_reason.empty() ? "stop" : std::move(finish_reason);
  response.message.raw = std::move(message);
  response.usage = decode_usage(usage);
  response.model = std::move(model);
  return response;
}

// One member of a delta into the message: text is joined, lists are joined, the rest replaced.
void merge_member(Json& message, const std::string& name, const Json& piece) {
  Json& whole = message[name];
  if (piece.is_null()) return;
  if (whole.is_string() && piece.is_string())
    whole.get_ref<std::string&>() += piece.get_ref<const std::string&>();
  else if (whole.is_array() && piece.is_array())
    whole.insert(whole.end(), piece.begin(), piece.end());
  else
    whole = piece;
}

}  // namespace

Json encode_chat_request(const LlmRequest& request, const ChatDialect& dialect) {
  Json out = {{"model", request.model}, {"messages", Json::array()}};
  for (const LlmMessage& message : request.messages)
    out["messages"].push_back(encode_message(message));
  for (const LlmToolSpec& tool : request.tools)
    out["tools"].push_back({{"type", "function"},
                            {"function",
                             {{"name", tool.name},
                              {"description", tool.description},
                              {"parameters", tool.parameters}}}});
  if (request.temperature) out["temperature"] = *request.temperature;
  if (request.max_tokens) out[dialect.max_tokens_field] = *request.max_tokens;
  if (dialect.stream) {
    out["stream"] = true;
    out["stream_options"] = {{"include_usage", true}};
  }
  return out;
}

LlmResponse decode_chat_answer(const Json& answer) {
  const Json& choices = member(answer, "choices");
  if (!choices.is_array() || choices.empty() || !member(choices[0], "message").is_object())
    throw Error(Errc::malformed,
                "the answer holds no choices[0].message: is the base URL that of "
                "an OpenAI-compatible server?");
  const Json& choice = choices[0];
  return to_response(choice["message"], text_member(choice, "finish_reason"),
                     member(answer, "usage"), text_member(answer, "model"));
}

void ChatStream::add(const Json& chunk) {
  if (!chunk.is_object()) throw Error(Errc::malformed, "a chunk of the stream is not an object");
  ++chunks_;
  if (std::string model = text_member(chunk, "model"); !model.empty()) model_ = std::move(model);
  if (member(chunk, "usage").is_object()) usage_ = chunk["usage"];
  const Json& choices = member(chunk, "choices");
  if (!choices.is_array() || choices.empty()) return;
  const Json& choice = choices[0];
  if (const Json& index = member(choice, "index"); index.is_number() && index.get<double>() != 0)
    return;  // only one answer was asked for
  if (member(choice, "delta").is_object())
    add_delta(choice["delta"]);
  else if (member(choice, "message").is_object())
    add_delta(choice["message"]);  // a whole message where a piece belongs
  if (std::string reason = text_member(choice, "finish_reason"); !reason.empty())
    finish_reason_ = std::move(reason);
}

void ChatStream::add_delta(const Json& delta) {
  for (const auto& [name, piece] : delta.items()) {
    if (name == "tool_calls") {
      if (piece.is_array())
        for (const Json& call : piece) add_tool_call(call);
    } else if (name != "role" && name != "obfuscation") {
      merge_member(message_, name, piece);
    }
  }
}

void ChatStream::add_tool_call(const Json& piece) {
  if (!piece.is_object()) throw Error(Errc::malformed, "a tool call is not an object");
  const std::string id = text_member(piece, "id");
  const Json& index_member = member(piece, "index");
  const Json& function = member(piece, "function");
  const auto begins_another = [&](const Json& call) {
    return !id.empty() && !text_member(call, "id").empty() && text_member(call, "id") != id;
  };
  size_t at = calls_.size();
  // Without an index a new id or a name begins the next call; anything else continues the last.
  if (index_member.is_number_integer()) {
    const auto index = index_member.get<int64_t>();
    while (at > 0 && calls_[at - 1].first != index) --at;
    // Some servers number every parallel call 0; their ids still differ.
    at = at == 0 || begins_another(calls_[at - 1].second) ? calls_.size() : at - 1;
    if (at == calls_.size()) calls_.emplace_back(index, Json::object());
  } else if (calls_.empty() || begins_another(calls_.back().second) ||
             (id.empty() && !text_member(function, "name").empty())) {
    calls_.emplace_back(static_cast<int64_t>(calls_.size()), Json::object());
  } else {
    at = calls_.size() - 1;
  }
  Json& call = calls_[at].second;
  for (const auto& [name, value] : piece.items()) {
    if (name == "function" || name == "index" || value.is_null()) continue;
    if (name == "id" && !text_member(call, "id").empty()) continue;  // repeated by some servers
    call[name] = value;
  }
  if (!function.is_object()) return;
  for (const auto& [name, value] : function.items()) {
    if (name == "name" && call["function"].contains("name")) continue;
    merge_member(call["function"], name, value);
  }
}

LlmResponse ChatStream::take() {
  for (auto& [index, call] : calls_) message_["tool_calls"].push_back(std::move(call));
  return to_response(std::move(message_), std::move(finish_reason_), usage_, std::move(model_));
}

}  // namespace opscore
