#pragma once
// The JSON of an agent's journaled steps. Pure.
//
//   llm  request  {"turn", "provider", "model", "temperature"?, "tools"?: [name], "messages":
//   [...]}
//                 messages: those that no earlier step holds; tools with the first turn only
//        answer   {"message": {"text", "tool_calls": [{"id", "name", "arguments"}], "raw"},
//                  "finish_reason", "usage": {"input_tokens", "output_tokens"}, "model",
//                  "request_id", "took_ms"}
//   tool request  {"id", "name", "arguments": text as the model wrote it}
//        answer   {"ok", "text", "took_ms"}
//
// Requests hold what the task and the model decided, and not wordings of this program (the built-in
// system prompt, the tools' descriptions): a newer build must be able to replay an older journal.

#include <string>

#include "opscore/agent/agent_input.h"
#include "opscore/llm/llm_client.h"

namespace opscore {

struct LlmTurn {
  LlmResponse response;
  Duration took{0};
};

struct ToolTurn {
  bool ok = false;
  std::string text;
  Duration took{0};
};

// `sent`: how many of the conversation's messages earlier steps hold.
std::string encode_llm_request(const AgentRequest& request, const LlmRequest& conversation,
                               int turn, size_t sent);
std::string encode_llm_answer(const LlmResponse& response, Duration took);
std::string encode_tool_request(const LlmToolCall& call);
std::string encode_tool_answer(const ToolTurn& turn);

// Of what encode_*_answer wrote. Throws Error{corrupt} for anything else.
LlmTurn decode_llm_answer(const std::string& text);
ToolTurn decode_tool_answer(const std::string& text);

}  // namespace opscore
