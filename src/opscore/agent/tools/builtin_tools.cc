#include "opscore/agent/tools/builtin_tools.h"

#include <fmt/format.h>

#include <array>

#include "opscore/agent/tools/expression.h"

namespace opscore {
namespace {

class Calculator final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }

  std::expected<std::string, std::string> call(const Json& arguments,
                                               const ToolContext&) const override {
    if (auto problem = unknown_argument(arguments, spec_)) return std::unexpected(*problem);
    const auto expression = arguments.find("expression");
    if (expression == arguments.end() || !expression->is_string())
      return std::unexpected("calculator needs the argument 'expression', a string");
    const auto value = evaluate_expression(expression->get_ref<const std::string&>());
    if (!value) return std::unexpected(value.error());
    return format_number(*value);
  }

 private:
  const ToolSpec spec_{
      .name = "calculator",
      .description =
          "Evaluates an arithmetic expression: + - * / % ^, parentheses, sqrt, abs, "
          "round, min, max.",
      .parameters = {{"type", "object"},
                     {"properties",
                      {{"expression",
                        {{"type", "string"}, {"description", "for example 2 * (3 + 4)"}}}}},
                     {"required", Json::array({"expression"})},
                     {"additionalProperties", false}},
      .aliases = {}};
};

class CurrentTime final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }

  std::expected<std::string, std::string> call(const Json& arguments,
                                               const ToolContext& context) const override {
    static constexpr std::array<const char*, 7> kDays{"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                      "Thursday", "Friday", "Saturday"};
    if (auto problem = unknown_argument(arguments, spec_)) return std::unexpected(*problem);
    const TimePoint now = context.task.clock().now();
    const std::chrono::weekday day(std::chrono::floor<std::chrono::days>(now));
    return Json{{"utc", to_rfc3339(now)}, {"weekday", kDays.at(day.c_encoding())}}.dump();
  }

 private:
  const ToolSpec spec_{.name = "current_time",
                       .description = "Tells the current date, time (UTC) and day of the week.",
                       .parameters = {{"type", "object"},
                                      {"properties", Json::object()},
                                      {"additionalProperties", false}},
                       .aliases = {}};
};

}  // namespace

std::optional<std::string> unknown_argument(const Json& arguments, const ToolSpec& spec) {
  for (const auto& [name, value] : arguments.items())
    if (!spec.parameters["properties"].contains(name))
      return fmt::format("{} has no argument '{}'", spec.name, name);
  return std::nullopt;
}

std::shared_ptr<const Tool> make_calculator() {
  return std::make_shared<Calculator>();
}
std::shared_ptr<const Tool> make_current_time() {
  return std::make_shared<CurrentTime>();
}

}  // namespace opscore
