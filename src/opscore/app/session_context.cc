#include "opscore/app/session_context.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "opscore/app/version.h"
#include "opscore/base/json.h"

namespace opscore {
namespace {

std::string host() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

std::string path_or_empty(const char* link) {
  std::error_code ignored;
  return std::filesystem::read_symlink(link, ignored).string();
}

Json arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  Json list = Json::array();
  for (std::string argument; std::getline(file, argument, '\0');)
    list.push_back(to_valid_utf8(argument));
  return list;
}

}  // namespace

std::string session_name() {
  return fmt::format("{}:{}", host(), ::getpid());
}

std::string session_context() {
  return Json{{"executable", to_valid_utf8(path_or_empty("/proc/self/exe"))},
              {"argv", arguments()},
              {"pid", ::getpid()},
              {"ppid", ::getppid()},
              {"host", host()},
              {"uid", ::getuid()},
              {"cwd", to_valid_utf8(path_or_empty("/proc/self/cwd"))},
              {"version", version()},
              {"build", build_words()}}
      .dump();
}

}  // namespace opscore
