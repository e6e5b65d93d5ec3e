// Waiting for a task: the server holds each call until the task ends or the call's share of the
// time is over, so nothing here polls or sleeps while the server is there.

#include <fmt/format.h>

#include <iostream>
#include <thread>

#include "opscore/app/cli/client_commands.h"
#include "opscore/app/cli/columns.h"
#include "opscore/app/cli/json_field.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;

constexpr Duration kCallShare = 1s;    // how stale shown progress may be
constexpr Duration kServerAway = 30s;  // a crash and restart take less
constexpr Duration kReconnectPause = 200ms;

bool is_done(const std::string& task_text) {
  auto status = state_from(parse_json(raw_member(task_text, "status")).get<std::string>());
  return status && is_terminal(*status);
}

std::string printed_result(const Screen& screen, const std::string& task_text) {
  std::string_view raw = raw_member(task_text, "result");
  if (raw.starts_with('"')) return printable(screen, parse_json(raw).get<std::string>());
  return printable(screen, raw);
}

// "running  attempt 2  {"percent": 40}"
std::string state_line(const Json& task) {
  std::string line = field_text(task, "status");
  if (int attempt = task.value("attempt", 0)) line += fmt::format("  attempt {}", attempt);
  if (task.contains("progress") && !task["progress"].is_null())
    line += "  " + task["progress"].dump(-1, ' ', false, Json::error_handler_t::replace);
  if (field_text(task, "status") != "running")
    if (auto reason = field_text(task, "reason"); !reason.empty()) line += "  " + reason;
  if (auto error = field_text(task, "error_message"); !error.empty())
    line += "  last error: " + error;
  return line;
}

}  // namespace

std::optional<ApiAnswer> ask(ApiClient& api, const std::string& path,
                             std::optional<Deadline>& patience) {
  try {
    ApiAnswer answer = api.get(path);
    if (answer.status != 503) {
      patience.reset();
      return answer;
    }
    if (patience && patience->passed()) return answer;
  } catch (const Error& error) {
    if (error.code() != Errc::unavailable || (patience && patience->passed())) throw;
  }
  if (!patience) patience = Deadline::after(kServerAway);
  std::this_thread::sleep_for(kReconnectPause);
  return std::nullopt;
}

Deadline wait_deadline(const std::string& wait) {
  if (wait == "forever") return Deadline::never();
  auto duration = parse_duration(wait);
  if (!duration) throw Error(Errc::invalid, "--wait: " + duration.error().message());
  return Deadline::after(*duration);
}

Followed follow_task(ClientContext& context, const std::string& id, Deadline until,
                     const std::function<void(const std::string&)>& seen) {
  std::optional<Deadline> patience;
  while (true) {
    Duration share = std::min<Duration>(until.left(), kCallShare);
    auto answer =
        ask(context.api, fmt::format("/tasks/{}?wait={}", percent_encode(id), to_text(share)),
            patience);
    if (answer && !answer->ok()) return {{}, answer};
    if (answer && is_done(answer->body)) return {answer->body, {}};
    if (answer) seen(answer->body);
    if (until.passed()) return {};
  }
}

CommandExit print_outcome(ClientContext& context, const std::string& task_text) {
  Json task = parse_json(task_text);
  std::string status = field_text(task, "status");
  std::string id = field_text(task, "task_id");
  if (context.line.json) context.out << task_text << '\n';
  if (status == "completed") {
    if (!context.line.json) {
      std::string result = printed_result(context.screen, task_text);
      context.out << result << (result.ends_with('\n') ? "" : "\n");
      context.err << fmt::format("{} completed\n", id);
    }
    return CommandExit::ok;
  }
  auto error = task.value("error", Json());
  std::string kind = error.is_object() ? field_text(error, "kind") : "";
  std::string why = field_text(task, "error_message");
  context.err << fmt::format("opscore: task {} {}{}{}\n  see: opscore tasks show {}\n", id, status,
                             kind.empty() ? "" : ": " + kind,
                             why.empty() ? "" : ": " + printable(context.screen, why), id);
  return CommandExit::failed;
}

CommandExit watch_task(ClientContext& context) {
  const Screen& screen = context.screen;
  std::string last;
  bool rewrites = screen.moves && !context.line.json;
  auto seen = [&](const std::string& task_text) {
    std::string line =
        context.line.json ? task_text : printable(screen, state_line(parse_json(task_text)));
    if (line == last) return;
    last = line;
    if (rewrites) {
      for (char& c : line)
        if (c == '\n' || c == '\t') c = ' ';
      // Cut to one line: what wraps cannot be rewritten.
      context.out << "\r\x1b[2K" << cut(line, screen.width - 1) << std::flush;
    } else {
      context.out << line << std::endl;
    }
  };
  const std::string& id = context.line.ids[0];
  Followed followed = follow_task(context, id, Deadline::never(), seen);
  if (rewrites && !last.empty()) context.out << "\r\x1b[2K" << std::flush;
  if (followed.refusal) return print_refusal(context, "watch " + id, *followed.refusal);
  return print_outcome(context, *followed.task);
}

}  // namespace opscore
