#include "opscore/engine/schema_rules.h"

#include <fmt/format.h>

#include <functional>
#include <unordered_map>
#include <vector>

#include "opscore/base/error.h"

namespace opscore {
namespace {

// The same days and hours as the validator's own, with a year of four digits.
#define OPSCORE_DATE                                           \
  "[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|" \
  "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|[12][0-9]))"
#define OPSCORE_TIME                                                \
  "(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\\.[0-9]+)?" \
  "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
constexpr char kDate[] = "^" OPSCORE_DATE "$";
constexpr char kTime[] = "^" OPSCORE_TIME "$";
constexpr char kDateTime[] = "^" OPSCORE_DATE "[Tt]" OPSCORE_TIME "$";
#undef OPSCORE_DATE
#undef OPSCORE_TIME

// Members that hold values, not rules.
bool is_data(const std::string& name) {
  return name == "enum" || name == "const" || name == "default" || name == "examples";
}

// Calls `use` for every object that may be a schema.
void each_rule(const Json& node, const std::function<void(const Json&)>& use) {
  if (node.is_object()) use(node);
  if (!node.is_structured()) return;
  for (const auto& [name, below] : node.items())
    if (!node.is_object() || !is_data(name)) each_rule(below, use);
}

void check_pattern(const std::string& pattern) {
  try {
    LinearPattern compiled(pattern);
  } catch (const std::regex_error& error) {
    throw Error(Errc::invalid,
                fmt::format("the pattern '{}' cannot be used: {}", pattern, error.what()));
  }
}

// Follows what applies to the same value: references and combinations.
class Circles {
 public:
  explicit Circles(const Json& document) : document_(document) {}

  void refuse(const Json& rule) {
    if (!rule.is_object()) return;
    auto [entry, is_new] = is_done_.emplace(&rule, false);
    if (!is_new && !entry->second)
      throw Error(Errc::invalid,
                  fmt::format("it refers to itself without end: {}", rule.dump().substr(0, 100)));
    if (!is_new) return;
    follow(rule);
    is_done_[&rule] = true;
  }

 private:
  void follow(const Json& rule) {
    auto reference = rule.find("$ref");
    if (reference != rule.end()) return follow_reference(*reference);
    for (const char* name : {"allOf", "anyOf", "oneOf"})
      if (auto all = rule.find(name); all != rule.end() && all->is_array())
        for (const Json& one : *all) refuse(one);
    for (const char* name : {"not", "if", "then", "else"})
      if (auto one = rule.find(name); one != rule.end()) refuse(*one);
    if (auto all = rule.find("dependencies"); all != rule.end() && all->is_object())
      for (const Json& one : *all) refuse(one);
  }

  // What leads elsewhere or nowhere is for the validator to refuse.
  void follow_reference(const Json& reference) {
    if (!reference.is_string()) return;
    std::string target = reference.get<std::string>();
    if (target != "#" && !target.starts_with("#/")) return;
    try {
      refuse(document_.at(Json::json_pointer(target.substr(1))));
    } catch (const Json::exception&) {
    }
  }

  const Json& document_;
  std::unordered_map<const Json*, bool> is_done_;  // false: on the way that is being followed
};

void rename_rules(Json& node) {
  if (!node.is_structured()) return;
  if (node.is_object())
    for (auto [from, to] : {std::pair{"pattern", kPatternRule}, {"format", kFormatRule}})
      if (auto rule = node.find(from); rule != node.end() && rule->is_string()) {
        node[to] = std::move(*rule);
        node.erase(from);
      }
  for (const auto& [name, below] : node.items())
    if (!node.is_object() || !is_data(name)) rename_rules(below);
}

}  // namespace

// Without a beginning of its own the search would start anew at every character.
LinearPattern::LinearPattern(const std::string& pattern)
    : regex_("^[^]*?(?:" + pattern + ")",
             std::regex_constants::ECMAScript | std::regex_constants::__polynomial) {}

bool LinearPattern::is_in(const std::string& text) const {
  return std::regex_search(text, regex_);
}

const char* pattern_of_format(const std::string& format) {
  return format == "date"        ? kDate
         : format == "time"      ? kTime
         : format == "date-time" ? kDateTime
                                 : nullptr;
}

Json prepare_schema(const Json& document) {
  Circles circles(document);
  each_rule(document, [&](const Json& rule) {
    circles.refuse(rule);
    if (auto pattern = rule.find("pattern"); pattern != rule.end() && pattern->is_string())
      check_pattern(pattern->get<std::string>());
    if (auto named = rule.find("patternProperties"); named != rule.end() && named->is_object())
      for (const auto& [pattern, below] : named->items()) check_pattern(pattern);
  });
  Json prepared = document;
  rename_rules(prepared);
  return prepared;
}

bool has_pattern_properties(const Json& document) {
  bool found = false;
  each_rule(document, [&](const Json& rule) { found |= rule.contains("patternProperties"); });
  return found;
}

}  // namespace opscore
