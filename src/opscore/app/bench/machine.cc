#include "opscore/app/bench/machine.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "opscore/base/time.h"

namespace opscore::bench {
namespace {

namespace fs = std::filesystem;

std::string mount_type(const std::string& folder) {
  struct statfs stats{};
  if (::statfs(folder.c_str(), &stats) != 0) return "unknown";
  switch (static_cast<unsigned long>(stats.f_type)) {
    case 0xef53:
      return "ext4";
    case 0x58465342:
      return "xfs";
    case 0x9123683e:
      return "btrfs";
    case 0x01021994:
      return "tmpfs";
    case 0x858458f6:
      return "ramfs";
    case 0x794c7630:
      return "overlayfs";
    case 0x6969:
      return "nfs";
    default:
      return fmt::format("0x{:x}", static_cast<unsigned long>(stats.f_type));
  }
}

// Microseconds of 8 KiB overwrite + fdatasync: median and 99th percentile of 500.
Json fsync_probe(const std::string& folder) {
  std::string path = folder + "/fsync-probe";
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) throw Error(Errc::unavailable, fmt::format("bench: cannot write {}", path));
  std::string block(8192, 'x');
  std::vector<double> times;
  for (int i = 0; i < 500; ++i) {
    auto began = std::chrono::steady_clock::now();
    if (::pwrite(fd, block.data(), block.size(), 0) < 0 || ::fdatasync(fd) != 0) break;
    times.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - began)
            .count());
  }
  ::close(fd);
  fs::remove(path);
  if (times.empty()) throw Error(Errc::unavailable, "bench: fdatasync failed");
  std::sort(times.begin(), times.end());
  return {{"p50_us", times[times.size() / 2]}, {"p99_us", times[times.size() * 99 / 100]}};
}

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

}  // namespace

Json describe_machine(const std::string& folder) {
  std::string type = mount_type(folder);
  if (type == "tmpfs" || type == "ramfs")
    throw Error(Errc::invalid,
                fmt::format("bench: {} is on {}, which forgets everything; figures without "
                            "durability mean nothing\n  choose a data folder on a disk with --data",
                            folder, type));
  utsname system{};
  ::uname(&system);
  return {{"file_system", type},
          {"fsync", fsync_probe(folder)},
          {"cpu", cpu_model()},
          {"cpus", std::thread::hardware_concurrency()},
          {"memory_mb", ::sysconf(_SC_PHYS_PAGES) / 256},
          {"kernel", system.release}};
}

double pss_mb(pid_t root) {
  double total_kb = 0;
  std::ifstream smaps(fmt::format("/proc/{}/smaps_rollup", root));
  for (std::string line; std::getline(smaps, line);)
    if (line.starts_with("Pss:")) total_kb += std::strtod(line.c_str() + 4, nullptr);
  std::error_code ignored;
  for (const auto& task : fs::directory_iterator(fmt::format("/proc/{}/task", root), ignored)) {
    std::ifstream children(task.path() / "children");
    for (pid_t child; children >> child;) total_kb += pss_mb(child) * 1024;
  }
  return total_kb / 1024;
}

namespace {

size_t entries_of(pid_t process, const char* folder) {
  fs::directory_iterator entries(fmt::format("/proc/{}/{}", process, folder));
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

}  // namespace

size_t threads_of(pid_t process) {
  return entries_of(process, "task");
}

size_t files_of(pid_t process) {
  return entries_of(process, "fd");
}

Json in_child(const std::function<Json()>& body) {
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) throw Error(Errc::unavailable, "bench: no pipe");
  pid_t child = ::fork();
  if (child < 0) throw Error(Errc::unavailable, "bench: cannot fork");
  if (child == 0) {
    std::string answer;
    try {
      answer = Json{{"ok", body()}}.dump();
    } catch (const std::exception& error) {
      answer = Json{{"error", error.what()}}.dump();
    }
    const char* rest = answer.data();
    for (size_t left = answer.size(); left > 0;) {
      ssize_t wrote = ::write(pipe_fds[1], rest, left);
      if (wrote <= 0) ::_exit(1);
      rest += wrote, left -= static_cast<size_t>(wrote);
    }
    ::_exit(0);
  }
  ::close(pipe_fds[1]);
  std::string answer;
  char buffer[65536];
  for (ssize_t got; (got = ::read(pipe_fds[0], buffer, sizeof buffer)) > 0;)
    answer.append(buffer, static_cast<size_t>(got));
  ::close(pipe_fds[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (answer.empty())
    throw Error(Errc::internal, fmt::format("bench: the measured process died, status {}", status));
  Json parsed = parse_json(answer);
  if (parsed.contains("error")) throw Error(Errc::internal, parsed["error"].get<std::string>());
  return parsed["ok"];
}

ScratchFolder::ScratchFolder(const std::string& beside) {
  fs::path parent = fs::path(beside).parent_path();
  if (parent.empty()) parent = ".";
  fs::create_directories(parent);
  path_ = (parent / fmt::format("bench-{}", ::getpid())).string();
  fs::create_directories(path_);
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace opscore::bench
