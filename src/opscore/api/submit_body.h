#pragma once
// Bodies of submits: JSON text to SubmitRequest, in one pass without a document. The table of
// fields in submit_body.cc is the mapping from REST names to ours. Pure but for the clock.

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/json_reader.h"
#include "opscore/engine/service.h"

namespace opscore {

// One task. Throws Error: malformed with line and column, invalid with field().
SubmitRequest read_submit(std::string_view body);

// Many: an array, {"tasks": [...]}, or, when `ndjson`, one object a line. Fields are named
// "tasks[3].priority". Throws Error{too_large} for more than `most`.
std::vector<SubmitRequest> read_batch(std::string_view body, bool ndjson, size_t most);

// The same, where a bad item does not fail its neighbours. Broken JSON still fails the whole,
// except in NDJSON, where it only fails its line.
std::vector<std::expected<SubmitRequest, Error>> read_batch_per_item(std::string_view body,
                                                                     bool ndjson, size_t most);

// The input of a retry, {"input_data": ...}; nothing for {} and an empty body.
std::optional<std::string> read_retry(std::string_view body);

// The names of all fields of a submit.
std::vector<std::string> submit_field_names();

}  // namespace opscore
