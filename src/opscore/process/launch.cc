#include "opscore/process/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>

namespace opscore {
namespace {

// "HUP" -> "SIGHUP"; those of the C library have only numbers.
std::string signal_name(int number) {
  const char* name = ::sigabbrev_np(number);
  return name ? fmt::format("SIG{}", name) : fmt::format("signal {}", number);
}

}  // namespace

std::vector<std::string> signals_of(std::string_view mask_hex) {
  uint64_t mask = 0;
  std::from_chars(mask_hex.data(), mask_hex.data() + mask_hex.size(), mask, 16);
  std::vector<std::string> names;
  for (int number = 1; number <= 64; ++number)
    if (mask >> (number - 1) & 1) names.push_back(signal_name(number));
  return names;
}

std::string file_words(int fd) {
  struct stat info{};
  if (::fstat(fd, &info) != 0) return "closed";
  std::error_code ignored;
  const std::string path =
      std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", fd), ignored).string();
  if (S_ISFIFO(info.st_mode)) return path.starts_with("/") ? "named pipe " + path : "pipe";
  if (S_ISSOCK(info.st_mode)) return "socket";
  if (S_ISCHR(info.st_mode)) return ::isatty(fd) ? "terminal " + path : path;
  return "file " + path;
}

Launch look_at_launch() {
  Launch launch;
  for (int fd = 0; fd < 3; ++fd) launch.files[static_cast<size_t>(fd)] = file_words(fd);
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    const size_t tab = line.find('\t');
    if (tab == line.npos) continue;
    if (line.starts_with("SigBlk:")) launch.blocked = signals_of(line.substr(tab + 1));
    if (line.starts_with("SigIgn:")) launch.ignored = signals_of(line.substr(tab + 1));
  }
  const int terminal = ::open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
  launch.has_terminal = terminal >= 0;
  if (terminal >= 0) ::close(terminal);
  return launch;
}

}  // namespace opscore
