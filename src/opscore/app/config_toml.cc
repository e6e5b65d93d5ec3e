#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <sstream>

#include "opscore/app/config_value.h"

namespace opscore {
namespace {

std::string scalar_text(const toml::node& node) {
  if (auto text = node.as_string()) return text->get();
  if (auto flag = node.as_boolean()) return flag->get() ? "true" : "false";
  if (auto integer = node.as_integer()) return fmt::format("{}", integer->get());
  if (auto number = node.as_floating_point()) return fmt::format("{}", number->get());
  std::ostringstream out;
  node.visit([&](const auto& value) { out << value; });
  return out.str();
}

ConfigValue::Kind kind_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return ConfigValue::Kind::table;
    case toml::node_type::array:
      return ConfigValue::Kind::array;
    case toml::node_type::string:
      return ConfigValue::Kind::text;
    case toml::node_type::integer:
      return ConfigValue::Kind::integer;
    case toml::node_type::floating_point:
      return ConfigValue::Kind::number;
    case toml::node_type::boolean:
      return ConfigValue::Kind::boolean;
    default:
      return ConfigValue::Kind::date;
  }
}

int line_of(const toml::source_region& region) {
  return static_cast<int>(region.begin.line);
}

ConfigValue convert(const toml::node& node, const std::string& file) {
  ConfigValue value;
  value.kind = kind_of(node);
  value.origin = {Source::file, file, line_of(node.source()), {}};
  if (auto array = node.as_array()) {
    for (const toml::node& item : *array) value.items.push_back(convert(item, file));
  } else if (auto table = node.as_table()) {
    for (auto&& [key, member] : *table) {
      value.members.push_back({std::string(key.str()), convert(member, file)});
      // A key's own line is where people look; a multi-line value may end anywhere.
      if (int line = line_of(key.source())) value.members.back().value.origin.line = line;
    }
    std::stable_sort(value.members.begin(), value.members.end(), [](const auto& a, const auto& b) {
      return a.value.origin.line < b.value.origin.line;
    });
  } else {
    value.text = scalar_text(node);
  }
  return value;
}

}  // namespace

ConfigValue parse_toml(const std::string& text, const std::string& file,
                       std::vector<std::string>& problems) {
  try {
    return convert(toml::parse(text, file), file);
  } catch (const toml::parse_error& error) {
    const auto& at = error.source().begin;
    problems.push_back(
        fmt::format("{}:{}: column {}: {}", file, at.line, at.column, error.description()));
  }
  ConfigValue empty;
  empty.kind = ConfigValue::Kind::table;
  return empty;
}

}  // namespace opscore
