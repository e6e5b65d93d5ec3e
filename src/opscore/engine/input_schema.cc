#include "opscore/engine/input_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

// Without this a bad schema would abort the process.
#define VALIJSON_USE_EXCEPTIONS 1
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>

#include "opscore/base/error.h"
#include "opscore/base/json.h"
#include "opscore/base/utf8.h"
#include "opscore/engine/schema_rules.h"

namespace opscore {
namespace {

// Names that `patternProperties` are tried on: the validator's own matching is not for long texts.
constexpr size_t kMatchedNameMax = 1000;

// A rule for texts that the validator is to ask instead of its own.
class TextRule final : public valijson::constraints::PolyConstraint {
 public:
  TextRule(const std::string& pattern, std::string message)
      : pattern_(pattern), message_(std::move(message)) {}

  bool validate(const valijson::adapters::Adapter& target, const std::vector<std::string>& context,
                valijson::ValidationResults* results) const override {
    if (!target.isString() || pattern_.is_in(target.asString())) return true;
    if (results) results->pushError(context, message_);
    return false;
  }

 private:
  Constraint* cloneInto(void* place) const override { return new (place) TextRule(*this); }
  size_t sizeOf() const override { return sizeof(TextRule); }

  LinearPattern pattern_;
  std::string message_;
};

class PatternBuilder final : public valijson::ConstraintBuilder {
 public:
  valijson::constraints::Constraint* make(const valijson::adapters::Adapter& value) const override {
    std::string pattern = value.asString();
    return new TextRule(pattern, fmt::format("does not match the pattern {}", pattern));
  }
};

class FormatBuilder final : public valijson::ConstraintBuilder {
 public:
  valijson::constraints::Constraint* make(const valijson::adapters::Adapter& value) const override {
    std::string format = value.asString();
    const char* pattern = pattern_of_format(format);
    return new TextRule(pattern ? pattern : "", fmt::format("is not a {}", format));
  }
};

// The length of the longest member name.
size_t longest_name(const Json& value) {
  size_t longest = 0;
  if (!value.is_structured()) return longest;
  for (const auto& [name, below] : value.items())
    longest = std::max({longest, value.is_object() ? name.size() : 0, longest_name(below)});
  return longest;
}

// "an object or null": what a rule's `type` asks for.
std::string types_of(const Json& type) {
  if (type.is_string()) return type.get<std::string>();
  std::string names;
  for (const Json& one : type)
    if (one.is_string()) names += (names.empty() ? "" : " or ") + one.get<std::string>();
  return names;
}

// valijson writes places as "<root>[a][b]"; people write "a.b".
std::string place(const std::vector<std::string>& context) {
  std::string path;
  for (const std::string& part : context) {
    if (part == "<root>" || part.size() < 2) continue;
    std::string name = part.substr(1, part.size() - 2);
    bool is_index = name.find_first_not_of("0123456789") == std::string::npos;
    if (is_index)
      path += "[" + name + "]";
    else
      path += (path.empty() ? "" : ".") + name;
  }
  return path;
}

// The value, or the schema's node, at a place; null where the path leaves it.
const Json* descend(const Json* node, const std::vector<std::string>& context, bool in_schema) {
  for (const std::string& part : context) {
    if (part == "<root>" || part.size() < 2) continue;
    std::string name = part.substr(1, part.size() - 2);
    bool is_index = name.find_first_not_of("0123456789") == std::string::npos;
    if (in_schema) {
      auto below = node->find(is_index ? "items" : "properties");
      if (below == node->end() || !below->is_object()) return nullptr;
      if (!is_index && !below->contains(name)) return nullptr;
      node = is_index ? &*below : &(*below)[name];
    } else if (is_index && node->is_array()) {
      size_t index = std::stoul(name);
      if (index >= node->size()) return nullptr;
      node = &(*node)[index];
    } else {
      if (!node->is_object() || !node->contains(name)) return nullptr;
      node = &(*node)[name];
    }
  }
  return node;
}

// Of a rule {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]} that is not met: "'a' or 'b'".
std::string alternatives(const Json& rule) {
  std::string names;
  for (const Json& choice : rule.value("anyOf", Json::array())) {
    if (choice.size() != 1 || !choice.contains("required") || choice["required"].size() != 1)
      return "";
    names += fmt::format("{}'{}'", names.empty() ? "" : " or ",
                         choice["required"][0].get<std::string>());
  }
  return names;
}

SchemaProblem as_problem(const valijson::ValidationResults::Error& error) {
  constexpr std::string_view kMissing = "Missing required property '";
  constexpr std::string_view kUnknown = "'additionalProperties' constraints: '";
  std::string path = place(error.context);
  std::string_view words = error.description;
  if (size_t at = words.find(kUnknown); at != words.npos) {
    words.remove_prefix(at + kUnknown.size());
    std::string name(words.substr(0, words.rfind('\'')));
    return {path + (path.empty() ? "" : ".") + name, "is not a member that is known here"};
  }
  if (!words.starts_with(kMissing)) return {path, std::string(words)};
  words.remove_prefix(kMissing.size());
  std::string name(words.substr(0, words.find('\'')));
  return {path + (path.empty() ? "" : ".") + name, "is required"};
}

}  // namespace

struct InputSchema::Impl {
  Json document;
  valijson::Schema schema;
  bool matches_names = false;

