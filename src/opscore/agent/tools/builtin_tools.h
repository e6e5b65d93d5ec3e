#pragma once
// The tools that every agent has.

#include <memory>

#include "opscore/agent/tool.h"

namespace opscore {

// {"expression": "2 * (3 + 4)"} -> "14"; the language is that of expression.h.
std::shared_ptr<const Tool> make_calculator();

// {} -> {"utc": "2026-11-20T10:03:00.123Z", "weekday": "Friday"}, by the task's clock.
std::shared_ptr<const Tool> make_current_time();

// Nothing, or the first argument that the tool does not have, in words for the model.
std::optional<std::string> unknown_argument(const Json& arguments, const ToolSpec& spec);

}  // namespace opscore
