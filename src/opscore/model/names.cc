#include "opscore/model/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <numeric>

#include "opscore/model/canary.h"

namespace opscore {
namespace {

bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// What a client or a proxy on the way decides, not who asks for a call.
constexpr std::string_view kOwnHeaders[] = {"connection",
                                            "content-length",
                                            "content-type",
                                            "expect",
                                            "host",
                                            "keep-alive",
                                            "te",
                                            "trailer",
                                            "transfer-encoding",
                                            "upgrade",
                                            "proxy-connection"};

// Levenshtein, one row at a time.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::optional<std::string> name_problem(std::string_view name) {
  auto allowed = [](char c) {
    return is_alpha(c) || is_digit(c) || c == '.' || c == '_' || c == '-';
  };
  if (name.empty()) return "is empty";
  if (name.size() > 128) return fmt::format("is {} characters long; at most 128", name.size());
  if (!is_alpha(name[0]) && name[0] != '_') return "must start with a letter or _";
  if (!std::all_of(name.begin(), name.end(), allowed))
    return "may only contain letters, digits, and . _ -";
  return std::nullopt;
}

std::optional<std::string> queue_name_problem(std::string_view name) {
  if (name.ends_with(".DQ") || name.ends_with(".XQ"))
    return "must not end in .DQ or .XQ, which Dramatiq uses for delayed and dead messages";
  if (is_canary_queue(name)) return "is kept for the canaries of sessions";
  return name_problem(name);
}

std::optional<std::string> task_id_problem(std::string_view id) {
  auto allowed = [](char c) {
    return is_alpha(c) || is_digit(c) || c == '.' || c == '_' || c == ':' || c == '-';
  };
  if (id.empty()) return "is empty";
  if (id.size() > 128) return fmt::format("is {} characters long; at most 128", id.size());
  if (!is_alpha(id[0]) && !is_digit(id[0])) return "must start with a letter or digit";
  if (!std::all_of(id.begin(), id.end(), allowed))
    return "may only contain letters, digits, and . _ : -";
  if (id == "batch") return "is reserved";
  return std::nullopt;
}

std::optional<std::string> header_problem(std::string_view name, std::string_view value) {
  auto allowed = [](char c) {
    return is_alpha(c) || is_digit(c) ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  };
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(), ::tolower);
  if (name.empty()) return "has no name";
  if (!std::all_of(name.begin(), name.end(), allowed))
    return "has a name with a character that HTTP forbids";
  if (lower.starts_with("x-opscore-") ||
      std::find(std::begin(kOwnHeaders), std::end(kOwnHeaders), lower) != std::end(kOwnHeaders))
    return "is set by opscore";
  auto is_control = [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == 127; };
  if (std::any_of(value.begin(), value.end(), is_control))
    return "has a value with a line break or another control character";
  return std::nullopt;
}

std::vector<std::string> nearest_names(std::string_view name, const std::vector<std::string>& known,
                                       size_t most) {
  std::vector<std::pair<size_t, std::string>> ranked;
  for (const auto& candidate : known)
    ranked.emplace_back(edit_distance(name.substr(0, 128), candidate), candidate);
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> nearest;
  for (const auto& [distance, candidate] : ranked)
    if (nearest.size() < most && distance <= std::max<size_t>(3, candidate.size() / 2))
      nearest.push_back(candidate);
  return nearest;
}

}  // namespace opscore
