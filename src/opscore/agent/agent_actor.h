#pragma once
// The agent: asks a language model, runs the tools that it calls, and goes on until it answers.
//
// Input, all but prompt and goal optional:
//   {"prompt": text, "goal": text, "agent_config": {"provider", "model", "system", "tools": [name],
//    "max_steps", "temperature", "budget": {"tokens", "seconds"}}, ...whatever else is context}
// Result:
//   {"answer", "provider", "model", "steps", "finish_reason", "usage": {"input_tokens",
//    "output_tokens"}, "tool_calls": [{"step", "name", "arguments", "ok", "result"}]}
//
// Every model call and every tool call is a journaled step; a retried task replays those that it
// has and goes on behind them. A call that was cut off by a crash is made again.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "opscore/actor/actor.h"
#include "opscore/agent/tool.h"
#include "opscore/llm/llm_client.h"

namespace opscore {

struct AgentProvider {
  std::shared_ptr<LlmClient> client;
  std::string model;  // when a task names none; empty: tasks must name one
};

struct AgentLimits {
  int steps = 20;                       // model turns, unless the task says otherwise
  int steps_max = 200;                  // what a task may ask for
  int64_t tokens = 1'000'000;           // in and out together, unless the task says otherwise
  size_t tool_calls_per_turn = 32;      // more are answered with an error
  size_t tool_result_bytes = 64 << 10;  // of one answer; the rest is cut off, visibly
};

struct AgentOptions {
  std::map<std::string, AgentProvider> providers;  // by the name that tasks use
  std::map<std::string, std::string> unusable;     // known, but: why not ("set OPENAI_API_KEY")
  // For tasks that name none. Empty: they are refused. There is no other fallback.
  std::string default_provider;
  std::vector<std::shared_ptr<const Tool>> tools;
  AgentLimits limits;
};

// Failures by error kind: invalid_input (not retryable), provider_error (the provider's words;
// retryable and delayed as it says), budget_exceeded (steps, tokens or seconds; not retryable).
std::unique_ptr<Actor> make_agent_actor(AgentOptions options);

// JSON Schema (draft 7) of the input for the catalogue. Why a known provider cannot be used stands
// beside the enum as "x-opscore-reasons": {name: why}; why a member is required, beside "required"
// as "x-opscore-required": {name: why}.
std::string agent_input_schema(const AgentOptions& options);

}  // namespace opscore
