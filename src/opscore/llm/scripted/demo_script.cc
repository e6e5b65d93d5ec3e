#include "opscore/llm/scripted/scripted_client.h"

namespace opscore {

std::string_view demo_script() {
  return R"json({
  "turns": [
    [
      {"when": {"expression": true, "tool": "calculator"},
       "text": "The prompt holds an arithmetic expression; I ask the calculator.",
       "tool_calls": [{"name": "calculator", "arguments": {"expression": "{{expression}}"}}]},
      {"when": {"tool": "current_time"},
       "text": "I ask for the current time, to show a tool call.",
       "tool_calls": [{"name": "current_time", "arguments": {}}]},
      {"text": ")json"
         "This is opscore's scripted demo: no language model was asked, and this task allows "
         "neither of the tools that it shows. Your prompt was: {{prompt:400}}"
         R"json("}
    ],
    {"text": ")json"
         "This is opscore's scripted demo: no language model was asked. Your prompt was: "
         "{{prompt:400}}\\nThe tool {{last_tool}} was really called and answered: "
         "{{last_tool_result:400}}\\nTo ask a model, name one in agent_config.provider, for "
         "example openai with OPENAI_API_KEY set."
         R"json("}
  ]
})json";
}

}  // namespace opscore
