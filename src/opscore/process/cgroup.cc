#include "opscore/process/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <system_error>

namespace opscore {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

constexpr const char* kControllers[] = {"memory", "pids", "cpu"};
constexpr char kServer[] = "opscore-server";
constexpr char kRun[] = "opscore-run-";
constexpr int64_t kCpuPeriodUs = 100'000;

Words split(std::string_view text, char separator) {
  Words words;
  std::istringstream in{std::string(text)};
  for (std::string word; std::getline(in, word, separator);) words.push_back(word);
  return words;
}

bool has(const Words& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string read_text(const std::string& path) {
  std::ifstream in(path);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// The error, or empty. No O_CREAT: the kernel makes these files.
std::string write_text(const std::string& path, const std::string& text) {
  FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file.is_open() && ::write(file.get(), text.data(), text.size()) >= 0) return {};
  return fmt::format("write {}: {}", path, std::generic_category().message(errno));
}

// The folder where a group of this hierarchy is mounted; empty when it is not to be seen here.
std::string folder_of(const std::string& group, const std::string& root, const std::string& mount) {
  std::string_view rest = group;
  if (root != "/") {
    if (!rest.starts_with(root)) return {};
    rest.remove_prefix(root.size());
    if (!rest.empty() && rest.front() != '/') return {};  // a sibling: /a/bc is not in /a/b
  }
  return rest.empty() || rest == "/" ? mount : mount + std::string(rest);
}

struct Mounted {
  std::string root, point, type;
  Words options;  // of the file system
};

std::vector<Mounted> parse_mounts(std::string_view mounts) {
  std::vector<Mounted> found;
  for (const std::string& line : split(mounts, '\n')) {
    Words words = split(line, ' ');
    auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 5 || words.end() - dash < 4) continue;
    found.push_back({words[3], words[4], dash[1], split(dash[3], ',')});
  }
  return found;
}

bool is_version(const Mounted& mount, int version) {
  return mount.type == (version == 2 ? "cgroup2" : "cgroup");
}

// The controllers of version 2 work below a group once they are enabled there, and that only while
// no process is in the group itself. What is wrong, or empty.
std::string enable(const CgroupPlace& place) {
  const std::string control = place.folder + "/cgroup.subtree_control";
  const std::string wanted = fmt::format("+{}", fmt::join(place.controllers, " +"));
  if (write_text(control, wanted).empty()) return {};
  const Words inside = split(read_text(place.folder + "/cgroup.procs"), '\n');
  if (inside != Words{fmt::format("{}", ::getpid())})
    return fmt::format(
        "opscore is not alone in its control group {}: start it in one that is delegated to it "
        "(systemd: Delegate=yes)",
        place.folder);
  const std::string server = fmt::format("{}/{}", place.folder, kServer);
  if (::mkdir(server.c_str(), 0755) != 0 && errno != EEXIST)
    return fmt::format("make {}: {}", server, std::generic_category().message(errno));
  if (auto problem = write_text(server + "/cgroup.procs", "0"); !problem.empty()) return problem;
  return write_text(control, wanted);
}

// Another server may make its groups in the same place, and its newest may be empty yet.
bool is_of_another_server(const std::string& group) {
  pid_t server = 0;
  std::from_chars(group.data() + std::strlen(kRun), group.data() + group.size(), server);
  return server > 0 && server != ::getpid() && (::kill(server, 0) == 0 || errno == EPERM);
}

// Version 2 only; a run in a sandbox has nobody left when its first process is gone.
void kill_all(const std::string& folder) {
  (void)write_text(folder + "/cgroup.kill", "1");
}

void remove_leftovers(const std::string& folder) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kRun) || is_of_another_server(name)) continue;
    kill_all(entry.path());
    ::rmdir(entry.path().c_str());
  }
}

// Makes the place usable and tries it; what is wrong, or empty.
std::string prepare(CgroupPlace& place) {
  if (place.version == 2) {
    if (fs::path(place.folder).filename() == kServer)
      place.folder = fs::path(place.folder).parent_path();
    std::string there = read_text(place.folder + "/cgroup.controllers");
    while (there.ends_with('\n')) there.pop_back();
    const Words offered = split(there, ' ');
    std::erase_if(place.controllers, [&](const auto& name) { return !has(offered, name); });
    if (place.controllers.empty())
      return fmt::format("{} offers neither memory nor pids nor cpu", place.folder);
    if (auto problem = enable(place); !problem.empty()) return problem;
  }
  remove_leftovers(place.folder);
  const std::string trial = fmt::format("{}/{}{}-trial", place.folder, kRun, ::getpid());
  if (::mkdir(trial.c_str(), 0755) != 0)
    return fmt::format("make {}: {}", trial, std::generic_category().message(errno));
  std::string problem;
  for (const CgroupSetting& setting : cgroup_settings(place.version, {1, 1, 1}))
    if (has(place.controllers, setting.controller) && !setting.optional && problem.empty() &&
        ::access(fmt::format("{}/{}", trial, setting.file).c_str(), W_OK) != 0)
      problem =
          fmt::format("{}/{}: {}", trial, setting.file, std::generic_category().message(errno));
  ::rmdir(trial.c_str());
  return problem;
}

}  // namespace

