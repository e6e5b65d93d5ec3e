// From a value as it was spelled to the member that keeps it, by the type of that member.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>

#include "opscore/app/config_fields.h"
#include "opscore/base/json.h"

namespace opscore {
namespace {

using Kind = ConfigValue::Kind;
using Problem = std::optional<std::string>;

std::string shown(const ConfigValue& value) {
  switch (value.kind) {
    case Kind::table:
      return "a table";
    case Kind::array:
      return "an array";
    case Kind::untyped:
    case Kind::text:
      return quote_json(value.text.substr(0, 80));
    default:
      return value.text.substr(0, 80);
  }
}

Problem must_be(std::string_view what, const ConfigValue& value) {
  return fmt::format("must be {}, not {}", what, shown(value));
}

bool is_text(const ConfigValue& value) {
  return value.kind == Kind::text || value.kind == Kind::untyped;
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Problem set(std::string& out, const ConfigValue& value, const FieldRules& rules) {
  if (!is_text(value)) return must_be("a text in quotes", value);
  if (!rules.choices.empty()) {
    bool known =
        std::find(rules.choices.begin(), rules.choices.end(), value.text) != rules.choices.end();
    if (!known) return must_be(fmt::format("one of {}", fmt::join(rules.choices, ", ")), value);
  }
  if (rules.problem && !value.text.empty())
    if (auto problem = rules.problem(value.text)) return problem;
  if (value.text.find('\0') != std::string::npos) return "must not contain a NUL byte";
  out = value.text;
  return std::nullopt;
}

Problem set(int64_t& out, const ConfigValue& value, const FieldRules& rules,
            std::string_view what) {
  auto number = value.kind == Kind::integer || value.kind == Kind::untyped
                    ? parse_number<int64_t>(value.text)
                    : std::nullopt;
  if (!number || *number < rules.min || *number > rules.max)
    return must_be(fmt::format("{} from {} to {}", what, rules.min, rules.max), value);
  out = *number;
  return std::nullopt;
}

Problem set(int& out, const ConfigValue& value, const FieldRules& rules) {
  int64_t wide = 0;
  auto problem = set(wide, value, rules, "a whole number");
  if (!problem) out = static_cast<int>(wide);
  return problem;
}

Problem set(double& out, const ConfigValue& value, const FieldRules& rules) {
  bool numeric =
      value.kind == Kind::integer || value.kind == Kind::number || value.kind == Kind::untyped;
  auto number = numeric ? parse_number<double>(value.text) : std::nullopt;
  if (!number || !std::isfinite(*number) || *number < static_cast<double>(rules.min) ||
      *number > static_cast<double>(rules.max))
    return must_be(fmt::format("a number from {} to {}", rules.min, rules.max), value);
  out = *number;
  return std::nullopt;
}

Problem set(bool& out, const ConfigValue& value, const FieldRules&) {
  bool spelled = value.kind == Kind::boolean || value.kind == Kind::untyped;
  if (spelled && (value.text == "true" || (value.text == "1" && value.kind == Kind::untyped)))
    out = true;
  else if (spelled && (value.text == "false" || (value.text == "0" && value.kind == Kind::untyped)))
    out = false;
  else
    return must_be("true or false", value);
  return std::nullopt;
}

Problem set(Bytes& out, const ConfigValue& value, const FieldRules& rules) {
  bool spelled = is_text(value) || value.kind == Kind::integer;
  auto bytes = parse_bytes(spelled ? value.text : "");
  if (!bytes) return must_be("a size such as 1048576, 512KiB or 64MiB", value);
  if (bytes->value < rules.min || bytes->value > rules.max)
    return must_be(
        fmt::format("from {} to {}", to_text(Bytes{rules.min}), to_text(Bytes{rules.max})), value);
  out = *bytes;
  return std::nullopt;
}

Problem set(Duration& out, const ConfigValue& value, const FieldRules& rules) {
  bool spelled = is_text(value) || value.kind == Kind::integer || value.kind == Kind::number;
  auto duration = parse_duration(spelled ? value.text : "-");
  if (!duration) return must_be("a duration such as 250ms, 30s, 10m, 1h or 7d", value);
  if (duration->count() < rules.min || duration->count() > rules.max)
    return must_be(
        fmt::format("from {} to {}", to_text(Duration(rules.min)), to_text(Duration(rules.max))),
        value);
  out = *duration;
  return std::nullopt;
}

Problem set(SchemaText& out, const ConfigValue& value, const FieldRules&);

template <class T>
Problem set(std::optional<T>& out, const ConfigValue& value, const FieldRules& rules) {
  T inner{};
  auto problem = set(inner, value, rules);
  if (!problem) out = inner;
  return problem;
}

// "a,b", as variables and flags have it.
std::vector<ConfigValue> split_list(std::string_view text) {
  std::vector<ConfigValue> items;
  while (!text.empty()) {
    size_t end = std::min(text.find(','), text.size());
    items.emplace_back().text = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return items;
}

Problem set(std::vector<std::string>& out, const ConfigValue& value, const FieldRules& rules) {
  bool listed = value.kind == Kind::untyped;
  if (!listed && value.kind != Kind::array)
    return must_be("an array of texts: [\"a\", \"b\"]", value);
  std::vector<ConfigValue> items = listed ? split_list(value.text) : value.items;
  std::vector<std::string> texts(items.size());
  for (size_t i = 0; i < texts.size(); ++i)
    if (auto problem = set(texts[i], items[i], rules))
      return fmt::format("item {} {}", i + 1, *problem);
  out = std::move(texts);
  return std::nullopt;
}

Problem add_queue(std::vector<QueueWeight>& out, std::string_view name, const ConfigValue& weight,
                  const FieldRules& rules) {
  QueueWeight queue{std::string(name), 1};
  if (auto problem = rules.problem(name))
    return fmt::format("the queue {} {}", quote_json(name), *problem);
  if (auto problem = set(queue.weight, weight, rules))
    return fmt::format("the weight of {} {}", name, *problem);
  for (const auto& other : out)
    if (other.queue == name) return fmt::format("names the queue {} twice", name);
  out.push_back(std::move(queue));
  return std::nullopt;
}

Problem add_queue(std::vector<QueueWeight>& out, std::string_view text, const FieldRules& rules) {
  size_t equals = text.find('=');
  ConfigValue weight;
  weight.text = equals == std::string_view::npos ? "1" : text.substr(equals + 1);
  return add_queue(out, text.substr(0, equals), weight, rules);
}

Problem set(std::vector<QueueWeight>& out, const ConfigValue& value, const FieldRules& rules) {
  std::vector<QueueWeight> queues;
  Problem problem;
  if (value.kind == Kind::table) {
    for (const auto& [name, weight] : value.members)
      if (!problem) problem = add_queue(queues, name, weight, rules);
  } else if (value.kind == Kind::array) {
    for (const auto& item : value.items)
      if (!problem)
        problem = is_text(item) ? add_queue(queues, item.text, rules)
                                : must_be("an array of texts", item);
  } else if (value.kind == Kind::untyped) {
    for (const auto& item : split_list(value.text))
      if (!problem) problem = add_queue(queues, item.text, rules);
  } else {
    problem = must_be("an array such as [\"default\", \"mail=3\"], or a table", value);
  }
  if (!problem) out = std::move(queues);
  return problem;
}

Problem set(std::map<std::string, std::string>& out, const ConfigValue& value,
            const FieldRules& rules) {
  if (value.kind != Kind::table) return must_be("a table: {NAME = \"value\"}", value);
  FieldRules plain{rules.min, rules.max, rules.choices, nullptr};
  std::map<std::string, std::string> entries;
  for (const auto& [name, item] : value.members) {
    if (rules.problem)
      if (auto problem = rules.problem(name))
        return fmt::format("the name {} {}", quote_json(name), *problem);
    if (auto problem = set(entries[name], item, plain))
      return fmt::format("{} must be a text in quotes", name);  // it may be a secret: not shown
  }
  out = std::move(entries);
  return std::nullopt;
}

Problem set(std::map<std::string, Duration>& out, const ConfigValue& value,
            const FieldRules& rules) {
  if (value.kind != Kind::table) return must_be("a table of durations", value);
  std::map<std::string, Duration> entries;
  for (const auto& [name, item] : value.members) {
    if (auto problem = rules.problem(name))
      return fmt::format("the type {} {}", quote_json(name), *problem);
    if (auto problem = set(entries[name], item, rules)) return fmt::format("{} {}", name, *problem);
  }
  out = std::move(entries);
  return std::nullopt;
}

std::optional<ExitCode> parse_exit_code(std::string_view text) {
  if (text == "retry") return ExitCode{ExitCode::Meaning::retry, {}};
  if (text == "fatal") return ExitCode{ExitCode::Meaning::fatal, {}};
  if (!text.starts_with("snooze ")) return std::nullopt;
  auto delay = parse_duration(text.substr(7));
  if (!delay) return std::nullopt;
  return ExitCode{ExitCode::Meaning::snooze, *delay};
}

Problem set(std::map<int, ExitCode>& out, const ConfigValue& value, const FieldRules& rules) {
  if (value.kind != Kind::table)
    return must_be("a table: {65 = \"fatal\", 75 = \"snooze 30s\"}", value);
  auto codes = out;  // over the default
  for (const auto& [name, item] : value.members) {
    auto number = parse_number<int>(name);
    if (!number || *number < rules.min || *number > rules.max)
      return fmt::format("has the exit code {}: exit codes are {} to {}", quote_json(name),
                         rules.min, rules.max);
    auto code = parse_exit_code(is_text(item) ? item.text : "");
    if (!code)
      return fmt::format("{} must be \"retry\", \"fatal\" or \"snooze 30s\", not {}", name,
                         shown(item));
    codes[*number] = *code;
  }
  out = std::move(codes);
  return std::nullopt;
}

std::expected<Json, std::string> to_json(const ConfigValue& value) {
  switch (value.kind) {
    case Kind::integer:
      return Json(parse_number<int64_t>(value.text).value_or(0));
    case Kind::number: {
      auto number = parse_number<double>(value.text);
      if (!number || !std::isfinite(*number)) return std::unexpected(value.text);
      return Json(*number);
    }
    case Kind::boolean:
      return Json(value.text == "true");
    case Kind::date:
      return std::unexpected(value.text);
    case Kind::array: {
      Json array = Json::array();
      for (const auto& item : value.items) {
        auto json = to_json(item);
        if (!json) return json;
        array.push_back(std::move(*json));
      }
      return array;
    }
    case Kind::table: {
      Json object = Json::object();
      for (const auto& [name, member] : value.members) {
        auto json = to_json(member);
        if (!json) return json;
        object[name] = std::move(*json);
      }
      return object;
    }
    default:
      return Json(value.text);
  }
}

Problem set(SchemaText& out, const ConfigValue& value, const FieldRules&) {
  if (is_text(value)) {
    out = {{}, value.text};
    return std::nullopt;
  }
  if (value.kind != Kind::table) return must_be("a table, or the name of a JSON file", value);
  auto json = to_json(value);
  if (!json) return fmt::format("contains {}, which JSON cannot express", json.error());
  out = {json->dump(), {}};
  return std::nullopt;
}

Problem set(std::vector<ActorConfig>&, const ConfigValue&, const FieldRules&) {
  OPSCORE_ASSERT(false, "actors are read by their own table");
}
Problem set(std::vector<QueueConfig>&, const ConfigValue&, const FieldRules&) {
  OPSCORE_ASSERT(false, "queues are read by their own table");
}
Problem set(std::vector<AgentProviderConfig>&, const ConfigValue&, const FieldRules&) {
  OPSCORE_ASSERT(false, "providers are read by their own table");
}

struct TypeWords {
  std::string operator()(std::string*) const { return "text"; }
  std::string operator()(int*) const { return "integer"; }
  std::string operator()(double*) const { return "number"; }
  std::string operator()(bool*) const { return "true or false"; }
  std::string operator()(Bytes*) const { return "size"; }
  std::string operator()(Duration*) const { return "duration"; }
  std::string operator()(SchemaText*) const { return "table or file name"; }
  std::string operator()(std::optional<int>*) const { return "integer"; }
  std::string operator()(std::optional<Duration>*) const { return "duration"; }
  std::string operator()(std::vector<std::string>*) const { return "array of texts"; }
  std::string operator()(std::vector<QueueWeight>*) const { return "queues with weights"; }
  std::string operator()(std::map<std::string, std::string>*) const { return "table of texts"; }
  std::string operator()(std::map<std::string, Duration>*) const { return "table of durations"; }
  std::string operator()(std::map<int, ExitCode>*) const { return "table of exit codes"; }
  std::string operator()(std::vector<ActorConfig>*) const { return "tables"; }
  std::string operator()(std::vector<QueueConfig>*) const { return "tables"; }
  std::string operator()(std::vector<AgentProviderConfig>*) const { return "tables"; }
};

std::string exit_code_text(const ExitCode& code) {
  if (code.meaning == ExitCode::Meaning::retry) return "retry";
  if (code.meaning == ExitCode::Meaning::fatal) return "fatal";
  return "snooze " + to_text(code.delay);
}

struct ValueText {
  std::string operator()(const std::string* text) const {
    return text->empty() ? "" : quote_json(*text);
  }
  std::string operator()(const int* number) const { return fmt::format("{}", *number); }
  std::string operator()(const double* number) const { return fmt::format("{}", *number); }
  std::string operator()(const bool* flag) const { return *flag ? "true" : "false"; }
  std::string operator()(const Bytes* bytes) const { return quote_json(to_text(*bytes)); }
  std::string operator()(const Duration* duration) const { return quote_json(to_text(*duration)); }
  std::string operator()(const SchemaText* schema) const {
    return schema->file.empty() ? schema->json : quote_json(schema->file);
  }
  template <class T>
  std::string operator()(const std::optional<T>* value) const {
    return *value ? ValueText{}(&**value) : "";
  }
  std::string operator()(const std::vector<std::string>* texts) const {
    return texts->empty() ? "" : Json(*texts).dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  std::string operator()(const std::vector<QueueWeight>* queues) const {
    std::vector<std::string> items;
    for (const auto& queue : *queues)
      items.push_back(fmt::format("\"{}={}\"", queue.queue, queue.weight));
    return items.empty() ? "" : fmt::format("[{}]", fmt::join(items, ", "));
  }
  // Values of variables may be secrets: names only.
  std::string operator()(const std::map<std::string, std::string>* entries) const {
    return table(*entries, [](const std::string&) { return std::string("***"); });
  }
  std::string operator()(const std::map<std::string, Duration>* entries) const {
    return table(*entries, [](Duration duration) { return to_text(duration); });
  }
  std::string operator()(const std::map<int, ExitCode>* entries) const {
    return table(*entries, exit_code_text);
  }
  std::string operator()(const std::vector<ActorConfig>*) const { return ""; }
  std::string operator()(const std::vector<QueueConfig>*) const { return ""; }
  std::string operator()(const std::vector<AgentProviderConfig>*) const { return ""; }

 private:
  template <class Map, class Text>
  static std::string table(const Map& entries, Text text) {
    std::vector<std::string> items;
    for (const auto& [name, value] : entries)
      items.push_back(fmt::format("{} = {}", name, quote_json(text(value))));
    return items.empty() ? "" : fmt::format("{{{}}}", fmt::join(items, ", "));
  }
};

}  // namespace

std::string type_words(const Slot& slot) {
  return std::visit(TypeWords{}, slot);
}
std::string value_text(const Slot& slot) {
  return std::visit(ValueText{}, slot);
}

std::optional<std::string> assign(const Slot& slot, const ConfigValue& value,
                                  const FieldRules& rules) {
  return std::visit([&](auto* out) { return set(*out, value, rules); }, slot);
}

std::expected<Bytes, Error> parse_bytes(std::string_view text) {
  struct Unit {
    std::string_view name;
    int64_t factor;
  };
  constexpr Unit kUnits[] = {{"KiB", 1 << 10}, {"MiB", 1 << 20},  {"GiB", 1 << 30},
                             {"kB", 1000},     {"MB", 1'000'000}, {"GB", 1'000'000'000},
                             {"B", 1}};
  int64_t factor = 1;
  for (const Unit& unit : kUnits)
    if (text.ends_with(unit.name)) {
      factor = unit.factor;
      text.remove_suffix(unit.name.size());
      break;
    }
  auto number = parse_number<int64_t>(text);
  if (!number || *number < 0 || *number > std::numeric_limits<int64_t>::max() / factor)
    return std::unexpected(Error(Errc::invalid, "not a size"));
  return Bytes{*number * factor};
}

std::string to_text(Bytes bytes) {
  for (auto [name, factor] :
       {std::pair{"GiB", int64_t{1} << 30}, {"MiB", int64_t{1} << 20}, {"KiB", int64_t{1} << 10}})
    if (bytes.value > 0 && bytes.value % factor == 0)
      return fmt::format("{}{}", bytes.value / factor, name);
  return fmt::format("{}", bytes.value);
}

}  // namespace opscore
