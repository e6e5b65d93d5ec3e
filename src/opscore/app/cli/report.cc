// One archive with what a report of a bug needs. Whatever cannot be had is said in it, and left
// out.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <set>
#include <system_error>

#include "opscore/app/cli/client_commands.h"
#include "opscore/app/cli/json_field.h"
#include "opscore/app/cli/tar_gz.h"
#include "opscore/app/command_line.h"
#include "opscore/app/config_show.h"
#include "opscore/app/doctor/examine.h"
#include "opscore/app/masking.h"
#include "opscore/app/version.h"
#include "opscore/process/file_descriptor.h"
#include "opscore/process/surroundings.h"

namespace opscore {
namespace {

constexpr size_t kWorkersMax = 20;
constexpr int kTasksMax = 20;  // of the stuck, and of the failed
constexpr std::streamoff kLogBytes = 1 << 20;
constexpr Duration kStuckAfter{60'000};

struct Entry {
  std::string name;
  size_t bytes;
  std::string what;
};

class Report {
 public:
  explicit Report(ClientContext& context)
      : context_(context), archive_(context.clock.now()), secrets_(known_secrets(context.config)) {}

  void collect();
  std::string finish();
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  // Strings that are masked one by one stay JSON.
  Json masked(const Json& value) const;
  void add(const std::string& name, const std::string& text, const std::string& what);
  void add_json(const std::string& name, const Json& value, const std::string& what);
  // Nothing: it could not be had, which is noted.
  std::optional<std::string> get(const std::string& path);
  std::optional<Json> get_json(const std::string& path);
  void add_answer(const std::string& path, const std::string& name, const std::string& what);
  void find_server();
  void add_versions();
  void add_workers();
  void add_tasks(const std::string& query, const std::string& folder, const std::string& what);
  void add_task(const std::string& id, const std::string& folder, const std::string& what);
  void add_log();

  ClientContext& context_;
  TarGz archive_;
  const std::set<std::string> secrets_;
  std::unique_ptr<ApiClient> offline_;  // when no server answers
  ApiClient* api_ = nullptr;            // null: there is neither server nor store
  std::vector<Entry> entries_;
  std::string missing_;
};

Json Report::masked(const Json& value) const {
  if (value.is_string()) return mask_text(value.get<std::string>(), secrets_);
  if (!value.is_structured()) return value;
  Json copy = value.is_array() ? Json::array() : Json::object();
  for (const auto& [name, member] : value.items())
    if (value.is_array())
      copy.push_back(masked(member));
    else
      copy[name] = masked(member);
  return copy;
}

void Report::add(const std::string& name, const std::string& text, const std::string& what) {
  archive_.add("opscore-report/" + name, text);
  entries_.push_back({name, text.size(), what});
}

void Report::add_json(const std::string& name, const Json& value, const std::string& what) {
  add(name, masked(value).dump(2, ' ', false, Json::error_handler_t::replace) + "\n", what);
}

std::optional<std::string> Report::get(const std::string& path) {
  if (!api_) return std::nullopt;
  try {
    ApiAnswer answer = api_->get(path);
    if (answer.ok() || path == "/ready") return std::move(answer.body);
    missing_ += fmt::format("{}: {}\n", path, refusal_words(answer));
  } catch (const Error& error) {
    missing_ += fmt::format("{}: {}\n", path, mask_text(error.what(), secrets_));
  }
  return std::nullopt;
}

std::optional<Json> Report::get_json(const std::string& path) {
  auto text = get(path);
  if (!text) return std::nullopt;
  return parse_json(*text);
}

void Report::add_answer(const std::string& path, const std::string& name, const std::string& what) {
  if (auto json = get_json(path)) add_json(name, *json, what);
}

void Report::find_server() {
  try {
    context_.api.get("/health");
    api_ = &context_.api;
    return;
  } catch (const Error& error) {
    missing_ += fmt::format("the server: {}\n", mask_text(error.what(), secrets_));
  }
  try {
    offline_ = make_offline_api_client(context_.config);
    api_ = offline_.get();
    missing_ += fmt::format("read instead: {}\n", context_.config.store_words());
  } catch (const Error& error) {
    missing_ += fmt::format("the store: {}\n", mask_text(error.what(), secrets_));
  }
}

void Report::add_versions() {
  utsname system{};
  ::uname(&system);
  std::ifstream release("/etc/os-release");
  const std::string os(std::istreambuf_iterator<char>(release), {});
  add_json("versions.json",
           {{"opscore", version()},
            {"build", build_words()},
            {"build_id", build_id()},
            {"kernel", fmt::format("{} {} {}", system.sysname, system.release, system.machine)},
            {"os", os},
            {"container", container_kind()},
            {"limits", resource_limits()},
            {"cgroup_limits", cgroup_limits()},
            {"locale", locale_name()},
            {"time_zone", time_zone()},
            {"environment", masked_environment(context_.config.environment)},
            {"made_at", to_rfc3339(context_.clock.now())}},
           "of opscore and of this machine");
}

void Report::add_workers() {
  auto listed = get_json("/workers?ended_within=24h");
  if (!listed) return;
  add_json("workers.json", *listed, "workers of the last day");
  size_t count = 0;
  for (const Json& worker : listed->at("workers")) {
    if (++count > kWorkersMax) break;
    const std::string name = field_text(worker, "worker");
    add_answer("/workers/" + percent_encode(name), fmt::format("workers/{}.json", name),
               "where it runs");
  }
}

void Report::add_task(const std::string& id, const std::string& folder, const std::string& what) {
  Json all = Json::object();
  const std::string path = "/tasks/" + percent_encode(id);
  if (auto task = get_json(path)) {
    for (const char* payload : {"input_data", "result", "output_data", "progress"})
      task->erase(payload);
    all["task"] = *task;
  }
  for (const char* part : {"explain", "events", "attempts"})
    if (auto answer = get_json(fmt::format("{}/{}", path, part))) all[part] = *answer;
  // An id may be longer than what a name may be.
  add_json(fmt::format("{}/{}.json", folder, id.substr(0, 60)), all, what);
}

void Report::add_tasks(const std::string& query, const std::string& folder,
                       const std::string& what) {
  auto listed = get_json(fmt::format("/tasks?{}&limit={}", query, kTasksMax));
  if (!listed) return;
  for (const Json& task : listed->at("tasks")) add_task(field_text(task, "task_id"), folder, what);
}

void Report::add_log() {
  const std::string& path = context_.config.log.file;
  if (path.empty()) {
    missing_ +=
        "the log: it goes to stderr, so add what you have of it (journald, the container)\n";
    return;
  }
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) {
    missing_ += fmt::format("the log {}: it cannot be opened here\n", path);
    return;
  }
  file.seekg(std::max<std::streamoff>(file.tellg() - std::streampos(kLogBytes), 0));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  add("log.txt", mask_text(text, secrets_), "the end of " + path);
}

void Report::collect() {
  find_server();
  add_versions();
  add_json("config.json", config_json(context_.config), "settings as this command reads them");
  add_json("doctor.json",
           to_json(examine(config_sources(context_.line, process_environment()), {})),
           "what opscore doctor finds");
  add_answer("/ready", "ready.json", "whether tasks are accepted and run");
  add_answer("/queues", "queues.json", "queues");
  add_answer("/actors", "actors.json", "what can be run");
  add_answer("/jobs", "jobs.json", "bulk jobs");
  if (auto text = get("/metrics")) add("metrics.txt", mask_text(*text, secrets_), "metrics");
  add_workers();
  const std::string before = percent_encode(to_rfc3339(context_.clock.now() - kStuckAfter));
  add_tasks("status=pending,running,waiting&created_before=" + before, "stuck",
            "not done after a minute: explain, events, attempts");
  add_tasks("status=failed", "failed", "failed last: explain, events, attempts");
  add_log();
}

std::string Report::finish() {
  std::string readme =
      "A report of opscore, made by `opscore report`. Inputs and results of tasks are not in it;\n"
      "secrets are masked as far as they are known as such: look through it before you pass it "
      "on.\n\n";
  for (const Entry& entry : entries_)
    readme += fmt::format("{}: {}, {} bytes\n", entry.name, entry.what, entry.bytes);
  if (!missing_.empty()) readme += "\nMissing:\n" + missing_;
  add("README.txt", readme, "what is in it, and what is missing");
  return archive_.finish();
}

void write_new_file(const std::string& path, const std::string& bytes) {
  FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  size_t done = 0;
  while (file.is_open() && done < bytes.size()) {
    const ssize_t took = ::write(file.get(), bytes.data() + done, bytes.size() - done);
    if (took < 0 && errno != EINTR) break;
    if (took > 0) done += static_cast<size_t>(took);
  }
  if (file.is_open() && done == bytes.size()) return;
  const std::string why = std::generic_category().message(errno);
  throw Error(Errc::conflict, fmt::format("write the report {}: {}; name another file", path, why),
              false);
}

std::string default_name(TimePoint now) {
  std::string time = to_rfc3339(now).substr(0, 19);
  std::erase_if(time, [](char c) { return c == '-' || c == ':'; });
  return fmt::format("opscore-report-{}.tar.gz", time);
}

}  // namespace

CommandExit write_report(ClientContext& context) {
  const std::string path =
      context.line.file.empty() ? default_name(context.clock.now()) : context.line.file;
  Report report(context);
  report.collect();
  write_new_file(path, report.finish());
  if (context.line.json) {
    Json entries = Json::array();
    for (const Entry& entry : report.entries())
      entries.push_back({{"name", entry.name}, {"bytes", entry.bytes}, {"what", entry.what}});
    context.out << Json{{"file", path}, {"entries", entries}}.dump() << '\n';
    return CommandExit::ok;
  }
  Table table({"FILE", "BYTES", "WHAT"});
  for (const Entry& entry : report.entries())
    table.add({entry.name, std::to_string(entry.bytes), entry.what});
  context.out << table.text(context.screen)
              << fmt::format("{}: look through it before you pass it on\n", path);
  return CommandExit::ok;
}

}  // namespace opscore
