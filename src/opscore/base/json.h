#pragma once
// JSON. Documents that opscore itself reads or writes are `Json`; payloads of users are never
// parsed into one: they are checked and sliced by JsonReader and moved as text.

#include <expected>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "opscore/base/error.h"

namespace opscore {

using Json = nlohmann::json;

// Strict RFC 8259 in UTF-8 (no NaN, no comments, no trailing bytes, surrogates paired, depth at
// most 128). The error is Errc::malformed and names line and column.
std::expected<void, Error> check_json(std::string_view text);

// Parses into a document with the same strictness. Throws Error{malformed} with line and column.
Json parse_json(std::string_view text);

// `text` as a JSON string, quotes included. Invalid UTF-8 becomes U+FFFD.
std::string quote_json(std::string_view text);
// Appends the same to `out`.
void append_quoted(std::string& out, std::string_view text);
// The text with every invalid UTF-8 sequence replaced by U+FFFD: for what programs print.
std::string to_valid_utf8(std::string_view text);
bool is_valid_utf8(std::string_view text);

}  // namespace opscore
