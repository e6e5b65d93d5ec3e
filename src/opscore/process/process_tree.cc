#include "opscore/process/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>

#include <cerrno>
#include <charconv>
#include <memory>
#include <sstream>

namespace opscore {
namespace {

std::optional<std::string> read_file(const std::string& path) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) return std::nullopt;
  std::string text;
  char buffer[4096];
  while (true) {
    ssize_t got = ::read(file.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
  }
}

// The names in a folder that are numbers: pids and thread ids.
std::vector<pid_t> numbers_in(const std::string& folder) {
  std::vector<pid_t> numbers;
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder.c_str()), ::closedir);
  if (!dir) return numbers;
  while (const dirent* entry = ::readdir(dir.get())) {
    std::string_view name = entry->d_name;
    pid_t number = 0;
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error == std::errc() && end == name.data() + name.size()) numbers.push_back(number);
  }
  return numbers;
}

// For kernels without CONFIG_PROC_CHILDREN.
std::vector<pid_t> children_by_scan(pid_t parent) {
  std::vector<pid_t> children;
  for (pid_t pid : numbers_in("/proc"))
    if (auto process = read_process(pid); process && process->parent == parent)
      children.push_back(pid);
  return children;
}

}  // namespace

std::optional<ProcessInfo> read_process(pid_t pid) {
  auto text = read_file(fmt::format("/proc/{}/stat", pid));
  if (!text) return std::nullopt;
  // pid (name) state parent group session ...; the name may itself hold ") ".
  size_t name_end = text->rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text->substr(name_end + 1));
  ProcessInfo process;
  process.pid = pid;
  fields >> process.state >> process.parent >> process.group >> process.session;
  std::string skipped;
  for (int field = 7; field < 22; ++field) fields >> skipped;
  fields >> process.started;
  if (!fields) return std::nullopt;
  return process;
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  std::string threads = fmt::format("/proc/{}/task", pid);
  for (pid_t thread : numbers_in(threads)) {
    auto text = read_file(fmt::format("{}/{}/children", threads, thread));
    if (!text) {
      if (::access(fmt::format("{}/{}", threads, thread).c_str(), F_OK) != 0) continue;
      return children_by_scan(pid);
    }
    std::istringstream fields(*text);
    for (pid_t child; fields >> child;) children.push_back(child);
  }
  return children;
}

std::vector<ProcessInfo> descendants_of(pid_t pid) {
  std::vector<ProcessInfo> found;
  std::vector<pid_t> parents{pid};
  while (!parents.empty()) {
    std::vector<pid_t> next;
    for (pid_t parent : parents)
      for (pid_t child : children_of(parent))
        if (auto process = read_process(child)) {
          found.push_back(*process);
          next.push_back(child);
        }
    parents = std::move(next);
  }
  return found;
}

std::optional<std::string> environment_of(pid_t pid, std::string_view name) {
  auto text = read_file(fmt::format("/proc/{}/environ", pid));
  if (!text) return std::nullopt;
  std::string_view rest = *text;
  while (!rest.empty()) {
    std::string_view entry = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=')
      return std::string(entry.substr(name.size() + 1));
  }
  return std::nullopt;
}

// By number: the wrappers of glibc 2.36 lack C linkage.
FileDescriptor open_process(pid_t pid) {
  return FileDescriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

bool signal_exactly(const ProcessInfo& process, int signal) {
  FileDescriptor handle = open_process(process.pid);
  if (!handle.is_open()) return false;
  auto now = read_process(process.pid);
  if (!now || now->started != process.started) return false;
  return ::syscall(SYS_pidfd_send_signal, handle.get(), signal, nullptr, 0) == 0;
}

}  // namespace opscore
