#include "opscore/agent/tools/exec_tool.h"

#include <fmt/format.h>

#include "opscore/model/limits.h"

namespace opscore {
namespace {

constexpr size_t kNameMax = 64;
constexpr char kWrapped[] = "input";

// The agent's task as the program's actor sees it: another input, another deadline.
class ToolTask final : public TaskContext {
 public:
  ToolTask(TaskContext& outer, const std::string& type, std::string input, Deadline deadline)
      : outer_(outer), type_(type), input_(std::move(input)), deadline_(deadline) {}

  const std::string& id() const override { return outer_.id(); }
  const std::string& type() const override { return type_; }
  const std::string& input() const override { return input_; }
  int attempt() const override { return outer_.attempt(); }
  std::stop_token stop() const override { return outer_.stop(); }
  Deadline deadline() const override { return deadline_; }
  const Clock& clock() const override { return outer_.clock(); }
  // The agent's own progress is the task's.
  void progress(std::string json) override {
    outer_.log(LogLevel::info, fmt::format("{}: progress {}", type_, json));
  }
  void log(LogLevel level, std::string_view line) override {
    outer_.log(level, fmt::format("{}: {}", type_, line));
  }
  void notice(Notice notice) override { outer_.notice(std::move(notice)); }
  std::string step(const std::string&, const std::string&, const std::string&,
                   const std::function<std::string()>&) override {
    throw Error(Errc::internal, fmt::format("'{}' runs as a tool: it cannot journal steps", type_));
  }

 private:
  TaskContext& outer_;
  const std::string& type_;
  const std::string input_;
  const Deadline deadline_;
};

std::string failure_text(const Outcome& outcome) {
  std::string text = outcome.error.message.empty() ? outcome.error.kind : outcome.error.message;
  if (outcome.kind == Outcome::Kind::snoozed) text = "not ready, try again later: " + text;
  if (!outcome.error.detail.empty()) text += "\n" + outcome.error.detail;
  return text;
}

class ExecTool final : public Tool {
 public:
  ExecTool(const RegisteredActor& actor, std::string name, SchemaCheck check)
      : actor_(actor), check_(std::move(check)) {
    const CatalogueEntry& entry = actor.entry;
    spec_.name = std::move(name);
    spec_.description =
        entry.description.empty() ? fmt::format("Runs '{}'.", entry.type) : entry.description;
    if (spec_.name != entry.type) spec_.aliases.push_back(entry.type);
    Json schema = entry.input_schema.empty() ? Json() : parse_json(entry.input_schema);
    if (schema.is_null()) {
      schema = {{"type", "object"}};
    } else if (!schema.is_object() || schema.value("type", Json()) != "object") {
      wrapped_ = true;
      schema = {{"type", "object"},
                {"properties", {{kWrapped, std::move(schema)}}},
                {"required", Json::array({kWrapped})},
                {"additionalProperties", false}};
    }
    schema.emplace("properties", Json::object());  // OpenAI refuses an object without them
    spec_.parameters = std::move(schema);
  }

  const ToolSpec& spec() const override { return spec_; }

  std::expected<std::string, std::string> call(const Json& arguments,
                                               const ToolContext& context) const override {
    if (wrapped_ && (!arguments.contains(kWrapped) || arguments.size() != 1))
      return std::unexpected(fmt::format("{} takes one argument, '{}'", spec_.name, kWrapped));
    const std::string input = (wrapped_ ? arguments[kWrapped] : arguments).dump();
    if (check_ && !actor_.entry.input_schema.empty())
      if (auto problem = check_(actor_.entry.input_schema, input))
        return std::unexpected(fmt::format("invalid arguments: {}", *problem));
    const Deadline own = Deadline::after(actor_.entry.timeout.value_or(limits::kTimeout));
    ToolTask task(context.task, actor_.entry.type, input,
                  Deadline::at(std::min(own.when(), context.deadline.when())));
    try {
      const Outcome outcome = actor_.actor->run(task);
      if (outcome.kind != Outcome::Kind::completed) return std::unexpected(failure_text(outcome));
      const Json result = parse_json(outcome.result);
      return result.is_string() ? result.get<std::string>() : outcome.result;
    } catch (const Error& error) {
      return std::unexpected(error.message());
    }
  }

 private:
  const RegisteredActor& actor_;
  const SchemaCheck check_;
  ToolSpec spec_;  // constant after construction
  bool wrapped_ = false;
};

std::string tool_name(const std::string& type, const std::set<std::string>& taken) {
  std::string name = type.substr(0, kNameMax);
  for (char& c : name) {
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '_' || c == '-';
    if (!allowed) c = '_';
  }
  std::string unique = name;
  for (int n = 2; taken.contains(unique); ++n) {
    const std::string suffix = fmt::format("_{}", n);
    unique = name.substr(0, kNameMax - suffix.size()) + suffix;
  }
  return unique;
}

}  // namespace

std::vector<std::shared_ptr<const Tool>> make_exec_tools(const Registry& registry,
                                                         std::set<std::string> taken,
                                                         const SchemaCheck& check) {
  std::vector<std::shared_ptr<const Tool>> tools;
  for (const RegisteredActor* actor : registry.all()) {
    if (actor->entry.kind != "exec") continue;
    std::string name = tool_name(actor->entry.type, taken);
    taken.insert(name);
    tools.push_back(std::make_shared<ExecTool>(*actor, std::move(name), check));
  }
  return tools;
}

}  // namespace opscore
