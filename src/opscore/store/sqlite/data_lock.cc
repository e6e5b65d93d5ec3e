#include "opscore/store/sqlite/data_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "opscore/base/error.h"

namespace opscore {
namespace {

// The lock is taken a moment before the pid is in it, so a reader may find the file empty.
std::string holder_of(int fd) {
  std::array<char, 32> text{};
  ssize_t got = ::pread(fd, text.data(), text.size() - 1, 0);
  std::string pid(text.data(), got > 0 ? static_cast<size_t>(got) : 0);
  while (!pid.empty() && pid.back() == '\n') pid.pop_back();
  return pid.empty() ? "another process" : "process " + pid;
}

void write_pid(int fd, const std::string& path) {
  std::string pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd, 0) == 0 &&
      ::pwrite(fd, pid.data(), pid.size(), 0) == static_cast<ssize_t>(pid.size()))
    return;
  int problem = errno;
  ::close(fd);
  throw Error(Errc::unavailable,
              fmt::format("lock '{}': cannot write to it: {}", path, std::strerror(problem)));
}

}  // namespace

DataLock::DataLock(const std::string& data_file) {
  std::string path = data_file + ".lock";
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0)
    throw Error(Errc::unavailable,
                fmt::format("lock '{}': {}; check that the folder exists and that this user may "
                            "write there",
                            path, std::strerror(errno)));
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    int problem = errno;
    std::string holder = holder_of(fd_);
    ::close(fd_);
    if (problem != EWOULDBLOCK)
      throw Error(Errc::unavailable, fmt::format("lock '{}': {}", path, std::strerror(problem)));
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
