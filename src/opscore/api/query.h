#pragma once
// The query of a URL: name=value pairs, decoded. Every parameter must be one that the route knows;
// a mistyped filter would otherwise silently match everything. Not thread-safe.

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace opscore {

class Query {
 public:
  // Throws Error{invalid} for a parameter that is not in `known`, naming the nearest, and
  // Error{malformed} for broken percent-encoding.
  Query(std::string_view text, std::initializer_list<std::string_view> known);

  // Nothing when absent or empty; throws Error{invalid} when there are several.
  std::optional<std::string> one(std::string_view name) const;
  std::vector<std::string> all(std::string_view name) const;
  // "true" or "false"; throws Error{invalid} otherwise.
  bool flag(std::string_view name, bool fallback) const;

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

// UTF-8 without NUL, which everything that is looked up in the store is.
bool is_clean_text(std::string_view text);
// Nothing when a percent sign is not followed by two hex digits.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space);

}  // namespace opscore
