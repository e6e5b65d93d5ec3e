#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "opscore/app/cli/client_commands.h"

namespace opscore {
namespace {

std::string read_all(std::istream& in) {
  return {std::istreambuf_iterator<char>(in), {}};
}

void add(std::string& body, std::string_view name, std::string_view json) {
  body += fmt::format("{}\"{}\":{}", body.size() > 1 ? "," : "", name, json);
}

void add_text(std::string& body, std::string_view name, const std::string& text) {
  if (!text.empty()) add(body, name, quote_json(text));
}

std::string labels_json(const std::vector<std::string>& labels) {
  std::string json = "{";
  for (const std::string& label : labels) {
    size_t equals = label.find('=');
    if (equals == std::string::npos || equals == 0)
      throw Error(Errc::invalid, fmt::format("--label: '{}' is not of the form name=value", label));
    json += fmt::format("{}{}:{}", json.size() > 1 ? "," : "", quote_json(label.substr(0, equals)),
                        quote_json(label.substr(equals + 1)));
  }
  return json + "}";
}

}  // namespace

void print_warnings(ClientContext& context, const Json& answer) {
  if (!answer.contains("warnings")) return;
  for (const Json& warning : answer["warnings"])
    context.err << "warning: " << printable(context.screen, warning.get<std::string>()) << '\n';
}

std::string read_input(const std::string& text, std::istream& in) {
  if (text != "-" && !text.starts_with('@')) {
    if (auto json = check_json(text); !json)
      throw Error(Errc::invalid,
                  fmt::format("--input: {}\na text needs quotes of its own, as in --input "
                              "'\"hello\"'; @FILE and - take any text",
                              json.error().message()));
    return text;
  }
  std::string bytes;
  if (text == "-") {
    bytes = read_all(in);
  } else {
    std::ifstream file(text.substr(1), std::ios::binary);
    std::error_code unknown;
    if (std::filesystem::is_directory(text.substr(1), unknown))
      throw Error(Errc::invalid, fmt::format("--input: {} is a folder", text.substr(1)));
    if (file) bytes = read_all(file);
    if (!file || file.bad())
      throw Error(Errc::invalid,
                  fmt::format("--input: the file {} cannot be read: {}", text.substr(1),
                              std::generic_category().message(errno)));
  }
  if (check_json(bytes)) return bytes;
  if (is_valid_utf8(bytes)) return quote_json(bytes);
  throw Error(Errc::invalid, fmt::format("--input: {} is neither JSON nor UTF-8 text",
                                         text == "-" ? "what came from stdin" : text.substr(1)));
}

std::string submit_body(const SubmitOptions& options, std::istream& in) {
  std::string body = "{";
  add_text(body, "task_type", options.type);
  add_text(body, "queue", options.queue);
  add_text(body, "delay", options.delay);
  add_text(body, "run_at", options.run_at);
  add_text(body, "timeout", options.timeout);
  add_text(body, "deadline", options.deadline);
  add_text(body, "idempotency_key", options.idempotency_key);
  add_text(body, "task_id", options.task_id);
  add_text(body, "name", options.name);
  add_text(body, "webhook", options.webhook);
  if (options.priority) add(body, "priority", std::to_string(*options.priority));
  if (options.max_attempts) add(body, "max_attempts", std::to_string(*options.max_attempts));
  if (!options.labels.empty()) add(body, "labels", labels_json(options.labels));
  if (options.input) add(body, "input_data", read_input(*options.input, in));
  return body + "}";
}

CommandExit submit_task(ClientContext& context) {
  const CommandLine& line = context.line;
  std::optional<Deadline> until;
  if (!line.wait.empty()) until = wait_deadline(line.wait);
  ApiAnswer answer = context.api.post("/tasks", submit_body(line.submit, context.in));
  if (!answer.ok())
    return print_refusal(context, fmt::format("submit {}", line.submit.type), answer);
  Json task = parse_json(answer.body);
  print_warnings(context, task);
  std::string id = task.at("task_id").get<std::string>();
  if (!until) {
    context.out << (line.json ? answer.body : id) << '\n';
    if (context.screen.terminal && !line.json)
      context.err << task.at("status").get<std::string>()
                  << "; follow it with: opscore tasks watch " << id << '\n';
    return CommandExit::ok;
  }
  Followed followed = follow_task(context, id, *until, [](const std::string&) {});
  if (followed.refusal) return print_refusal(context, "wait for " + id, *followed.refusal);
  if (followed.task) return print_outcome(context, *followed.task);
  context.out << (line.json ? answer.body : id) << '\n';
  context.err << fmt::format(
      "opscore: wait for {}: not done after {}\n  it goes on; follow it with: opscore tasks watch "
      "{}\n",
      id, line.wait, id);
  return CommandExit::unfinished;
}

}  // namespace opscore
