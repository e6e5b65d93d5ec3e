#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "opscore/api/request.h"
#include "opscore/base/error.h"

namespace opscore {

BodyFile::BodyFile(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  struct stat info{};
  if (fd_ < 0 || ::fstat(fd_, &info) != 0) {
    int problem = errno;
    if (fd_ >= 0) ::close(fd_);
    throw Error(Errc::not_found,
                fmt::format("read '{}': {}", path, std::generic_category().message(problem)));
  }
  bytes_ = info.st_size;
}

BodyFile::~BodyFile() {
  ::close(fd_);
}

}  // namespace opscore
