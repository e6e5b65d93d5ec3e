#pragma once
// A tool is something that an agent's model may call. To add one: implement Tool, put it into
// AgentOptions::tools where the agent is wired. Every call is journaled by the agent, so a retried
// task gets the first answer again and the tool is not called twice.

#include <expected>
#include <string>
#include <vector>

#include "opscore/actor/actor.h"
#include "opscore/base/json.h"

namespace opscore {

struct ToolSpec {
  std::string name;  // what the model sees: [A-Za-z0-9_-]{1,64}, unique among the tools
  std::string description;
  Json parameters;                   // JSON Schema of an object
  std::vector<std::string> aliases;  // other names that agent_config.tools may use
  bool opt_in = false;               // only for tasks whose agent_config.tools names it
};

// Valid during the call.
struct ToolContext {
  TaskContext& task;  // of the agent's task; tools must not journal steps of their own
  Deadline deadline;  // for this call
};

// Safe for concurrent use: several agents share one tool.
class Tool {
 public:
  virtual ~Tool() = default;
  virtual const ToolSpec& spec() const = 0;
  // The text for the model, or what went wrong, in words that help it to do better. `arguments` is
  // an object, otherwise unchecked: a model wrote it. Must end within a second of a stop request.
  // Throws nothing but bugs.
  virtual std::expected<std::string, std::string> call(const Json& arguments,
                                                       const ToolContext& context) const = 0;
};

}  // namespace opscore
