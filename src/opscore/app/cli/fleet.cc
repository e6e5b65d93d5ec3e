// Queues, workers, actors, and explain.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iostream>

#include "opscore/app/cli/client_commands.h"
#include "opscore/app/cli/json_field.h"
#include "opscore/app/session_context.h"
#include "opscore/doctor/explain.h"

namespace opscore {
namespace {

std::string list_of(const Json& object, const char* name) {
  std::vector<std::string> texts;
  if (object.contains(name))
    for (const Json& text : object[name]) texts.push_back(text.get<std::string>());
  return fmt::format("{}", fmt::join(texts, ", "));
}

CommandExit change_queue(ClientContext& context, const char* verb,
                         const std::function<std::string(const Json&)>& words) {
  const std::string& queue = context.line.queue;
  ApiAnswer answer = context.api.post(fmt::format("/queues/{}/{}", percent_encode(queue), verb));
  if (!answer.ok()) return print_refusal(context, fmt::format("{} queue {}", verb, queue), answer);
  if (context.line.json)
    context.out << answer.body << '\n';
  else
    context.out << fmt::format("{}\t{}\n", queue, words(parse_json(answer.body)));
  return CommandExit::ok;
}

// How long since, for a person; the time itself for a program.
std::string since(const ClientContext& context, const std::string& text) {
  auto at = parse_rfc3339(text);
  if (!at || !context.screen.terminal) return text;
  return short_age(context.clock.now() - *at);
}

Explanation explanation_from(const Json& json) {
  Explanation explanation;
  for (const char* of : {"task_id", "queue", "worker"})
    if (json.contains(of)) {
      explanation.of = of;
      explanation.name = field_text(json, of);
    }
  explanation.state = field_text(json, "status");
  for (const Json& hop : json.value("hops", Json::array()))
    explanation.hops.push_back(
        {field_text(hop, "hop"), hop.value("ok", true), field_text(hop, "evidence")});
  explanation.verdict = field_text(json, "verdict");
  explanation.sentence = field_text(json, "sentence");
  explanation.next_command = field_text(json, "next_command");
  return explanation;
}

}  // namespace

CommandExit print_list(ClientContext& context, const std::string& path, const char* name,
                       std::vector<std::string> header,
                       const std::function<std::vector<std::string>(const Json&)>& row) {
  ApiAnswer answer = context.api.get(path);
  if (!answer.ok()) return print_refusal(context, fmt::format("list {}", name), answer);
  if (context.line.json) {
    context.out << answer.body << '\n';
    return CommandExit::ok;
  }
  Table table(std::move(header));
  const Json listed = parse_json(answer.body);  // named: g++ 12 ends temporaries before the loop
  for (const Json& item : listed.at(name)) table.add(row(item));
  context.out << table.text(context.screen);
  print_warnings(context, listed);
  return CommandExit::ok;
}

CommandExit list_queues(ClientContext& context) {
  return print_list(
      context, "/queues", "queues",
      {"QUEUE", "STATE", "PENDING", "OLDEST", "RUNNING", "SCHEDULED", "WAITING", "FAILED",
       "SESSIONS", "SLOTS"},
      [&](const Json& queue) -> std::vector<std::string> {
        std::string age = field_text(queue, "oldest_pending_age_s");
        if (!age.empty() && context.screen.terminal)
          age = short_age(
              Duration(static_cast<int64_t>(queue["oldest_pending_age_s"].get<double>() * 1000)));
        return {field_text(queue, "name"),     queue.value("paused", false) ? "paused" : "active",
                field_text(queue, "pending"),  age,
                field_text(queue, "running"),  field_text(queue, "scheduled"),
                field_text(queue, "waiting"),  field_text(queue, "dead"),
                field_text(queue, "sessions"), field_text(queue, "slots")};
      });
}

CommandExit pause_queue(ClientContext& context) {
  return change_queue(context, "pause", [](const Json&) { return "paused"; });
}

CommandExit resume_queue(ClientContext& context) {
  return change_queue(context, "resume", [](const Json&) { return "active"; });
}

CommandExit purge_queue(ClientContext& context) {
  const std::string& queue = context.line.queue;
  if (!confirm(context, fmt::format("This deletes every task of queue {} that is not running or "
                                    "done.",
                                    queue)))
    return CommandExit::failed;
  ApiAnswer answer = context.api.post(fmt::format("/queues/{}/purge", percent_encode(queue)));
  if (!answer.ok()) return print_refusal(context, "purge queue " + queue, answer);
  Json purge = parse_json(answer.body);
  int64_t purged = purge.value("purged", int64_t{0});
  if (field_text(purge, "state") != "completed") {  // many: a job goes on with them
    answer = follow_job(context, field_text(purge, "job_id"), Deadline::never());
    if (!answer.ok()) return print_refusal(context, "purge queue " + queue, answer);
    Json job = parse_json(answer.body);
    purged = job.value("done", int64_t{0});
    if (field_text(job, "state") != "completed") return print_job_end(context, answer);
  }
  if (context.line.json)
    context.out << Json{{"purged", purged}}.dump() << '\n';
  else
    context.out << fmt::format("{}\t{} deleted\n", queue, purged);
  return CommandExit::ok;
}

// How the process of a session differs from this one; empty: in nothing that matters.
std::string difference(const Json& ours, const Json& theirs) {
  if (!theirs.is_object()) return "";
  std::vector<std::string> words;
  for (const char* name : {"version", "build", "host", "executable"}) {
    const std::string value = field_text(theirs, name);
    // Another machine has its own paths.
    const bool elsewhere = std::string_view(name) == "executable" &&
                           field_text(theirs, "host") != field_text(ours, "host");
    if (!value.empty() && !elsewhere && value != field_text(ours, name))
      words.push_back(fmt::format("{} {}", name, value));
  }
  return fmt::format("{}", fmt::join(words, ", "));
}

CommandExit end_worker(ClientContext& context, const char* command) {
  const std::string& worker = context.line.worker;
  ApiAnswer answer =
      context.api.post(fmt::format("/workers/{}/{}", percent_encode(worker), command));
  if (!answer.ok()) return print_refusal(context, fmt::format("{} {}", command, worker), answer);
  if (context.line.json)
    context.out << answer.body << '\n';
  else
    context.out << fmt::format("{}\t{}\n", worker, "asked to " + std::string(command));
  return CommandExit::ok;
}

CommandExit drain_worker(ClientContext& context) {
  return end_worker(context, "drain");
}

CommandExit stop_worker(ClientContext& context) {
  return end_worker(context, "stop");
}

// Why it ended, or what keeps it from consuming.
std::string words_of_worker(const Json& worker) {
  const Json canary = worker.value("canary", Json());
  if (!field_text(worker, "ended_at").empty() || !canary.is_object() ||
      field_text(canary, "state") != "lost")
    return field_text(worker, "last_words");
  return "canary: " + field_text(canary, "words");
}

CommandExit list_workers(ClientContext& context) {
  std::string path = "/workers";
  if (!context.line.ended_within.empty())
    path += "?ended_within=" + percent_encode(context.line.ended_within);
  const Json ours = parse_json(session_context());
  return print_list(
      context, path, "workers",
      {"WORKER", "STATE", "NAME", "BUSY", "SLOTS", "UNSTARTED", "QUEUES", "RENEWED", "DIFFERS",
       "LAST WORDS"},
      [&](const Json& worker) -> std::vector<std::string> {
        return {field_text(worker, "worker"),
                field_text(worker, "state"),
                field_text(worker, "name"),
                field_text(worker, "busy"),
                field_text(worker, "slots"),
                field_text(worker, "unstarted"),
                list_of(worker, "queues"),
                since(context, field_text(worker, "renewed_at")),
                printable(context.screen, difference(ours, worker.value("context", Json()))),
                printable(context.screen, words_of_worker(worker))};
      });
}

std::string sandbox_words(const Json& actor) {
  const Json sandbox = actor.value("sandbox", Json());
  if (!sandbox.is_object()) return "-";
  std::string mode = sandbox.value("mode", "");
  if (mode == "off" || sandbox.value("active", false)) return mode;
  return mode + ", NOT IN FORCE";
}

CommandExit list_actors(ClientContext& context) {
  return print_list(
      context, "/actors", "actors",
      {"TYPE", "KIND", "QUEUE", "TIMEOUT", "ATTEMPTS", "SANDBOX", "SEEN", "DESCRIPTION"},
      [&](const Json& actor) -> std::vector<std::string> {
        return {field_text(actor, "task_type"),
                field_text(actor, "kind"),
                field_text(actor, "queue"),
                field_text(actor, "timeout"),
                field_text(actor, "max_attempts"),
                sandbox_words(actor),
                since(context, field_text(actor, "seen_at")),
                printable(context.screen, field_text(actor, "description"))};
      });
}

CommandExit explain_task(ClientContext& context) {
  const CommandLine& line = context.line;
  const auto [kind, name] = !line.queue.empty()    ? std::pair("queues", line.queue)
                            : !line.worker.empty() ? std::pair("workers", line.worker)
                                                   : std::pair("tasks", line.ids[0]);
  ApiAnswer answer = context.api.get(fmt::format("/{}/{}/explain", kind, percent_encode(name)));
  if (!answer.ok()) return print_refusal(context, "explain " + name, answer);
  if (context.line.json)
    context.out << answer.body << '\n';
  else
    context.out << printable(context.screen, to_text(explanation_from(parse_json(answer.body))));
  return CommandExit::ok;
}

CommandExit reload_config(ClientContext& context) {
  ApiAnswer answer = context.api.post("/config/reload");
  if (!answer.ok()) return print_refusal(context, "reload the configuration", answer);
  if (context.line.json) {
    context.out << answer.body << '\n';
    return CommandExit::ok;
  }
  const Json report = parse_json(answer.body);
  auto words = [&](const char* list) {
    std::string text = list_of(report, list);
    return text.empty() ? "nothing" : text;
  };
  context.out << fmt::format("changed: {}\nneeds a restart: {}\n", words("changed"),
                             words("needs_restart"));
  for (const Json& note : report.at("notes"))
    context.err << "note: " << note.get<std::string>() << '\n';
  return CommandExit::ok;
}

// layout: table
ClientCommand find_client_command(const std::string& command) {
  struct Row {
    std::string_view command;
    ClientCommand run;
  };
  static constexpr Row kRows[] = {
      {"submit", submit_task},
      {"tasks list", list_tasks},
      {"tasks show", show_task},
      {"tasks watch", watch_tasks},
      {"tasks cancel", cancel_tasks},
      {"tasks retry", retry_tasks},
      {"tasks delete", delete_tasks},
      {"queues list", list_queues},
      {"queues show", show_queue},
      {"queues set", set_queue},
      {"queues watch", watch_queues},
      {"queues pause", pause_queue},
      {"queues resume", resume_queue},
      {"queues purge", purge_queue},
      {"workers list", list_workers},
      {"workers drain", drain_worker},
      {"workers stop", stop_worker},
      {"workers wait", wait_for_workers},
      {"workers show", show_worker},
      {"workers diff", diff_workers},
      {"actors list", list_actors},
      {"actors set", set_actor},
      {"explain", explain_task},
      {"config reload", reload_config},
      {"report", write_report},
      {"tasks export", export_tasks},
      {"jobs list", list_jobs},
      {"jobs show", show_job},
      {"jobs watch", watch_job},
      {"jobs stop", stop_job},
      {"broker inspect", inspect_broker},
      {"broker redrive", redrive_broker},
      {"broker purge", purge_broker},
      {"send-test", send_test},
  };
  for (const Row& row : kRows)
    if (row.command == command) return row.run;
  return nullptr;
}

}  // namespace opscore
