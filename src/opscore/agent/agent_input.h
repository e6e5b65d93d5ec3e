#pragma once
// What a task asks of an agent, checked. The same rules as a schema for submit (agent_input_schema)
// and as code for the run, because configuration may change between the two. Pure.

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "opscore/agent/agent_actor.h"

namespace opscore {

struct AgentRequest {
  std::string prompt;    // the user's message: goal, prompt and context
  std::string system;    // empty: the built-in one
  std::string provider;  // a key of AgentOptions::providers
  std::string model;
  std::vector<const Tool*> tools;
  int steps_max = 0;
  int64_t tokens_max = 0;
  std::optional<Duration> time_max;
  std::optional<double> temperature;
};

// The error is Errc::invalid and names the field.
std::expected<AgentRequest, Error> read_agent_request(const std::string& input,
                                                      const AgentOptions& options);

}  // namespace opscore
