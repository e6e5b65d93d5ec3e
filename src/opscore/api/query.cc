#include "opscore/api/query.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "opscore/base/error.h"
#include "opscore/base/json.h"
#include "opscore/model/names.h"

namespace opscore {
namespace {

std::string decode(std::string_view text) {
  auto decoded = percent_decode(text, true);
  if (decoded && is_clean_text(*decoded)) return std::move(*decoded);
  if (decoded) throw Error(Errc::malformed, "the query holds bytes that are not UTF-8, or a NUL");
  throw Error(Errc::malformed, fmt::format("broken percent-encoding in the query: '{}'", text));
}

[[noreturn]] void refuse_unknown(const std::string& name,
                                 std::initializer_list<std::string_view> known) {
  std::vector<std::string> names(known.begin(), known.end());
  auto nearest = nearest_names(name, names, 1);
  std::string hint = names.empty()     ? std::string("this route takes none")
                     : nearest.empty() ? fmt::format("known are {}", fmt::join(names, ", "))
                                       : fmt::format("did you mean '{}'?", nearest[0]);
  throw Error(Errc::invalid, fmt::format("unknown query parameter '{}'; {}", name, hint)).at(name);
}

}  // namespace

bool is_clean_text(std::string_view text) {
  return is_valid_utf8(text) && text.find('\0') == text.npos;
}

std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      unsigned value = 0;
      std::string_view digits = text.substr(i + 1, 2);
      auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
      if (digits.size() != 2 || code != std::errc() || end != digits.data() + 2)
        return std::nullopt;
      out += static_cast<char>(value);
      i += 2;
    }
  }
  return out;
}

Query::Query(std::string_view text, std::initializer_list<std::string_view> known) {
  while (!text.empty()) {
    size_t end = std::min(text.find('&'), text.size());
    std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    size_t sign = std::min(pair.find('='), pair.size());
    std::string name = decode(pair.substr(0, sign));
    if (std::find(known.begin(), known.end(), name) == known.end()) refuse_unknown(name, known);
    pairs_.emplace_back(std::move(name), decode(pair.substr(std::min(sign + 1, pair.size()))));
  }
}

std::optional<std::string> Query::one(std::string_view name) const {
  std::vector<std::string> values = all(name);
  if (values.empty()) return std::nullopt;
  if (values.size() > 1)
    throw Error(Errc::invalid,
                fmt::format("{}: is given {} times; one is taken", name, values.size()))
        .at(std::string(name));
  return std::move(values[0]);
}

std::vector<std::string> Query::all(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : pairs_)
    if (key == name && !value.empty()) values.push_back(value);
  return values;
}

bool Query::flag(std::string_view name, bool fallback) const {
  auto value = one(name);
  if (!value) return fallback;
  if (*value == "true" || *value == "1") return true;
  if (*value == "false" || *value == "0") return false;
  throw Error(Errc::invalid, fmt::format("{}: '{}' is neither true nor false", name, *value))
      .at(std::string(name));
}

}  // namespace opscore
