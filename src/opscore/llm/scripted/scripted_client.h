#pragma once
// A provider without a model: replays a script. For demos, tests and conformance.
//
//   script      = {"turns": [turn | [turn, ...], ...]}
//   turn        = {"when"?: condition, "text": string} | {"when"?, "tool_calls": [call, ...],
//   "text"?}
//               | {"when"?, "error": {"code", "message", "retryable"?, "retry_after_ms"?}}
//                 each may have "usage": {"input_tokens", "output_tokens"}, "finish_reason",
//                 and "delay_ms": how long the answer takes
//   call        = {"name": string, "arguments": object | string, "id"?: string}
//   condition   = {"expression"?: bool, "tool"?: string, "last_tool"?: string}: the prompt holds an
//                 arithmetic expression or not; that tool is offered; that tool answered last
//
// Where a turn is a list, the first whose condition holds is taken. Texts and arguments may hold
// {{prompt}}, {{expression}}, {{last_tool}} and {{last_tool_result}}; {{prompt:80}} shortens.
//
// The turn is chosen by how many assistant turns the request already holds, so the client has no
// state, and a replayed conversation is answered as the first time. Without "usage" four bytes
// count as one token.

#include <filesystem>
#include <memory>
#include <string_view>

#include "opscore/llm/llm_client.h"

namespace opscore {

// provider() is "scripted". Throws Error{invalid} naming the wrong member.
std::unique_ptr<LlmClient> make_scripted_client(Json script);
// From a file; not_found when it cannot be read.
std::unique_ptr<LlmClient> make_scripted_client(const std::filesystem::path& path);

// The script that ships with the binary: calls the calculator or the clock once, and says in its
// answer that no model was asked.
std::string_view demo_script();

}  // namespace opscore
