#include "opscore/process/sandbox.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "opscore/process/exit_status.h"
#include "opscore/process/find_program.h"
#include "opscore/process/process_tree.h"

namespace opscore {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

constexpr Duration kProbeMax{10'000};
constexpr char kPrlimit[] = "/usr/bin/prlimit";  // of util-linux
constexpr int kNotRun = 127;                     // as a shell has it

// Programs and libraries. On merged systems all but the first are symbolic links.
constexpr const char* kSystemFolders[] = {"/usr",   "/bin",   "/sbin",  "/lib",
                                          "/lib32", "/lib64", "/libx32"};
// What libraries look up. The rest of /etc is nobody's business: passwords, keys, configurations.
constexpr const char* kSystemFiles[] = {"/etc/alternatives",    "/etc/bash.bashrc",
                                        "/etc/ca-certificates", "/etc/ca-certificates.conf",
                                        "/etc/crypto-policies", "/etc/debian_version",
                                        "/etc/fonts",           "/etc/gai.conf",
                                        "/etc/group",           "/etc/host.conf",
                                        "/etc/hostname",        "/etc/hosts",
                                        "/etc/inputrc",         "/etc/ld.so.cache",
                                        "/etc/ld.so.conf",      "/etc/ld.so.conf.d",
                                        "/etc/locale.alias",    "/etc/locale.conf",
                                        "/etc/localtime",       "/etc/magic",
                                        "/etc/magic.mime",      "/etc/mime.types",
                                        "/etc/nsswitch.conf",   "/etc/os-release",
                                        "/etc/passwd",          "/etc/pki/ca-trust",
                                        "/etc/pki/tls/certs",   "/etc/profile",
                                        "/etc/protocols",       "/etc/resolv.conf",
                                        "/etc/services",        "/etc/shells",
                                        "/etc/ssl/certs",       "/etc/ssl/openssl.cnf",
                                        "/etc/terminfo",        "/etc/timezone"};

bool exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

std::string tidy(const fs::path& path) {
  std::string text = fs::absolute(path).lexically_normal().string();
  if (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

// Without symbolic links, as far as it exists.
std::string real(const fs::path& path) {
  std::error_code failed;
  fs::path found = fs::weakly_canonical(path, failed);
  return tidy(failed ? path : found);
}

// Parents first, so that a path that leads over another's symbolic link finds it there.
Words sorted(Words paths) {
  std::sort(paths.begin(), paths.end());
  return paths;
}

// What stands where inside. Parents come before what is in them, as in the order of their names.
class FileSystem {
 public:
  explicit FileSystem(uint64_t tmp_bytes) {
    const std::string size = fmt::format("{}", tmp_bytes);
    for (const char* folder : kSystemFolders) add_system(folder);
    for (const char* file : kSystemFiles)
      if (exists(file)) put(file, Kind::system, {"--ro-bind", file, file});
    put("/dev", Kind::own, {"--dev", "/dev"});
    put("/proc", Kind::own, {"--proc", "/proc"});
    for (const char* folder : {"/dev/shm", "/tmp"})
      put(folder, Kind::own, {"--perms", "1777", "--size", size, "--tmpfs", folder});
  }

  void hide_folder(const std::string& path) {
    if (path != "/" && !entries_.contains(path) && !is_in_hidden(path))
      put(path, Kind::hidden_folder, {"--perms", "0755", "--tmpfs", path});
  }
  // Not by an empty file: whoever reads it is to learn that it is not to be read.
  void hide_file(const std::string& path) {
    if (is_shown(path)) put(path, Kind::hidden_file, {"--ro-bind", "/dev/null", path});
  }
  void show(const std::string& path, const char* how) {
    const std::string target = real(path);
    put(target, Kind::shown, {how, target, target});
    link(path, target);
  }
  // The working folder, unless that would be everything, or what is private or hidden here.
  void show_cwd(const std::string& path) {
    const std::string target = real(path);
    if (target != "/" && !entries_.contains(target)) show_if_hidden(path);
  }
  // For a program that is known by a path which may not be there inside.
  void show_if_hidden(const std::string& path) {
    const std::string target = real(path);
    if (is_shown(target))
      link(path, target);
    else
      show(path, "--ro-bind");
  }

  Words words() const {
    Words words;
    for (const auto& [path, entry] : entries_) {
      // The system's are there with a folder around them, perhaps as symbolic links.
      if (entry.kind == Kind::system && path != "/" && is_shown(fs::path(path).parent_path()))
        continue;
      words.insert(words.end(), entry.words.begin(), entry.words.end());
    }
    // At last, for what is mounted below them needs a place first. Why /proc: without it a program
    // of root could write what belongs to root there, even without capabilities, and
    // /proc/sys/kernel/core_pattern alone is a way out.
    Words read_only{"/proc", "/dev"};
    for (const auto& [path, entry] : entries_)
      if (entry.kind == Kind::hidden_folder) read_only.push_back(path);
    if (!entries_.contains("/")) read_only.emplace_back("/");
    for (const std::string& path : read_only) {
      words.emplace_back("--remount-ro");
      words.push_back(path);
    }
    return words;
  }

 private:
  enum class Kind : uint8_t { system, own, shown, hidden_folder, hidden_file };
  struct Entry {
    Kind kind;
    Words words;
  };

  void put(const std::string& path, Kind kind, Words words) {
    entries_[path] = {kind, std::move(words)};
  }

  void add_system(const std::string& folder) {
    std::error_code failed;
    fs::path target = fs::read_symlink(folder, failed);
    if (!failed)
      put(folder, Kind::system, {"--symlink", target.string(), folder});
    else if (is_folder(folder))
      put(folder, Kind::system, {"--ro-bind", folder, folder});
  }

  // The name under which it is known, when that is not where it is. A link and not a second mount:
  // what is hidden in it stays hidden.
  void link(const std::string& path, const std::string& target) {
    const std::string known_as = tidy(path);
    if (known_as != target && !is_shown(known_as))
      put(known_as, Kind::shown, {"--symlink", target, known_as});
  }

  // What stands at the path or, if nothing does, around it.
  const Entry* entry_around(const fs::path& path) const {
    for (fs::path at = path;; at = at.parent_path()) {
      if (auto entry = entries_.find(at.string()); entry != entries_.end()) return &entry->second;
      if (at == at.parent_path()) return nullptr;
    }
  }
  bool is_shown(const fs::path& path) const {
    const Entry* entry = entry_around(path);
    return entry && (entry->kind == Kind::shown || entry->kind == Kind::system);
  }
  bool is_in_hidden(const fs::path& path) const {
    const Entry* entry = entry_around(path);
    return entry && entry->kind == Kind::hidden_folder;
  }

  std::map<std::string, Entry> entries_;
};

Words file_system(const ChildOptions& child, const std::string& cwd, const SandboxRules& rules) {
  FileSystem files(rules.tmp_bytes);
  std::set<std::string> named;
  for (const Words* paths : {&rules.read, &rules.write})
    for (const std::string& path : *paths) named.insert(real(path));
  for (const std::string& path : sorted(rules.hidden))
    if (is_folder(path)) files.hide_folder(real(path));
  for (const std::string& path : sorted(rules.read)) files.show(path, "--ro-bind");
  for (const std::string& path : sorted(rules.write)) files.show(path, "--bind");
  files.show_cwd(cwd);
  files.show_if_hidden(child.program);
  for (const std::string& path : rules.hidden)
    if (exists(path) && !is_folder(path) && !named.contains(real(path)))
      files.hide_file(real(path));
  return files.words();
}

[[noreturn]] void fail(const std::string& what, int error) {
  throw Error(Errc::unavailable,
              fmt::format("{}: {}", what, std::generic_category().message(error)));
}

// Starts it in our own session, where no Reaper takes it for something left behind. Its stderr goes
// to the descriptor. The error's number when it cannot be started.
std::expected<pid_t, int> spawn(const ChildOptions& options, int err) {
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  int error = ::posix_spawn(&pid, options.program.c_str(), &files, &attributes,
                            pointers_to(options.argv).data(), pointers_to(options.env).data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&files);
  if (error != 0) return std::unexpected(error);
  return pid;
}

// How it ended and what it said on stderr; killed when it takes too long.
std::pair<ExitStatus, std::string> run_briefly(const ChildOptions& options) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) fail("open a pipe", errno);
  FileDescriptor read(ends[0]), write(ends[1]);
  const std::expected<pid_t, int> started = spawn(options, write.get());
  if (!started)
    return {ExitStatus{kNotRun, 0, false}, std::generic_category().message(started.error())};
  const pid_t pid = *started;
  const FileDescriptor handle = open_process(pid);
  const Deadline deadline = Deadline::after(kProbeMax);
  pollfd ended{handle.get(), POLLIN, 0};
  int answer;
  do {
    answer = ::poll(&ended, 1, static_cast<int>(deadline.left().count()));
  } while (answer < 0 && errno == EINTR);
  std::string words = answer == 0 ? fmt::format("no answer within {}", to_text(kProbeMax)) : "";
  if (answer == 0) ::kill(pid, SIGKILL);
  int status = 0;
  pid_t waited;
  do {
    waited = ::waitpid(pid, &status, 0);
  } while (waited < 0 && errno == EINTR);
  if (waited != pid) fail("wait for " + options.program, errno);
  std::array<char, 4096> buffer;
  ssize_t got = ::read(read.get(), buffer.data(), buffer.size());
  if (got > 0) words.append(buffer.data(), static_cast<size_t>(got));
  while (words.ends_with('\n')) words.pop_back();
  return {ExitStatus::from_wait(status), words};
}

}  // namespace

std::map<std::string, std::string> real_places(const ChildOptions& child,
                                               const SandboxRules& rules) {
  std::map<std::string, std::string> places{{child.program, real(child.program)}};
  if (!child.cwd.empty()) places[child.cwd] = real(child.cwd);
  for (const Words* paths : {&rules.read, &rules.write})
    for (const std::string& path : *paths) places[path] = real(path);
  return places;
}

ChildOptions sandboxed(const std::string& bwrap, const ChildOptions& child,
                       const SandboxRules& rules) {
  const std::string cwd = child.cwd.empty() ? fs::current_path().string() : child.cwd;
  // --unshare-all would do without a user namespace where there is none; and without --cap-drop a
  // server of root would hand its capabilities on.
  Words words{bwrap,        "--unshare-all", "--unshare-user", "--disable-userns",
              "--cap-drop", "ALL",           "--new-session",  "--die-with-parent"};
  if (rules.network) words.emplace_back("--share-net");
  for (std::string& word : file_system(child, cwd, rules)) words.push_back(std::move(word));
  ChildOptions wrapped = child;
  words.insert(words.end(), {"--chdir", real(cwd), "--"});
  // Set inside it counts what is inside; set before, it would count all that the user runs.
  if (const uint64_t processes = std::exchange(wrapped.limits.processes, 0))
    words.insert(words.end(), {kPrlimit, fmt::format("--nproc={0}:{0}", processes), "--"});
  words.push_back(tidy(child.program));
  if (!child.argv.empty()) words.insert(words.end(), child.argv.begin() + 1, child.argv.end());
  wrapped.program = bwrap;
  wrapped.argv = std::move(words);
  wrapped.contained = true;
  return wrapped;
}

std::expected<std::string, Error> find_sandbox(const std::string& search_path) {
  auto bwrap = find_program("bwrap", "", search_path);
  if (!bwrap)
    return std::unexpected(
        Error(Errc::unavailable, fmt::format("{}; install bubblewrap (Debian, Ubuntu: apt-get "
                                             "install bubblewrap)",
                                             bwrap.error().message())));
  auto shell = find_program("sh", "", "/usr/bin:/bin");
  if (!shell) return std::unexpected(shell.error());
  SandboxRules rules;
  rules.tmp_bytes = 1 << 20;
  ChildOptions probe;
  probe.program = *shell;
  probe.argv = {"sh", "-c", "exit 0"};
  probe.cwd = "/";
  probe.limits.processes = 16;
  probe.env = {"PATH=/usr/bin:/bin"};
  auto [status, words] = run_briefly(sandboxed(*bwrap, probe, rules));
  if (status.success()) return *bwrap;
  return std::unexpected(Error(
      Errc::unavailable,
      fmt::format("{} cannot make a sandbox here: {}{}{}; it needs user namespaces, which this "
                  "kernel or container forbids to this user: see docs/howto/sandbox.md, \"When "
                  "it does not work here\"",
                  *bwrap, words, words.empty() ? "" : ", ", status.words())));
}

}  // namespace opscore
