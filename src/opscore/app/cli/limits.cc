// Limits of queues and actors: looking at them and changing them.

#include <fmt/format.h>

#include <iostream>

#include "opscore/app/cli/client_commands.h"
#include "opscore/app/cli/json_field.h"
#include "opscore/app/config_fields.h"

namespace opscore {
namespace {

// As the API wants it.
Json limit_json(const std::string& text, const char* flag, bool is_size) {
  if (text == "none") return nullptr;
  if (text == "default") return text;
  if (is_size) {
    if (auto bytes = parse_bytes(text)) return bytes->value;
  } else if (text.find_first_not_of("0123456789") == std::string::npos && text.size() < 19) {
    return std::stoll(text);
  }
  throw Error(Errc::invalid, fmt::format("{} '{}' is not {}, none or default", flag, text,
                                         is_size ? "a size such as 65536 or 64KiB" : "a number"));
}

const char* origin_words(const std::string& origin) {
  if (origin == "runtime") return "set at run time";
  if (origin == "configuration") return "configuration";
  return "default";
}

void add_limit(Table& table, const Json& object, const char* name, const std::string& origin) {
  std::string value = field_text(object, name);
  table.add({name, value.empty() ? "none" : value, origin_words(origin)});
}

CommandExit print_queue(ClientContext& context, const std::string& answer) {
  if (context.line.json) {
    context.out << answer << '\n';
    return CommandExit::ok;
  }
  const Json queue = parse_json(answer);
  Table table({"QUEUE", field_text(queue, "name"), "ORIGIN"});
  table.add({"state", queue.value("paused", false) ? "paused" : "active", ""});
  for (const char* count : {"pending", "scheduled", "running", "dead"})
    table.add({count, field_text(queue, count), ""});
  for (const char* limit : {"max_pending", "concurrency", "max_input_bytes"})
    add_limit(table, queue, limit, field_text(queue.at("limit_origins"), limit));
  context.out << table.text(context.screen);
  return CommandExit::ok;
}

}  // namespace

CommandExit show_queue(ClientContext& context) {
  const std::string& queue = context.line.queue;
  ApiAnswer answer = context.api.get("/queues/" + percent_encode(queue));
  if (!answer.ok()) return print_refusal(context, "show queue " + queue, answer);
  return print_queue(context, answer.body);
}

CommandExit set_queue(ClientContext& context) {
  const LimitOptions& limits = context.line.limits;
  const std::string& queue = context.line.queue;
  Json body = Json::object();
  if (!limits.max_pending.empty())
    body["max_pending"] = limit_json(limits.max_pending, "--max-pending", false);
  if (!limits.concurrency.empty())
    body["concurrency"] = limit_json(limits.concurrency, "--concurrency", false);
  if (!limits.max_input.empty())
    body["max_input_bytes"] = limit_json(limits.max_input, "--max-input", true);
  if (body.empty())
    throw Error(Errc::invalid, "nothing to set; give --max-pending, --concurrency or --max-input");
  ApiAnswer answer = context.api.call("PATCH", "/queues/" + percent_encode(queue), body.dump());
  if (!answer.ok()) return print_refusal(context, "set queue " + queue, answer);
  return print_queue(context, answer.body);
}

CommandExit set_actor(ClientContext& context) {
  const std::string& type = context.line.type;
  Json body = {
      {"concurrency", limit_json(context.line.limits.concurrency, "--concurrency", false)}};
  ApiAnswer answer = context.api.call("PATCH", "/actors/" + percent_encode(type), body.dump());
  if (!answer.ok()) return print_refusal(context, "set actor " + type, answer);
  if (context.line.json) {
    context.out << answer.body << '\n';
    return CommandExit::ok;
  }
  const Json actor = parse_json(answer.body);
  Table table({"ACTOR", field_text(actor, "task_type"), "ORIGIN"});
  add_limit(table, actor, "concurrency", field_text(actor, "concurrency_origin"));
  context.out << table.text(context.screen);
  return CommandExit::ok;
}

}  // namespace opscore
