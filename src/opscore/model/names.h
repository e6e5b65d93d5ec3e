#pragma once
// Which names and ids are allowed. Each check answers nothing when the text is fine, else what is
// wrong with it, for the message.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace opscore {

// Queues, types and labels: [A-Za-z_][A-Za-z0-9._-]{0,127}.
std::optional<std::string> name_problem(std::string_view name);
// The same, and not ending in .DQ or .XQ, which Dramatiq uses for its own, nor one of canaries.
std::optional<std::string> queue_name_problem(std::string_view name);
// 1-128 of [A-Za-z0-9._:-], starting alphanumeric; `batch` is reserved.
std::optional<std::string> task_id_problem(std::string_view id);
// A header of a request that opscore is to send for somebody: a token as HTTP has it, none that
// opscore sets itself, and a value on one line.
std::optional<std::string> header_problem(std::string_view name, std::string_view value);

// The up to `most` known names nearest to `name` by edit distance, for "did you mean".
std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string>& known,
                                       size_t most = 3);

}  // namespace opscore
