#include "opscore/agent/journal.h"

#include <fmt/format.h>

namespace opscore {
namespace {

// Members sorted, no white space: the same text for the same content.
std::string canonical(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const char* role_name(LlmMessage::Role role) {
  switch (role) {
    case LlmMessage::Role::system:
      return "system";
    case LlmMessage::Role::user:
      return "user";
    case LlmMessage::Role::assistant:
      return "assistant";
    case LlmMessage::Role::tool:
      return "tool";
  }
  return "user";
}

template <class Read>
auto decoded(const std::string& text, Read&& read) {
  try {
    return read(Json::parse(text));
  } catch (const Json::exception& error) {
    throw Error(Errc::corrupt, fmt::format("read a journaled step: {}", error.what()));
  }
}

}  // namespace

std::string encode_llm_request(const AgentRequest& request, const LlmRequest& conversation,
                               int turn, size_t sent) {
  Json out = {{"turn", turn},
              {"provider", request.provider},
              {"model", request.model},
              {"messages", Json::array()}};
  if (request.temperature) out["temperature"] = *request.temperature;
  if (turn == 1) {
    out["tools"] = Json::array();
    for (const LlmToolSpec& tool : conversation.tools) out["tools"].push_back(tool.name);
  }
  for (size_t i = sent; i < conversation.messages.size(); ++i) {
    const LlmMessage& message = conversation.messages[i];
    if (message.role == LlmMessage::Role::system && request.system.empty()) continue;
    Json encoded = {{"role", role_name(message.role)}, {"text", message.text}};
    if (!message.tool_call_id.empty()) encoded["tool_call_id"] = message.tool_call_id;
    out["messages"].push_back(std::move(encoded));
  }
  return canonical(out);
}

std::string encode_llm_answer(const LlmResponse& response, Duration took) {
  Json calls = Json::array();
  for (const LlmToolCall& call : response.message.tool_calls)
    calls.push_back({{"id", call.id}, {"name", call.name}, {"arguments", call.arguments}});
  return canonical({{"message",
                     {{"text", response.message.text},
                      {"tool_calls", std::move(calls)},
                      {"raw", response.message.raw}}},
                    {"finish_reason", response.finish_reason},
                    {"usage",
                     {{"input_tokens", response.usage.input_tokens},
                      {"output_tokens", response.usage.output_tokens}}},
                    {"model", response.model},
                    {"request_id", response.request_id},
                    {"took_ms", took.count()}});
}

std::string encode_tool_request(const LlmToolCall& call) {
  return canonical({{"id", call.id}, {"name", call.name}, {"arguments", call.arguments}});
}

std::string encode_tool_answer(const ToolTurn& turn) {
  return canonical({{"ok", turn.ok}, {"text", turn.text}, {"took_ms", turn.took.count()}});
}

LlmTurn decode_llm_answer(const std::string& text) {
  return decoded(text, [](const Json& json) {
    LlmTurn turn;
    LlmResponse& response = turn.response;
    const Json& message = json.at("message");
    response.message.role = LlmMessage::Role::assistant;
    response.message.text = message.at("text").get<std::string>();
    response.message.raw = message.at("raw");
    for (const Json& call : message.at("tool_calls"))
      response.message.tool_calls.push_back({.id = call.at("id").get<std::string>(),
                                             .name = call.at("name").get<std::string>(),
                                             .arguments = call.at("arguments").get<std::string>()});
    response.finish_reason = json.at("finish_reason").get<std::string>();
    response.usage.input_tokens = json.at("usage").at("input_tokens").get<int64_t>();
    response.usage.output_tokens = json.at("usage").at("output_tokens").get<int64_t>();
    response.model = json.at("model").get<std::string>();
    response.request_id = json.at("request_id").get<std::string>();
    turn.took = Duration(json.at("took_ms").get<int64_t>());
    return turn;
  });
}

ToolTurn decode_tool_answer(const std::string& text) {
  return decoded(text, [](const Json& json) {
    return ToolTurn{.ok = json.at("ok").get<bool>(),
                    .text = json.at("text").get<std::string>(),
                    .took = Duration(json.at("took_ms").get<int64_t>())};
  });
}

}  // namespace opscore
