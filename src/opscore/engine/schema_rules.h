#pragma once
// What opscore checks of a JSON Schema itself, before and instead of the validator: patterns, whose
// cost must not depend on what a client sends, and references that lead nowhere but to themselves.

#include <regex>
#include <string>

#include "opscore/base/json.h"

namespace opscore {

// A regular expression (ECMAScript, without back-references) that is matched in one pass over the
// text: neither the stack nor the time explode, whatever text comes. Safe for concurrent use.
class LinearPattern {
 public:
  // Throws std::regex_error.
  explicit LinearPattern(const std::string& pattern);
  // Somewhere in the text, as JSON Schema has it.
  bool is_in(const std::string& text) const;

 private:
  std::regex regex_;
};

// The names under which prepare_schema() leaves `pattern` and `format`.
inline constexpr char kPatternRule[] = "x-opscore-pattern";
inline constexpr char kFormatRule[] = "x-opscore-format";

// The pattern of a format that is checked (date, time, date-time); nullptr for others, which say
// something to people only.
const char* pattern_of_format(const std::string& format);

// A copy for the validator, in which `pattern` and `format` have the names above. Throws
// Error{invalid} for a pattern that cannot be used and for a schema that refers to itself without
// looking deeper into the input, which would never end.
Json prepare_schema(const Json& document);

// Whether an object of the schema says `patternProperties`.
bool has_pattern_properties(const Json& document);

}  // namespace opscore
