// Bulk jobs: the changes of tasks by filter, the export, and `jobs`.

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <system_error>
#include <thread>

#include "opscore/app/cli/client_commands.h"
#include "opscore/app/cli/json_field.h"
#include "opscore/app/cli/progress_bar.h"

namespace opscore {
namespace {

constexpr Duration kLookEvery{200};

std::string job_path(const std::string& id, std::string_view verb = "") {
  return fmt::format("/jobs/{}{}", percent_encode(id), verb);
}

bool is_ended(const Json& job) {
  std::string state = field_text(job, "state");
  return state != "pending" && state != "running";
}

std::string past_of(const std::string& action) {
  if (action == "cancel") return "cancelled";
  if (action == "retry") return "retried";
  return action == "delete" ? "deleted" : "exported";
}

// "3 cancelled, 1 skipped (running)"
std::string words_of(const Json& job) {
  std::string words =
      fmt::format("{} {}", job.value("done", int64_t{0}), past_of(field_text(job, "action")));
  const Json skipped = job.value("skipped", Json::object());
  for (const auto& [reason, count] : skipped.items())
    words += fmt::format(", {} skipped ({})", count.get<int64_t>(), reason);
  return words;
}

Json filter_json(const ListOptions& options, TimePoint now) {
  Json filter = Json::object();
  if (!options.statuses.empty()) filter["status"] = options.statuses;
  if (!options.type.empty()) filter["task_type"] = options.type;
  if (!options.queue.empty()) filter["queue"] = options.queue;
  for (const std::string& label : options.labels) {
    size_t equals = label.find('=');
    if (equals == std::string::npos)
      throw Error(Errc::invalid, fmt::format("--label: '{}' is not of the form name=value", label));
    filter["labels"][label.substr(0, equals)] = label.substr(equals + 1);
  }
  if (!options.since.empty())
    filter["created_after"] = time_for_query("--since", options.since, now);
  if (!options.before.empty())
    filter["created_before"] = time_for_query("--before", options.before, now);
  return filter;
}

Json job_body(const ClientContext& context, const std::string& action) {
  Json body{{"action", action}, {"filter", filter_json(context.line.list, context.clock.now())}};
  if (context.line.all) body["all"] = true;
  return body;
}

// What the job would do; the refusal when it is not allowed.
ApiAnswer estimate(ClientContext& context, Json body) {
  body["dry_run"] = true;
  return context.api.post("/jobs", body.dump());
}

CommandExit print_estimate(ClientContext& context, const ApiAnswer& answer) {
  Json said = parse_json(answer.body);
  if (context.line.json)
    context.out << answer.body << '\n';
  else
    context.out << fmt::format("{}{}; nothing was changed\n", field_text(said, "summary"),
                               said.value("exact", true) ? "" : " (there are more to look at)");
  return CommandExit::ok;
}

// Takes the bytes of an export to a file that appears under its name when it is complete, to what
// is there already and is no such file (a pipe, a device), or to stdout.
class ExportTarget {
 public:
  ExportTarget(std::ostream& out, const std::string& path) : out_(out), path_(path) {
    if (path_ == "-") return;
    std::error_code unknown;
    auto status = std::filesystem::status(path_, unknown);
    is_partial_ = !std::filesystem::exists(status) || std::filesystem::is_regular_file(status);
    int flags = O_WRONLY | O_CLOEXEC | (is_partial_ ? O_CREAT | O_TRUNC : 0);
    fd_ = ::open(written().c_str(), flags, 0600);
    if (fd_ < 0) fail("open");
  }
  ~ExportTarget() {
    if (fd_ < 0) return;
    ::close(fd_);
    if (is_partial_) ::unlink(written().c_str());
  }
  ExportTarget(const ExportTarget&) = delete;

  void take(std::string_view bytes) {
    if (fd_ < 0) {
      out_ << bytes;
      return;
    }
    while (!bytes.empty()) {
      ssize_t wrote = ::write(fd_, bytes.data(), bytes.size());
      if (wrote < 0 && errno != EINTR) fail("write");
      if (wrote > 0) bytes.remove_prefix(static_cast<size_t>(wrote));
    }
  }

  void complete() {
    if (fd_ < 0 || !is_partial_) return;
    if (::fsync(fd_) != 0) fail("write");
    if (::rename(written().c_str(), path_.c_str()) != 0) fail("rename");
    ::close(std::exchange(fd_, -1));
  }

 private:
  std::string written() const { return is_partial_ ? path_ + ".partial" : path_; }
  [[noreturn]] void fail(const char* doing) const {
    throw Error(Errc::internal, fmt::format("{} '{}': {}; choose another file with -o", doing,
                                            written(), std::generic_category().message(errno)));
  }

