#include "opscore/app/open_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace opscore {
namespace {

constexpr rlim_t kBeside = 256;            // data files, pipes of programs, outgoing requests
constexpr rlim_t kEnoughForAll = 1 << 20;  // some systems' hard limit is next to infinite

}  // namespace

void hold_standard_files() {
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF)
      ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);  // takes the lowest number
}

OpenFiles raise_open_files(int connections_max) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return {0, fmt::format("the limit of open files cannot be read: {}",
                           std::generic_category().message(errno))};
  const uint64_t before = limit.rlim_cur;
  limit.rlim_cur = std::max(limit.rlim_cur, std::min(limit.rlim_max, kEnoughForAll));
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    return {before, fmt::format("the limit of open files cannot be raised to {}: {}",
                                limit.rlim_cur, std::generic_category().message(errno))};
  auto wanted = static_cast<rlim_t>(connections_max) + kBeside;
  if (limit.rlim_cur >= wanted) return {before, std::nullopt};
  return {before,
          fmt::format(
              "this process may have {} files open, too few for server.connections_max = {}, which "
              "needs {}: raise the hard limit (ulimit -Hn, LimitNOFILE of the service) or lower "
              "the setting; "
              "until then connections that have been idle longest are closed earlier",
              limit.rlim_cur, connections_max, wanted)};
}

}  // namespace opscore
