#include "opscore/app/ready_signal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "opscore/base/error.h"
#include "opscore/process/file_descriptor.h"

namespace opscore {
namespace {

constexpr std::string_view kLine = "ready\n";

std::string words(int error) {
  return std::generic_category().message(error);
}

}  // namespace

ReadySignal::ReadySignal(std::optional<int> fd, std::string file)
    : fd_(fd.value_or(-1)), file_(std::move(file)) {
  if (fd) {
    const int flags = ::fcntl(*fd, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
      throw Error(Errc::invalid,
                  fmt::format("--ready-fd {}: {}; pass the writing end of a pipe, open", *fd,
                              flags < 0 ? "it is not open" : "it is open for reading only"));
    ::fcntl(*fd, F_SETFD, FD_CLOEXEC);
  }
  if (file_.empty()) return;
  const std::string folder = file_.substr(0, file_.rfind('/') + 1);
  if (::access(folder.empty() ? "." : folder.c_str(), W_OK) != 0)
    throw Error(Errc::invalid, fmt::format("--ready-file {}: its folder cannot be written: {}",
                                           file_, words(errno)));
  ::unlink(file_.c_str());
}

ReadySignal::~ReadySignal() {
  over();
  leave_to_child();
}

std::string ReadySignal::ready() {
  if (said_.exchange(true)) return {};
  std::string problem = file_.empty() ? std::string() : write_file();
  if (int fd = fd_.exchange(-1); fd >= 0) {
    if (::write(fd, kLine.data(), kLine.size()) != static_cast<ssize_t>(kLine.size()))
      problem = fmt::format("--ready-fd {}: {}", fd, words(errno));
    ::close(fd);
  }
  return problem;
}

// Under another name first: who sees the file finds the process id in it.
std::string ReadySignal::write_file() const {
  const std::string fresh = fmt::format("{}.{}", file_, ::getpid());
  const std::string text = fmt::format("{}\n", ::getpid());
  {
    FileDescriptor file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!file.is_open() ||
        ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      return fmt::format("--ready-file {}: {}", file_, words(errno));
  }
  if (std::rename(fresh.c_str(), file_.c_str()) == 0) return {};
  return fmt::format("--ready-file {}: {}", file_, words(errno));
}

void ReadySignal::over() {
  if (!file_.empty()) ::unlink(file_.c_str());
}

void ReadySignal::leave_to_child() {
  if (int fd = fd_.exchange(-1); fd >= 0) ::close(fd);
}

}  // namespace opscore
