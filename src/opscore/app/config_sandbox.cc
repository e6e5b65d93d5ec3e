#include "opscore/app/config_sandbox.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "opscore/process/find_program.h"
#include "opscore/process/sandbox.h"

namespace opscore {
namespace {

namespace fs = std::filesystem;
using Problems = std::vector<std::string>;

constexpr double kCpusMin = 0.01;  // the kernel takes no less than a millisecond per 100

// Of this user and of all that live in the usual places.
std::vector<std::string> home_folders(const Config& config) {
  std::vector<std::string> homes{"/root", "/home"};
  if (auto home = config.lookup("HOME")) homes.push_back(*home);
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(4096);
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found)
    homes.emplace_back(found->pw_dir);
  std::error_code ignored;
  for (const fs::directory_entry& user : fs::directory_iterator("/home", ignored))
    homes.push_back(user.path());
  // A user without a home has / or something that is no folder.
  std::erase_if(homes, [](const std::string& home) { return home.empty() || home == "/"; });
  return homes;
}

bool is_same(const fs::path& one, const fs::path& other) {
  std::error_code failed;
  return fs::equivalent(one, other, failed) && !failed;
}

fs::path folder_of(const ActorConfig& actor) {
  return actor.cwd.empty() ? fs::current_path() : fs::path(actor.cwd);
}

class SandboxChecker {
 public:
  SandboxChecker(Config& config, Problems& problems) : config_(config), problems_(problems) {}

  void check(ActorConfig& actor) {
    check_paths(actor, "read", actor.read);
    check_paths(actor, "write", actor.write);
    if (actor.limits.cpus > 0 && actor.limits.cpus < kCpusMin)
      report(actor.origins.at("limits.cpus"),
             fmt::format("{}.limits.cpus must be 0 or at least {}", place(actor), kCpusMin));
    check_cwd(actor);
    find();
    if (config_.sandbox.problem.empty()) return;
    if (actor.sandbox == "required")
      report(origin_of_mode(actor),
             fmt::format("{} requires a sandbox, and there is none: {}. Or set sandbox = "
                         "\"preferred\" to run it without one where there is none",
                         place(actor), config_.sandbox.problem));
    else
      config_.notes.push_back(fmt::format("{}: WARNING: {} runs WITHOUT the sandbox it prefers: {}",
                                          origin_of_mode(actor).words(), place(actor),
                                          config_.sandbox.problem));
  }

  void note_idle_settings(const ActorConfig& actor) {
    for (const char* key : {"network", "read", "write", "tmp_max", "limits.cpus"})
      if (auto origin = actor.origins.find(key); origin != actor.origins.end())
        config_.notes.push_back(fmt::format("{}: {}.{} has no effect: its sandbox is off",
                                            origin->second.words(), place(actor), key));
  }

 private:
  static std::string place(const ActorConfig& actor) { return "actors." + actor.name; }

  void report(const Origin& origin, std::string_view what) {
    problems_.push_back(fmt::format("{}: {}", origin.words(), what));
  }

  Origin origin_of_mode(const ActorConfig& actor) const {
    auto own = actor.origins.find("sandbox");
    return own != actor.origins.end() ? own->second : config_.origin_of("sandbox.mode");
  }

  void check_paths(const ActorConfig& actor, const char* key,
                   const std::vector<std::string>& paths) {
    for (const std::string& path : paths) {
      std::string problem;
      std::error_code ignored;
      const auto parts = fs::path(path).relative_path();
      const std::string top = parts.empty() ? "" : parts.begin()->string();
      if (path.empty())
        problem = "an empty path";
      else if (top == "proc" || top == "dev")
        problem = fmt::format("{}: a sandbox has its own /{}", path, top);
      else if (path == "/" && std::string_view(key) == "write")
        problem = "/: that would be no sandbox; name the folders";
      else if (!fs::exists(path, ignored))
        problem = fmt::format("{}: no such file or folder", path);
      if (!problem.empty())
        report(actor.origins.at(key), fmt::format("{}.{}: {}", place(actor), key, problem));
    }
  }

  // Only a folder that somebody chose is shown although it is a home.
  void check_cwd(const ActorConfig& actor) {
    if (actor.origins.contains("cwd")) return;
    auto is_cwd = [&](const std::string& path) { return is_same(path, folder_of(actor)); };
    for (const auto* named : {&actor.read, &actor.write})
      if (std::any_of(named->begin(), named->end(), is_cwd)) return;
    auto private_folders = home_folders(config_);
    private_folders.emplace_back("/etc");  // where a configuration is often kept, among others
    if (std::any_of(private_folders.begin(), private_folders.end(), is_cwd))
      report(actor.origin, fmt::format("{} would run in {}, which its sandbox hides: set cwd to a "
                                       "folder of its own, or to this one if it may read all of it",
                                       place(actor), folder_of(actor).string()));
  }

  // Once for all actors.
  void find() {
    auto& sandbox = config_.sandbox;
    if (!sandbox.program.empty() || !sandbox.problem.empty()) return;
    auto found = find_sandbox(config_.lookup("PATH").value_or(search_path()));
    if (found)
      sandbox.program = *found;
    else
      sandbox.problem = found.error().message();
  }

  Config& config_;
  Problems& problems_;
};

}  // namespace

void check_sandbox(Config& config, Role role, Problems& problems) {
  const bool runs = role == Role::up || role == Role::worker || role == Role::inspect;
  SandboxChecker checker(config, problems);
  for (ActorConfig& actor : config.actors) {
    if (actor.kind != "exec") continue;  // nothing is started
    if (actor.sandbox.empty()) actor.sandbox = config.sandbox.mode;
    if (!runs) continue;
    if (actor.sandbox == "off")
      checker.note_idle_settings(actor);
    else
      checker.check(actor);
  }
}

std::string unsandboxed(const Config& config, const ActorConfig& actor) {
  return actor.sandbox == "preferred" ? config.sandbox.problem : "";
}

std::vector<std::string> hidden_from(const Config& config, const ActorConfig& actor) {
  std::vector<std::string> hidden = home_folders(config);
  // A folder that was chosen to run in is named, even if it is a home.
  if (actor.origins.contains("cwd"))
    std::erase_if(hidden, [&](const std::string& home) { return is_same(home, actor.cwd); });
  for (const char* secret : {"/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-"})
    hidden.emplace_back(secret);
  const fs::path data = fs::absolute(config.store.path);
  // Where a program runs in the very folder of the data, its files are hidden one by one.
  if (!is_same(data.parent_path(), folder_of(actor))) hidden.push_back(data.parent_path());
  for (const char* suffix : {"", "-wal", "-shm", "-journal", ".lock"})
    hidden.push_back(data.string() + suffix);
  hidden.push_back(fs::absolute(config.store.exports));
  for (const Config::File& file : config.files) hidden.push_back(file.path);
  if (!config.server.token_file.empty()) hidden.push_back(config.server.token_file);
  return hidden;
}

}  // namespace opscore
