#pragma once
// Programs as tools: every exec actor of a registry can be called by an agent.

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "opscore/agent/tool.h"

namespace opscore {

// What is wrong with a JSON text by a JSON Schema; nothing when it fits.
using SchemaCheck =
    std::function<std::optional<std::string>(const std::string& schema, const std::string& json)>;

// One tool for each actor of kind "exec", sorted by type. The name is the type with what providers
// do not allow replaced by '_' ("shell.word_count" -> "shell_word_count"), made unique beside
// `taken`; the type stays an alias. The program runs inside the agent's slot, within its own
// timeout, and counts neither as a task nor against the actor's concurrency. Its input is the
// arguments; where the actor's schema does not describe an object, the member "input" of them. A
// schema is enforced through `check`, when there is one. Its result is the tool's text.
//
// `registry` must outlive the tools.
std::vector<std::shared_ptr<const Tool>> make_exec_tools(const Registry& registry,
                                                         std::set<std::string> taken = {},
                                                         const SchemaCheck& check = {});

}  // namespace opscore
