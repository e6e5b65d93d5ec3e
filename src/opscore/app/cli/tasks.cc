#include <fmt/format.h>

#include <iostream>

#include "opscore/app/cli/client_commands.h"
#include "opscore/app/cli/json_field.h"

namespace opscore {
namespace {

std::string task_path(const std::string& id, std::string_view verb = "") {
  return fmt::format("/tasks/{}{}", percent_encode(id), verb);
}

// On a terminal how long ago, else the time itself.
std::string when(const ClientContext& context, const Json& task, const char* name) {
  std::string text = field_text(task, name);
  auto at = parse_rfc3339(text);
  if (!at || !context.screen.terminal) return text;
  Duration age = context.clock.now() - *at;
  return age.count() < 0 ? "in " + short_age(-age) : short_age(age);
}

// Runs `call` for every id and prints one line each; the worst status wins.
CommandExit for_each_id(ClientContext& context, const char* verb,
                        const std::function<ApiAnswer(const std::string&)>& call,
                        const std::function<std::string(const ApiAnswer&)>& words) {
  CommandExit worst = CommandExit::ok;
  for (const std::string& id : context.line.ids) {
    ApiAnswer answer = call(id);
    if (!answer.ok()) {
      worst = std::max(worst, print_refusal(context, fmt::format("{} {}", verb, id), answer));
      continue;
    }
    if (context.line.json)
      context.out << answer.body << (answer.body.empty() ? "" : "\n");
    else
      context.out << fmt::format("{}\t{}\n", id, words(answer));
  }
  return worst;
}

void print_attempts(ClientContext& context, const std::string& id) {
  ApiAnswer answer = context.api.get(task_path(id, "/attempts"));
  if (!answer.ok()) return;  // the task itself was shown
  Json attempts = parse_json(answer.body).value("attempts", Json::array());
  if (attempts.empty()) return;
  Table table({"ATTEMPT", "OUTCOME", "STARTED", "ENDED", "WORKER", "ERROR"});
  for (const Json& attempt : attempts) {
    Json error = attempt.value("error", Json());
    std::string why;
    if (error.is_object()) why = field_text(error, "kind") + ": " + field_text(error, "message");
    table.add({field_text(attempt, "attempt"), field_text(attempt, "outcome"),
               field_text(attempt, "started_at"), field_text(attempt, "ended_at"),
               field_text(attempt, "worker"), why});
  }
  context.out << '\n' << table.text(context.screen);
}

}  // namespace

std::string time_for_query(const char* option, const std::string& text, TimePoint now) {
  if (auto ago = parse_duration(text)) return to_rfc3339(now - *ago);
  if (auto at = parse_rfc3339(text)) return to_rfc3339(*at);
  throw Error(Errc::invalid, fmt::format("{}: '{}' is neither a time, such as "
                                         "2030-01-31T12:00:00Z, nor a duration, such as 1h",
                                         option, text));
}

CommandExit print_refusal(ClientContext& context, const std::string& attempted,
                          const ApiAnswer& answer) {
  std::string words = refusal_words(answer);
  for (size_t at = 0; (at = words.find('\n', at)) != std::string::npos; at += 3)
    words.replace(at, 1, "\n  ");
  if (context.line.json && !answer.body.empty()) context.out << answer.body << '\n';
  context.err << fmt::format("opscore: {}: {}\n", attempted, words);
  return exit_status_of(answer.status);
}

std::string list_query(const ListOptions& options, TimePoint now) {
  std::string query = fmt::format("?limit={}", options.limit);
  auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) query += fmt::format("&{}={}", name, percent_encode(value));
  };
  for (const std::string& status : options.statuses) add("status", status);
  add("type", options.type);
  add("queue", options.queue);
  for (const std::string& label : options.labels) {
    size_t equals = label.find('=');
    if (equals == std::string::npos)
      throw Error(Errc::invalid, fmt::format("--label: '{}' is not of the form name=value", label));
    add("label", label.substr(0, equals) + ":" + label.substr(equals + 1));
  }
  if (!options.since.empty()) add("created_after", time_for_query("--since", options.since, now));
  if (!options.before.empty())
    add("created_before", time_for_query("--before", options.before, now));
  add("cursor", options.cursor);
  return query;
}