std::vector<CgroupPlace> cgroup_places(std::string_view groups, std::string_view mounts) {
  const std::vector<Mounted> mounted = parse_mounts(mounts);
  std::map<std::string, CgroupPlace> places;
  for (const char* controller : kControllers) {
    CgroupPlace chosen;
    for (const std::string& line : split(groups, '\n')) {
      const size_t first = line.find(':'), second = line.find(':', first + 1);
      if (second == std::string::npos) continue;
      const Words names = split(line.substr(first + 1, second - first - 1), ',');
      const bool own = has(names, controller);
      // Version 1 first: what is used there, version 2 does not offer.
      if (!own && !(names.empty() && chosen.folder.empty())) continue;
      for (const Mounted& mount : mounted) {
        if (!is_version(mount, own ? 1 : 2) || (own && !has(mount.options, controller))) continue;
        const std::string folder = folder_of(line.substr(second + 1), mount.root, mount.point);
        if (!folder.empty()) chosen = {own ? 1 : 2, folder, {}};
      }
    }
    if (chosen.folder.empty()) continue;
    CgroupPlace& place = places.try_emplace(chosen.folder, chosen).first->second;
    place.controllers.emplace_back(controller);
  }
  std::vector<CgroupPlace> found;
  for (auto& [folder, place] : places) found.push_back(std::move(place));
  return found;
}

std::vector<CgroupSetting> cgroup_settings(int version, const CgroupLimits& limits) {
  std::vector<CgroupSetting> settings;
  auto add = [&](const char* controller, const char* file, std::string value,
                 bool optional = false) {
    settings.push_back({controller, file, std::move(value), optional});
  };
  const auto quota = static_cast<int64_t>(limits.cpus * static_cast<double>(kCpuPeriodUs));
  if (limits.processes > 0) add("pids", "pids.max", fmt::format("{}", limits.processes));
  if (version == 2) {
    if (limits.memory_bytes > 0) {
      add("memory", "memory.max", fmt::format("{}", limits.memory_bytes));
      add("memory", "memory.swap.max", "0", true);  // else what is over goes there, slowly
      add("memory", "memory.oom.group", "1");
    }
    if (limits.cpus > 0) add("cpu", "cpu.max", fmt::format("{} {}", quota, kCpuPeriodUs));
  } else {
    if (limits.memory_bytes > 0)
      add("memory", "memory.limit_in_bytes", fmt::format("{}", limits.memory_bytes));
    if (limits.cpus > 0) {
      add("cpu", "cpu.cfs_period_us", fmt::format("{}", kCpuPeriodUs));
      add("cpu", "cpu.cfs_quota_us", fmt::format("{}", quota));
    }
  }
  return settings;
}

Cgroup::~Cgroup() {
  entrances_.clear();
  for (const std::string& folder : folders_) kill_all(folder);
  owner_.retire(std::move(folders_));
}

std::vector<int> Cgroup::entrances() const {
  std::vector<int> entrances;
  for (const FileDescriptor& file : entrances_) entrances.push_back(file.get());
  return entrances;
}

Cgroups::Cgroups(std::vector<CgroupPlace> places) : places_(std::move(places)) {
  for (const CgroupPlace& place : places_)
    controllers_.insert(controllers_.end(), place.controllers.begin(), place.controllers.end());
}

Cgroups::~Cgroups() {
  retire({});
}

bool Cgroups::bounds(std::string_view controller) const {
  return std::find(controllers_.begin(), controllers_.end(), controller) != controllers_.end();
}

std::expected<std::unique_ptr<Cgroups>, Error> Cgroups::open() {
  std::vector<CgroupPlace> usable;
  Words problems;
  for (CgroupPlace& place :
       cgroup_places(read_text("/proc/self/cgroup"), read_text("/proc/self/mountinfo"))) {
    std::string problem = prepare(place);
    if (problem.empty())
      usable.push_back(std::move(place));
    else
      problems.push_back(std::move(problem));
  }
  if (!usable.empty()) return std::unique_ptr<Cgroups>(new Cgroups(std::move(usable)));
  if (problems.empty()) problems.emplace_back("no cgroup file system is mounted here");
  return std::unexpected(Error(Errc::unavailable, fmt::format("{}", fmt::join(problems, "; "))));
}

std::unique_ptr<Cgroup> Cgroups::make(const CgroupLimits& limits) {
  retire({});
  uint64_t number;
  {
    MutexLock lock(mutex_);
    number = next_++;
  }
  std::unique_ptr<Cgroup> group(new Cgroup(*this));
  auto fail = [](const std::string& what) {
    throw Error(Errc::unavailable, "make a control group for the run: " + what);
  };
  for (const CgroupPlace& place : places_) {
    std::string folder = fmt::format("{}/{}{}-{}", place.folder, kRun, ::getpid(), number);
    if (::mkdir(folder.c_str(), 0755) != 0)
      fail(fmt::format("{}: {}", folder, std::generic_category().message(errno)));
    group->folders_.push_back(folder);
    for (const CgroupSetting& setting : cgroup_settings(place.version, limits)) {
      if (!has(place.controllers, setting.controller)) continue;
      const std::string file = fmt::format("{}/{}", folder, setting.file);
      if (setting.optional && ::access(file.c_str(), F_OK) != 0) continue;
      if (auto problem = write_text(file, setting.value); !problem.empty()) fail(problem);
    }
    group->entrances_.emplace_back(
        ::open((folder + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (!group->entrances_.back().is_open())
      fail(fmt::format("{}/cgroup.procs: {}", folder, std::generic_category().message(errno)));
  }
  return group;
}

void Cgroups::retire(std::vector<std::string> folders) {
  MutexLock lock(mutex_);
  retired_.insert(retired_.end(), folders.begin(), folders.end());
  // EBUSY while the kernel is still ending what was in it.
  std::erase_if(retired_,
                [](const auto& folder) { return ::rmdir(folder.c_str()) == 0 || errno != EBUSY; });
}

}  // namespace opscore
