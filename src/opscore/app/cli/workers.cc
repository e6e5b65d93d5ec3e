// One worker in full, and what differs between two.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "opscore/app/cli/client_commands.h"
#include "opscore/app/cli/columns.h"
#include "opscore/app/cli/json_field.h"
#include "opscore/doctor/compare_contexts.h"

namespace opscore {
namespace {

// As they are asked about, the rest in the order of the alphabet.
constexpr const char* kOrder[] = {
    "role",    "executable", "argv",      "version",        "build",        "build_id",    "cwd",
    "user",    "uid",        "umask",     "host",           "container",    "pid",         "ppid",
    "parents", "stdin",      "stdout",    "stderr",         "has_terminal", "signals",     "limits",
    "cgroup",  "locale",     "time_zone", "store_identity", "services",     "addresses",   "slots",
    "queues",  "actors",     "python",    "environment",    "dotenv",       "config_files"};
constexpr size_t kNameColumns = 16;

std::string words_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::vector<std::string> words;
  for (const Json& each : value) words.push_back(words_of(each));
  return words.empty() ? "none" : fmt::format("{}", fmt::join(words, " "));
}

void append_line(std::string& out, size_t indent, const std::string& name,
                 const std::string& value) {
  std::string line = fmt::format("{}{} {}", std::string(indent, ' '),
                                 fill_right(name, std::max(kNameColumns, columns_of(name))), value);
  line.erase(line.find_last_not_of(' ') + 1);
  out += line + "\n";
}

void append_member(std::string& out, size_t indent, const std::string& name, const Json& value) {
  const bool is_lines = name == "path" || name == "config_files";
  if (value.is_object()) {
    append_line(out, indent, name, value.empty() ? "none" : "");
    for (const auto& [member, below] : value.items()) append_member(out, indent + 2, member, below);
  } else if (name == "parents" && value.is_array()) {
    append_line(out, indent, name, "");
    for (const Json& parent : value)
      append_line(out, indent + 2, field_text(parent, "pid"),
                  words_of(parent.value("argv", Json::array())));
  } else if (is_lines && value.is_array()) {
    append_line(out, indent, name, "");
    for (const Json& each : value) append_line(out, indent + 2, words_of(each), "");
  } else {
    append_line(out, indent, name, words_of(value));
  }
}

std::string context_text(const Json& context) {
  std::string out;
  for (const char* name : kOrder)
    if (context.contains(name)) append_member(out, 2, name, context[name]);
  for (const auto& [name, value] : context.items())
    if (std::ranges::find(kOrder, name) == std::end(kOrder)) append_member(out, 2, name, value);
  return out;
}

std::string worker_text(const Json& worker) {
  std::string out = fmt::format("{}  {}  {}\n", field_text(worker, "worker"),
                                field_text(worker, "name"), field_text(worker, "state"));
  for (const char* name : {"started_at", "renewed_at", "ended_at", "last_words", "busy", "slots",
                           "unstarted", "abandoned"})
    if (std::string text = field_text(worker, name); !text.empty()) append_line(out, 2, name, text);
  const Json context = worker.value("context", Json());
  return out + (context.is_object() ? context_text(context) : std::string());
}

// The error: it was refused, and that was printed.
std::expected<Json, CommandExit> get_worker(ClientContext& context, const std::string& name) {
  ApiAnswer answer = context.api.get("/workers/" + percent_encode(name));
  if (answer.ok()) return parse_json(answer.body);
  return std::unexpected(print_refusal(context, "show worker " + name, answer));
}

Json to_json(const std::vector<Difference>& differences) {
  Json list = Json::array();
  for (const Difference& each : differences)
    list.push_back({{"what", each.what},
                    {"first", each.first},
                    {"second", each.second},
                    {"rank", each.rank},
                    {"why", each.why.empty() ? Json() : Json(each.why)}});
  return list;
}

// Values one below the other: most are too long to stand side by side.
std::string to_text(const std::vector<Difference>& differences, const std::string& first,
                    const std::string& second) {
  if (differences.empty())
    return "nothing differs of what is known; values that are masked (***) are not compared\n";
  const size_t width = std::max(columns_of(first), columns_of(second));
  std::string out;
  for (const Difference& each : differences) {
    out += each.why.empty() ? each.what + "\n" : fmt::format("{}: {}\n", each.what, each.why);
    out += fmt::format("  {}  {}\n", fill_right(first, width), each.first);
    out += fmt::format("  {}  {}\n", fill_right(second, width), each.second);
  }
  return out;
}

}  // namespace

CommandExit show_worker(ClientContext& context) {
  const auto worker = get_worker(context, context.line.ids[0]);
  if (!worker) return worker.error();
  context.out << (context.line.json ? worker->dump() + "\n"
                                    : printable(context.screen, worker_text(*worker)));
  return CommandExit::ok;
}

CommandExit diff_workers(ClientContext& context) {
  Json workers[2];
  for (size_t i = 0; i < 2; ++i) {
    auto worker = get_worker(context, context.line.ids[i]);
    if (!worker) return worker.error();
    workers[i] = std::move(*worker);
  }
  const auto differences = compare_contexts(workers[0].value("context", Json::object()),
                                            workers[1].value("context", Json::object()));
  if (context.line.json)
    context.out << to_json(differences).dump() << '\n';
  else
    context.out << printable(context.screen, to_text(differences, field_text(workers[0], "worker"),
                                                     field_text(workers[1], "worker")));
  return CommandExit::ok;
}

}  // namespace opscore