CommandExit list_tasks(ClientContext& context) {
  ApiAnswer answer = context.api.get("/tasks" + list_query(context.line.list, context.clock.now()));
  if (!answer.ok()) return print_refusal(context, "list tasks", answer);
  if (context.line.json) {
    context.out << answer.body << '\n';
    return CommandExit::ok;
  }
  Json page = parse_json(answer.body);
  Table table({"ID", "STATUS", "TYPE", "QUEUE", "ATTEMPTS", "CREATED", "ERROR"});
  for (const Json& task : page.at("tasks")) {
    std::string most = field_text(task, "max_attempts");
    table.add({field_text(task, "task_id"), field_text(task, "status"),
               field_text(task, "task_type"), field_text(task, "queue"),
               fmt::format("{}/{}", field_text(task, "attempts"), most == "0" ? "∞" : most),
               when(context, task, "created_at"),
               printable(context.screen, field_text(task, "error_message"))});
  }
  if (page.at("tasks").empty() && context.screen.terminal)
    context.err << "no tasks match\n";
  else
    context.out << table.text(context.screen);
  print_warnings(context, page);
  if (std::string cursor = field_text(page, "next_cursor"); !cursor.empty())
    context.err << fmt::format("there are {}: --cursor {}\n",
                               page.value("partial", false) ? "perhaps more" : "more", cursor);
  return CommandExit::ok;
}

CommandExit show_task(ClientContext& context) {
  const std::string& id = context.line.ids[0];
  ApiAnswer answer = context.api.get(task_path(id));
  if (!answer.ok()) return print_refusal(context, "show " + id, answer);
  if (context.line.json) {
    context.out << answer.body << '\n';
    return CommandExit::ok;
  }
  Json task = parse_json(answer.body);
  for (const char* name :
       {"task_id", "task_type", "status", "reason", "name", "queue", "priority", "attempts",
        "max_attempts", "created_at", "scheduled_at", "started_at", "completed_at", "deadline",
        "timeout", "worker", "labels", "metadata", "progress"}) {
    std::string text = field_text(task, name);
    if (text.empty() || text == "{}") continue;
    context.out << fmt::format("{:<13} {}\n", name,
                               coloured(context.screen, text, printable(context.screen, text)));
  }
  // Payloads as they are stored, not as another JSON library would write them.
  for (const char* name : {"input_data", "result"}) {
    std::string_view raw = raw_member(answer.body, name);
    if (!raw.empty() && (raw != "null" || std::string_view(name) == "input_data"))
      context.out << fmt::format("{:<13} {}\n", name, printable(context.screen, raw));
  }
  if (Json error = task.value("error", Json()); error.is_object()) {
    context.out << fmt::format("{:<13} {}: {}\n", "error", field_text(error, "kind"),
                               printable(context.screen, field_text(error, "message")));
    if (std::string detail = field_text(error, "detail"); !detail.empty())
      context.out << printable(context.screen, detail) << (detail.ends_with('\n') ? "" : "\n");
  }
  print_attempts(context, id);
  return CommandExit::ok;
}

CommandExit cancel_tasks(ClientContext& context) {
  if (context.line.ids.empty()) return change_by_filter(context, "cancel");
  return for_each_id(
      context, "cancel", [&](const auto& id) { return context.api.post(task_path(id, "/cancel")); },
      [](const ApiAnswer& answer) {
        return answer.status == 202 ? "is running; it is being stopped" : "cancelled";
      });
}

CommandExit retry_tasks(ClientContext& context) {
  if (context.line.ids.empty()) return change_by_filter(context, "retry");
  std::string body = "{}";
  if (context.line.input)
    body = fmt::format("{{\"input_data\":{}}}", read_input(*context.line.input, context.in));
  return for_each_id(
      context, "retry",
      [&](const auto& id) { return context.api.post(task_path(id, "/retry"), body); },
      [](const ApiAnswer& answer) { return field_text(parse_json(answer.body), "status"); });
}

CommandExit delete_tasks(ClientContext& context) {
  if (context.line.ids.empty()) return change_by_filter(context, "delete");
  return for_each_id(
      context, "delete",
      [&](const auto& id) { return context.api.call("DELETE", task_path(id), ""); },
      [](const ApiAnswer&) { return std::string("deleted"); });
}

}  // namespace opscore
