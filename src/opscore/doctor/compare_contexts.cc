#include "opscore/doctor/compare_contexts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

namespace opscore {
namespace {

struct Values {
  std::string first, second;
  bool either(std::string_view text) const { return first == text || second == text; }
  bool either_starts(std::string_view text) const {
    return first.starts_with(text) || second.starts_with(text);
  }
};

struct Rule {
  std::string_view what;  // the member, or everything below it
  int rank;
  std::string_view why;
  bool (*holds)(const Values&) = nullptr;  // null: always
};

bool one_is_closed(const Values& values) {
  return values.either("closed");
}
bool one_is_full(const Values& values) {
  return values.either("/dev/full");
}
bool one_is_a_pipe(const Values& values) {
  return values.either("pipe") || values.either("socket") || values.either_starts("named pipe");
}
bool one_is_deleted(const Values& values) {
  return values.first.ends_with(" (deleted)") || values.second.ends_with(" (deleted)");
}

constexpr char kPipe[] =
    "whoever has the other end must read it: once the pipe is full, what is written there blocks "
    "or is lost";
constexpr char kClosed[] =
    "the next file that is opened takes its number, and gets what is printed";

// The first that fits counts.
// layout: table
constexpr Rule kRules[] = {
    {"store_identity", 100, "they work on different stores: tasks of one are unknown to the other"},
    {"services.store", 99, "they work on different stores: tasks of one are unknown to the other"},
    {"services.broker", 98,
     "they listen to different brokers: the hints of one never reach the other"},
    {"services", 90, "they talk to different services"},
    {"environment.DRAMATIQ_TESTING", 97,
     "applications choose a stub of a broker by it: then no message is sent or received"},
    {"environment.UNIT_TESTING", 96,
     "applications choose a stub of a broker by it: then no message is sent or received"},
    {"addresses", 95, "the same name leads to different machines"},
    {"queues", 94, "tasks of a queue that one of them does not serve wait for others"},
    {"actors", 92, "tasks of a type that one of them does not have wait for others"},
    {"stdout", 91, "what is written there fails", one_is_full},
    {"stderr", 91, "what is written there fails", one_is_full},
    {"stdout", 89, kPipe, one_is_a_pipe},
    {"stderr", 89, kPipe, one_is_a_pipe},
    {"stdout", 88, kClosed, one_is_closed},
    {"stderr", 88, kClosed, one_is_closed},
    {"stdin", 87, kClosed, one_is_closed},
    {"stdin", 60, "a program that reads its input waits, or ends"},
    {"stdout", 45, "what is printed goes somewhere else; without a terminal the log is JSON"},
    {"stderr", 45, "what is printed goes somewhere else; without a terminal the log is JSON"},
    {"signals.blocked", 86,
     "a blocked signal is not delivered: it cannot be stopped by it, nor hear of children that "
     "end; programs that it starts inherit that"},
    {"signals.ignored", 85,
     "an ignored signal does nothing, and programs that it starts inherit that"},
    {"build_id", 84, "they are different builds"},
    {"version", 84, "they are different versions"},
    {"executable", 83, "they are different programs, perhaps of another checkout or environment"},
    {"build", 82, "they were compiled differently"},
    {"cwd", 81, "its folder is gone: relative paths, .env and opscore.toml are not found",
     one_is_deleted},
    {"config_files", 80, "they have read different files of settings"},
    {"dotenv", 80, "a .env file sets other variables: is it the one of this project?"},
    {"cwd", 79,
     ".env and opscore.toml are read from there, relative paths begin there, and Python imports "
     "from there"},
    {"python.executable", 78, "another interpreter has other packages"},
    {"python.version", 77, "another interpreter has other packages"},
    {"python.prefix", 77, "another virtual environment has other packages"},
    {"python.path", 76, "modules of the same name may come from elsewhere"},
    {"python.packages.dramatiq", 75, "another version of Dramatiq"},
    {"python.packages", 70, "another version of a package"},
    {"environment.HTTP_PROXY", 74, "requests go through a proxy"},
    {"environment.HTTPS_PROXY", 74, "requests go through a proxy"},
    {"environment.ALL_PROXY", 74, "connections go through a proxy"},
    {"environment.http_proxy", 74, "requests go through a proxy"},
    {"environment.https_proxy", 74, "requests go through a proxy"},
    {"environment.all_proxy", 74, "connections go through a proxy"},
    {"environment.NO_PROXY", 73, "these hosts are reached without the proxy"},
    {"environment.no_proxy", 73, "these hosts are reached without the proxy"},
    {"environment.LD_PRELOAD", 72, "a library is put before all others"},
    {"environment.LD_LIBRARY_PATH", 71, "other libraries may be loaded"},
    {"environment.PYTHONPATH", 71, "modules of the same name may come from elsewhere"},
    {"environment.PYTHONHOME", 71, "the standard library may come from elsewhere"},
    {"limits.open_files", 69, "connections and programs fail once it is reached"},
    {"limits.memory_bytes", 68, "allocations fail once it is reached"},
    {"limits.processes", 68, "threads and programs cannot be started once it is reached"},
    {"cgroup.limits", 67, "the kernel kills or slows what has more"},
    {"limits", 40, "the system refuses what is beyond it"},
    {"slots", 66, "so many tasks run at once"},
    {"role", 65, "they do different work"},
    {"argv", 64, "they were started with other options"},
    {"user", 58, "files and sockets may be out of reach"},
    {"uid", 57, "files and sockets may be out of reach"},
    {"umask", 50, "files that it makes have other permissions"},
    {"container", 56, "they see other files, hosts and processes"},
    {"host", 55, "they see other files, hosts and processes"},
    {"python.slow_imports_ms", 52, "an import that takes long delays the start"},
    {"has_terminal", 48, "when its terminal hangs up, it ends"},
    {"parents", 47, "who starts it decides what it inherits, and may end it"},
    {"environment.PATH", 46, "programs of the same name may come from elsewhere"},
    {"environment.VIRTUAL_ENV", 46, "its interpreter is used, unless python.interpreter names one"},
    {"locale", 38, "text may be read and written in another encoding"},
    {"time_zone", 37, "times of schedules and logs of the application may be read differently"},
    {"environment", 20, ""},
    {"cgroup.path", 10, ""},
    {"", 15, ""},
};

// They always differ, and explain nothing.
constexpr std::array kNoise = {"pid",
                               "ppid",
                               "environment.SHLVL",
                               "environment._",
                               "environment.PWD",
                               "environment.OLDPWD",
                               "environment.WINDOWID",
                               "environment.INVOCATION_ID",
                               "environment.JOURNAL_STREAM",
                               "environment.SYSTEMD_EXEC_PID",
                               "environment.XDG_SESSION_ID",
                               "environment.SSH_CLIENT",
                               "environment.SSH_CONNECTION",
                               "environment.SSH_TTY",
                               "environment.COLUMNS",
                               "environment.LINES",
                               "environment.NOTIFY_SOCKET"};

bool is_below(std::string_view what, std::string_view rule) {
  return rule.empty() || what == rule ||
         (what.starts_with(rule) && what.size() > rule.size() && what[rule.size()] == '.');
}

std::string text_of(const Json& value) {
  if (value.is_string())
    return value.get<std::string>().empty() ? "\"\"" : value.get<std::string>();
  if (!value.is_array()) return value.dump();
  std::string text;
  for (const Json& each : value) text += (text.empty() ? "" : " ") + text_of(each);
  return text.empty() ? "none" : text;
}

// Without pids, which are of no interest.
std::string chain_of(const Json& parents) {
  std::string text;
  for (const Json& parent : parents)
    text += (text.empty() ? "" : " < ") + text_of(parent.value("argv", Json::array()));
  return text;
}

void flatten(const Json& value, const std::string& name, std::map<std::string, std::string>& out) {
  if (name == "parents") {
    out[name] = chain_of(value);
  } else if (value.is_object()) {
    for (const auto& [member, below] : value.items())
      flatten(below, name.empty() ? member : name + "." + member, out);
  } else {
    out[name] = text_of(value);
  }
}

// A list that is the same but for a few: only these are of interest.
Values only_what_differs(const std::string& what, const Json& first, const Json& second,
                         Values whole) {
  const bool is_long = what == "python.path" || what == "dotenv" || what.starts_with("signals.");
  if (!is_long) return whole;
  std::string path = "/" + what;
  std::ranges::replace(path, '.', '/');
  const Json::json_pointer member(path);
  if (!first.contains(member) || !second.contains(member)) return whole;
  std::set<std::string> one, other;
  for (const Json& each : first[member]) one.insert(text_of(each));
  for (const Json& each : second[member]) other.insert(text_of(each));
  auto beyond = [](const Json& list, const std::set<std::string>& known) {
    std::string text;
    for (const Json& each : list)
      if (std::string said = text_of(each); !known.contains(said))
        text += (text.empty() ? "" : " ") + said;
    return text.empty() ? std::string("-") : text;
  };
  Values values{beyond(first[member], other), beyond(second[member], one)};
  return values.first == values.second ? whole : values;  // the same, in another order
}

Difference judged(const std::string& what, Values values) {
  const auto* rule = std::ranges::find_if(kRules, [&](const Rule& each) {
    return is_below(what, each.what) && (!each.holds || each.holds(values));
  });
  Difference difference{what, std::move(values.first), std::move(values.second), rule->rank,
                        std::string(rule->why)};
  // What is set to nothing is a trap of its own: many programs take it for a value.
  const bool is_empty = difference.first == "\"\"" || difference.second == "\"\"";
  if (what.starts_with("environment.") && is_empty && difference.rank < 62) {
    difference.rank = 62;
    difference.why = "set, but empty: not every program takes that for unset";
  }
  return difference;
}

}  // namespace

std::vector<Difference> compare_contexts(const Json& first, const Json& second) {
  std::map<std::string, std::string> one, other;
  flatten(first, "", one);
  flatten(second, "", other);
  std::map<std::string, Values> all;
  for (const auto& [what, value] : one) all[what] = {value, "-"};
  for (const auto& [what, value] : other) {
    auto [at, is_new] = all.try_emplace(what, Values{"-", value});
    at->second.second = value;
  }
  std::vector<Difference> differences;
  for (auto& [what, values] : all) {
    if (values.first == values.second || std::ranges::find(kNoise, what) != kNoise.end()) continue;
    differences.push_back(judged(what, only_what_differs(what, first, second, std::move(values))));
  }
  std::ranges::stable_sort(differences, std::greater<>(), &Difference::rank);
  return differences;
}

}  // namespace opscore