  // Which required member is missing, with the reason that stands beside "required", if any.
  std::optional<SchemaProblem> explain_required(const Json& input,
                                                const std::vector<std::string>& context) const {
    const Json* rule = descend(&document, context, true);
    const Json* value = descend(&input, context, false);
    if (!rule || !rule->is_object() || !value || !value->is_object()) return std::nullopt;
    if (std::string names = alternatives(*rule); !names.empty()) {
      bool met = std::ranges::any_of((*rule)["anyOf"], [&](const Json& choice) {
        return value->contains(choice["required"][0].get<std::string>());
      });
      if (!met) return SchemaProblem{place(context), "needs " + names};
    }
    for (const Json& name : rule->value("required", Json::array())) {
      if (value->contains(name.get<std::string>())) continue;
      std::string path = place(context);
      path += (path.empty() ? "" : ".") + name.get<std::string>();
      Json reasons = rule->value("x-opscore-required", Json::object());
      return SchemaProblem{path, reasons.value(name.get<std::string>(), "is required")};
    }
    return std::nullopt;
  }

  // What is wrong with a value that is not in its enum, in better words than "failed".
  std::optional<std::string> explain_enum(const Json& input,
                                          const std::vector<std::string>& context) const {
    const Json* rule = descend(&document, context, true);
    const Json* value = descend(&input, context, false);
    if (!rule || !value || !rule->contains("enum")) return std::nullopt;
    for (const Json& allowed : (*rule)["enum"])
      if (allowed == *value) return std::nullopt;
    if (value->is_string() && rule->contains("x-opscore-reasons")) {
      const Json& reasons = (*rule)["x-opscore-reasons"];
      auto reason = reasons.find(value->get<std::string>());
      if (reason != reasons.end()) return reason->get<std::string>();
    }
    return fmt::format("must be one of {}, not {}", (*rule)["enum"].dump(), shown(value->dump()));
  }

  // Which type it must be, where that is what is wrong.
  std::optional<std::string> explain_type(const Json& input,
                                          const valijson::ValidationResults::Error& error) const {
    if (error.description.find("'type' constraint") == std::string::npos) return std::nullopt;
    const Json* rule = descend(&document, error.context, true);
    const Json* value = descend(&input, error.context, false);
    if (!rule || !value || !rule->contains("type")) return std::nullopt;
    return fmt::format("must be of type {}, not {}", types_of((*rule)["type"]), value->type_name());
  }
};

InputSchema::InputSchema(std::string_view schema_json) : impl_(std::make_unique<Impl>()) {
  impl_->document = parse_json(schema_json);
  try {
    const Json prepared = prepare_schema(impl_->document);
    impl_->matches_names = has_pattern_properties(impl_->document);
    valijson::SchemaParser parser;
    parser.addConstraintBuilder(kPatternRule, new PatternBuilder);
    parser.addConstraintBuilder(kFormatRule, new FormatBuilder);
    valijson::adapters::NlohmannJsonAdapter adapter(prepared);
    parser.populateSchema(adapter, impl_->schema);
  } catch (const std::exception& error) {
    throw Error(Errc::invalid, fmt::format("not a JSON Schema: {}", error.what()));
  }
}

InputSchema::~InputSchema() = default;

std::optional<SchemaProblem> InputSchema::check(std::string_view input_json) const {
  Json input = parse_json(input_json);
  if (impl_->matches_names && longest_name(input) > kMatchedNameMax)
    return SchemaProblem{"", fmt::format("has a member name of more than {} bytes, on which "
                                         "patternProperties are not tried",
                                         kMatchedNameMax)};
  valijson::Validator validator;
  valijson::ValidationResults results;
  valijson::adapters::NlohmannJsonAdapter adapter(input);
  if (validator.validate(impl_->schema, adapter, &results)) return std::nullopt;
  // The deepest place says most; valijson reports it first.
  valijson::ValidationResults::Error deepest, next;
  while (results.popError(next)) {
    if (auto better = impl_->explain_enum(input, next.context))
      return SchemaProblem{place(next.context), *better};
    if (auto missing = impl_->explain_required(input, next.context)) return missing;
    if (auto type = impl_->explain_type(input, next)) next.description = *type;
    if (next.context.size() > deepest.context.size()) deepest = next;
  }
  return as_problem(deepest);
}

}  // namespace opscore