  std::ostream& out_;
  const std::string path_;
  int fd_ = -1;
  bool is_partial_ = false;
};

}  // namespace

bool confirm(ClientContext& context, const std::string& question) {
  if (!context.screen.terminal || context.line.yes) return true;
  context.err << question << " Sure? [y/N] " << std::flush;
  std::string answer;
  std::getline(context.in, answer);
  if (answer == "y" || answer == "yes") return true;
  context.err << "nothing was changed\n";
  return false;
}

ApiAnswer follow_job(ClientContext& context, const std::string& id, Deadline until) {
  std::optional<Deadline> patience;
  ProgressBar bar(context.err, look_at_terminal(context.config.environment, STDERR_FILENO));
  while (true) {
    auto answer = ask(context.api, job_path(id), patience);
    if (answer && !answer->ok()) return *answer;
    if (answer) {
      Json job = parse_json(answer->body);
      if (is_ended(job) || until.passed()) {
        bar.clear();
        return *answer;
      }
      if (!context.line.json) bar.show(job.value("progress", 0.0), words_of(job));
    }
    std::this_thread::sleep_for(kLookEvery);
  }
}

CommandExit print_job_end(ClientContext& context, const ApiAnswer& answer) {
  Json job = parse_json(answer.body);
  std::string id = field_text(job, "job_id"), state = field_text(job, "state");
  if (context.line.json)
    context.out << answer.body << '\n';
  else
    context.out << fmt::format("{}\t{}\t{}\n", id, state, words_of(job));
  if (!is_ended(job)) return CommandExit::unfinished;
  if (state == "completed") return CommandExit::ok;
  std::string error = field_text(job, "error");
  context.err << fmt::format("opscore: {} {}{}{}\n", id, state, error.empty() ? "" : ": ",
                             printable(context.screen, error));
  return CommandExit::failed;
}

CommandExit change_by_filter(ClientContext& context, const std::string& action) {
  if (context.line.input)
    throw Error(Errc::invalid, "--input: is for tasks that are named, not for a filter");
  Json body = job_body(context, action);
  if (context.line.dry_run || (context.screen.terminal && !context.line.yes)) {
    ApiAnswer answer = estimate(context, body);
    if (!answer.ok()) return print_refusal(context, action + " tasks", answer);
    if (context.line.dry_run) return print_estimate(context, answer);
    if (!confirm(context, fmt::format("This {}.", field_text(parse_json(answer.body), "summary"))))
      return CommandExit::failed;
  }
  ApiAnswer answer = context.api.post("/jobs", body.dump());
  if (!answer.ok()) return print_refusal(context, action + " tasks", answer);
  std::string id = field_text(parse_json(answer.body), "job_id");
  if (!context.line.wait.empty()) {
    answer = follow_job(context, id, wait_deadline(context.line.wait));
    if (!answer.ok()) return print_refusal(context, "watch " + id, answer);
    return print_job_end(context, answer);
  }
  if (context.line.json) {
    context.out << answer.body << '\n';
    return CommandExit::ok;
  }
  context.out << id << '\n';
  context.err << fmt::format("started; see: opscore jobs watch {}\n", id);
  return CommandExit::ok;
}

CommandExit export_tasks(ClientContext& context) {
  Json body = job_body(context, "export");
  if (context.line.dry_run) {
    ApiAnswer answer = estimate(context, body);
    if (!answer.ok()) return print_refusal(context, "export tasks", answer);
    return print_estimate(context, answer);
  }
  ExportTarget target(context.out, context.line.output);
  ApiAnswer answer = context.api.post("/jobs", body.dump());
  if (!answer.ok()) return print_refusal(context, "export tasks", answer);
  std::string id = field_text(parse_json(answer.body), "job_id");
  answer = follow_job(context, id, Deadline::never());
  if (!answer.ok()) return print_refusal(context, "watch " + id, answer);
  if (field_text(parse_json(answer.body), "state") != "completed")
    return print_job_end(context, answer);
  ApiAnswer file = context.api.download(job_path(id, "/export"),
                                        [&](std::string_view piece) { target.take(piece); });
  if (!file.ok()) return print_refusal(context, "read the export of " + id, file);
  target.complete();
  if (context.line.output == "-") return CommandExit::ok;
  return print_job_end(context, answer);
}

CommandExit list_jobs(ClientContext& context) {
  return print_list(
      context, "/jobs", "jobs",
      {"JOB", "ACTION", "STATE", "PROGRESS", "MATCHED", "DONE", "CREATED", "ERROR"},
      [&](const Json& job) -> std::vector<std::string> {
        return {
            field_text(job, "job_id"),     field_text(job, "action"),
            field_text(job, "state"),      fmt::format("{:.0f}%", job.value("progress", 0.0) * 100),
            field_text(job, "matched"),    field_text(job, "done"),
            field_text(job, "created_at"), printable(context.screen, field_text(job, "error"))};
      });
}

CommandExit show_job(ClientContext& context) {
  const std::string& id = context.line.ids[0];
  ApiAnswer answer = context.api.get(job_path(id));
  if (!answer.ok()) return print_refusal(context, "show " + id, answer);
  if (context.line.json) {
    context.out << answer.body << '\n';
    return CommandExit::ok;
  }
  Json job = parse_json(answer.body);
  for (const char* name :
       {"job_id", "action", "state", "filter", "progress", "examined", "matched", "done", "skipped",
        "bytes", "created_at", "started_at", "ended_at", "error"})
    if (std::string text = field_text(job, name); !text.empty())
      context.out << fmt::format("{:<11} {}\n", name, printable(context.screen, text));
  return CommandExit::ok;
}

CommandExit watch_job(ClientContext& context) {
  const std::string& id = context.line.ids[0];
  ApiAnswer answer = follow_job(context, id, Deadline::never());
  if (!answer.ok()) return print_refusal(context, "watch " + id, answer);
  return print_job_end(context, answer);
}

CommandExit stop_job(ClientContext& context) {
  const std::string& id = context.line.ids[0];
  ApiAnswer answer = context.api.post(job_path(id, "/stop"));
  if (!answer.ok()) return print_refusal(context, "stop " + id, answer);
  if (context.line.json)
    context.out << answer.body << '\n';
  else
    context.out << fmt::format("{}\tstopped\t{}\n", id, words_of(parse_json(answer.body)));
  return CommandExit::ok;
}

}  // namespace opscore
