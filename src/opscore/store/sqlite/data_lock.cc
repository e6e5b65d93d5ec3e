#include "opscore/store/sqlite/data_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <thread>

#include "opscore/base/error.h"

namespace opscore {
namespace {

constexpr auto kDyingMax = std::chrono::seconds(3);

// The lock is taken a moment before the pid is in it, so a reader may find the file empty: 0.
pid_t pid_of(int fd) {
  std::array<char, 32> text{};
  ssize_t got = ::pread(fd, text.data(), text.size() - 1, 0);
  return got > 0 ? static_cast<pid_t>(std::strtol(text.data(), nullptr, 10)) : 0;
}

std::string holder_of(int fd) {
  pid_t pid = pid_of(fd);
  return pid == 0 ? "another process" : fmt::format("process {}", pid);
}

// Also when only its entry is left, because nobody has waited for it yet.
bool is_dead(pid_t pid) {
  if (pid <= 0) return false;
  std::ifstream stat(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(stat, line)) return true;
  size_t name_end = line.rfind(')');
  return name_end != std::string::npos && line.compare(name_end, 3, ") Z") == 0;
}

// A supervisor that was killed takes its worker with it, which still has the lock while it dies:
// that is waited for. A living holder is not.
bool lock_or_outlast(int fd) {
  auto give_up = std::chrono::steady_clock::now() + kDyingMax;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    int problem = errno;
    bool dying = problem == EWOULDBLOCK && is_dead(pid_of(fd));
    if (!dying || std::chrono::steady_clock::now() > give_up) {
      errno = problem;
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

void write_pid(int fd, const std::string& path) {
  std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd, 0) == 0 &&
      ::pwrite(fd, pid.data(), pid.size(), 0) == static_cast<ssize_t>(pid.size()))
    return;
  int problem = errno;
  ::close(fd);
  throw Error(Errc::unavailable, fmt::format("lock '{}': cannot write to it: {}", path,
                                             std::generic_category().message(problem)));
}

// Beside the file itself, whichever link to it was named: there is one lock for one file.
std::string lock_path(const std::string& data_file) {
  constexpr int kLinksMax = 40;
  std::filesystem::path path = data_file;
  std::error_code unknown;
  for (int i = 0; i < kLinksMax && std::filesystem::is_symlink(path, unknown); ++i)
    path = path.parent_path() / std::filesystem::read_symlink(path, unknown);
  return path.string() + ".lock";
}

}  // namespace

DataLock::DataLock(const std::string& data_file) {
  std::string path = lock_path(data_file);
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0)
    throw Error(Errc::unavailable,
                fmt::format("lock '{}': {}; check that the folder exists and that this user may "
                            "write there",
                            path, std::generic_category().message(errno)));
  if (!lock_or_outlast(fd_)) {
    int problem = errno;
    std::string holder = holder_of(fd_);
    ::close(fd_);
    if (problem != EWOULDBLOCK)
      throw Error(Errc::unavailable,
                  fmt::format("lock '{}': {}", path, std::generic_category().message(problem)));
    throw Error(
        Errc::conflict,
        fmt::format("'{}' is in use by {}; stop that one first, or choose another data file",
                    data_file, holder));
  }
  write_pid(fd_, path);
}

// The file stays: removing it would let two processes lock two files of one name.
DataLock::~DataLock() {
  ::close(fd_);
}

}  // namespace opscore
