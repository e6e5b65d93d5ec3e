#pragma once
// For tests: an OpenAI-compatible server on loopback that plays a script of scripted_client.h, so
// that the same script can be put to both providers.

#include <string>

#include "opscore/base/json.h"
#include "opscore/net/loopback_server.h"

namespace opscore {

class FakeChatServer {
 public:
  enum class Style { stream, stream_byte_by_byte, document };

  FakeChatServer(Json script, Style style)
      : script_(std::move(script)),
        style_(style),
        server_([this](const auto& request, auto& reply) { answer(request, reply); }) {}

  std::string base_url() const { return server_.url() + "/v1"; }
  std::vector<LoopbackServer::Request> requests() const { return server_.requests(); }

 private:
  using Reply = LoopbackServer::Reply;

  void answer(const LoopbackServer::Request& request, Reply& reply) const {
    const Json body = Json::parse(request.body);
    size_t asked = 0;
    for (const Json& message : body["messages"]) asked += message["role"] == "assistant";
    const Json& turn = script_["turns"][asked];
    if (turn.contains("delay_ms")) return reply.hold();
    if (turn.contains("error")) return fail(turn["error"], reply);
    if (style_ == Style::document)
      reply.send(200, kHeaders + "Content-Type: application/json\r\n", document(turn).dump());
    else
      stream(turn, reply);
  }

  static void fail(const Json& error, Reply& reply) {
    static const std::map<std::string, int> kStatus{{"unauthenticated", 401}, {"forbidden", 403},
                                                    {"not_found", 404},       {"invalid", 400},
                                                    {"queue_full", 429},      {"unavailable", 503}};
    std::string headers = kHeaders;
    if (error.contains("retry_after_ms"))
      headers += "retry-after-ms: " + error["retry_after_ms"].dump() + "\r\n";
    if (error.contains("retryable"))
      headers += "x-should-retry: " + error["retryable"].dump() + "\r\n";
    reply.send(
        kStatus.at(error["code"]), headers,
        Json{{"error", {{"message", error["message"]}, {"type", "x"}, {"code", nullptr}}}}.dump());
  }

  static Json calls_of(const Json& turn) {
    Json calls = Json::array();
    for (const Json& call : turn.value("tool_calls", Json::array())) {
      const Json& arguments = call["arguments"];
      calls.push_back({{"id", call["id"]},
                       {"type", "function"},
                       {"function",
                        {{"name", call["name"]},
                         {"arguments", arguments.is_string() ? arguments.get<std::string>()
                                                             : arguments.dump()}}}});
    }
    return calls;
  }

  static std::string finish_of(const Json& turn) {
    return turn.value("finish_reason", turn.contains("tool_calls") ? "tool_calls" : "stop");
  }

  static Json usage_of(const Json& turn) {
    const Json usage = turn.value("usage", Json::object());
    return {{"prompt_tokens", usage.value("input_tokens", 1)},
            {"completion_tokens", usage.value("output_tokens", 1)}};
  }

  static Json document(const Json& turn) {
    Json message = {{"role", "assistant"}, {"content", turn.value("text", Json())}};
    if (const Json calls = calls_of(turn); !calls.empty()) message["tool_calls"] = calls;
    return {
        {"object", "chat.completion"},
        {"model", "fake-1"},
        {"choices",
         Json::array({{{"index", 0}, {"message", message}, {"finish_reason", finish_of(turn)}}})},
        {"usage", usage_of(turn)}};
  }

  void stream(const Json& turn, Reply& reply) const {
    std::string text;
    const auto chunk = [&](Json choice, Json usage) {
      Json out = {
          {"object", "chat.completion.chunk"}, {"model", "fake-1"}, {"choices", Json::array()}};
      if (!choice.is_null()) out["choices"].push_back(std::move(choice));
      out["usage"] = std::move(usage);
      text += "data: " + out.dump() + "\n\n";
    };
    const auto delta = [&](Json piece) {
      chunk({{"index", 0}, {"delta", std::move(piece)}, {"finish_reason", nullptr}}, nullptr);
    };
    delta({{"role", "assistant"}, {"content", ""}});
    if (turn.contains("text")) delta({{"content", turn["text"]}});
    int64_t index = 0;
    for (Json call : calls_of(turn)) {
      const std::string arguments = call["function"]["arguments"];
      call["index"] = index;
      call["function"]["arguments"] = "";
      delta({{"tool_calls", Json::array({call})}});
      const size_t half = arguments.size() / 2;
      for (const std::string& part : {arguments.substr(0, half), arguments.substr(half)})
        delta({{"tool_calls",
                Json::array({{{"index", index}, {"function", {{"arguments", part}}}}})}});
      ++index;
    }
    chunk({{"index", 0}, {"delta", Json::object()}, {"finish_reason", finish_of(turn)}}, nullptr);
    chunk(nullptr, usage_of(turn));
    text += "data: [DONE]\n\n";
    reply.begin(200, kHeaders + "Content-Type: text/event-stream\r\n");
    if (style_ == Style::stream_byte_by_byte)
      for (const char& byte : text) reply.piece({&byte, 1});
    else
      reply.piece(text);
    reply.end();
  }

  inline static const std::string kHeaders = "x-request-id: req_1\r\n";

  const Json script_;
  const Style style_;
  LoopbackServer server_;
};

}  // namespace opscore
