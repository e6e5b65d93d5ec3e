#pragma once
// The Chat Completions format, both directions. Pure; tolerant where servers differ:
//
//   answer = {"choices": [{"message": M, "finish_reason": F}], "usage": U, "model", ...}
//   chunk  = {"choices": [{"delta": piece of M, "finish_reason": F | null}], "usage"?: U}
//   M      = {"role", "content": text | null | [{"type": "text", "text"}], "refusal"?,
//             "tool_calls"?: [{"id", "function": {"name", "arguments": JSON text}}], more}
//
// Tool calls of a stream are merged by index (id and name come with the first piece). Accepted:
// missing id (made up, the same for the same answer) or index, a whole call in one chunk, arguments
// as an object, finish_reason "stop" beside tool calls, missing or null usage, unknown members.

#include <string>

#include "opscore/llm/llm_client.h"

namespace opscore {

struct ChatDialect {
  bool stream = true;
  std::string max_tokens_field = "max_completion_tokens";
};

Json encode_chat_request(const LlmRequest& request, const ChatDialect& dialect);

// A whole answer. Throws Error{malformed} when it is none.
LlmResponse decode_chat_answer(const Json& answer);

// Puts the chunks of one stream together. Not thread-safe.
class ChatStream {
 public:
  // Throws Error{malformed} for a chunk that is not an object.
  void add(const Json& chunk);
  // A finish_reason was seen: an end without [DONE] is then an end, and not a cut.
  bool finished() const { return !finish_reason_.empty(); }
  bool empty() const { return chunks_ == 0; }
  // The answer so far, in the form of decode_chat_answer.
  LlmResponse take();

 private:
  void add_delta(const Json& delta);
  void add_tool_call(const Json& piece);

  size_t chunks_ = 0;
  Json message_ = {{"role", "assistant"}};
  std::vector<std::pair<int64_t, Json>> calls_;  // index -> call, in order of appearance
  std::string finish_reason_;
  std::string model_;
  Json usage_;
};

}  // namespace opscore
