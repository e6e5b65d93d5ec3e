#include "opscore/engine/export_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "opscore/base/error.h"

namespace opscore {
namespace {

constexpr size_t kPiece = 1 << 20;

}  // namespace

ExportFile::ExportFile(std::string path, int64_t length, int64_t reserve_bytes)
    : path_(std::move(path)), length_(length) {
  auto folder = std::filesystem::path(path_).parent_path();
  std::error_code ignored;  // open() says what is wrong with it
  if (length == 0 && std::filesystem::create_directories(folder, ignored))
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all, ignored);
  fd_ = ::open(path_.c_str(), O_RDWR | O_CLOEXEC | (length == 0 ? O_CREAT : 0), 0600);
  if (fd_ < 0) fail("open");
  try {
    struct stat info{};
    if (::fstat(fd_, &info) != 0) fail("open");
    if (info.st_size < length)
      throw Error(Errc::unavailable,
                  fmt::format("go on with '{}': it has {} bytes, and {} were written; start the "
                              "export again",
                              path_, info.st_size, length),
                  false);
    struct statvfs disk{};
    if (::fstatvfs(fd_, &disk) != 0) fail("look at the disk of");
    if (static_cast<int64_t>(disk.f_bavail * disk.f_frsize) < reserve_bytes)
      throw Error(Errc::disk_low,
                  fmt::format("write '{}': fewer than {} bytes would stay free on its disk, which "
                              "are kept for the tasks; free some space and start the export again",
                              path_, reserve_bytes));
    if (::ftruncate(fd_, length) != 0) fail("cut");
  } catch (const Error&) {
    ::close(fd_);
    throw;
  }
}

ExportFile::~ExportFile() {
  ::close(fd_);
}

void ExportFile::append(const std::string& bytes) {
  unwritten_ += bytes;
  if (unwritten_.size() >= kPiece) flush();
}

void ExportFile::flush() {
  for (size_t done = 0; done < unwritten_.size();) {
    ssize_t wrote = ::pwrite(fd_, unwritten_.data() + done, unwritten_.size() - done, length_);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) fail("write");
    done += static_cast<size_t>(wrote);
    length_ += wrote;
  }
  unwritten_.clear();
}

int64_t ExportFile::sync() {
  flush();
  if (::fdatasync(fd_) != 0) fail("write");
  return length_;
}

void ExportFile::fail(const char* doing) const {
  int problem = errno;
  bool full = problem == ENOSPC || problem == EDQUOT;
  throw Error(full ? Errc::disk_low : Errc::unavailable,
              fmt::format("{} '{}': {}; {}, and start the export again", doing, path_,
                          std::generic_category().message(problem),
                          full ? "free some space" : "check folder and permissions"),
              false);
}

void remove_file(const std::string& path) {
  std::error_code ignored;  // it is of no use any longer, wherever it is
  std::filesystem::remove(path, ignored);
}

}  // namespace opscore
