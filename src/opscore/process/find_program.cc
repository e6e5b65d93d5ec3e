#include "opscore/process/find_program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace opscore {
namespace {

namespace fs = std::filesystem;

bool may_run(const fs::path& file) {
  std::error_code ignored;
  return fs::is_regular_file(file, ignored) &&
         ::faccessat(AT_FDCWD, file.c_str(), X_OK, AT_EACCESS) == 0;
}

std::string why_not(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return "no such file";
  if (!fs::is_regular_file(file, ignored)) return "not a regular file";
  return "not executable (chmod +x it)";
}

// The program on the #! line of a script; empty when there is none.
std::string interpreter_of(const fs::path& file) {
  std::ifstream script(file, std::ios::binary);
  char mark[2] = {};
  if (!script.read(mark, 2) || mark[0] != '#' || mark[1] != '!') return {};
  std::string line;
  std::getline(script, line);
  std::istringstream words(line.substr(0, 255));
  std::string interpreter;
  words >> interpreter;
  return interpreter;
}

std::expected<std::string, Error> checked(const fs::path& file) {
  std::string interpreter = interpreter_of(file);
  if (!interpreter.empty() && !may_run(interpreter))
    return std::unexpected(
        Error(Errc::invalid, fmt::format("cannot run '{}': its interpreter '{}': {}", file.string(),
                                         interpreter, why_not(interpreter))));
  return file.string();
}

}  // namespace

std::string search_path() {
  const char* path = std::getenv("PATH");
  return path != nullptr && *path != '\0' ? path : "/usr/local/bin:/usr/bin:/bin";
}

std::expected<std::string, Error> find_program(const std::string& command, const std::string& cwd,
                                               const std::string& path) {
  if (command.empty()) return std::unexpected(Error(Errc::invalid, "the command is empty"));
  if (command.find('\0') != std::string::npos)
    return std::unexpected(Error(Errc::invalid, "the command holds a NUL character"));
  std::error_code error;
  fs::path base = fs::absolute(cwd.empty() ? fs::path(".") : fs::path(cwd), error);
  if (command.find('/') != std::string::npos) {
    fs::path file = (base / command).lexically_normal();
    if (may_run(file)) return checked(file);
    return std::unexpected(Error(Errc::invalid, fmt::format("cannot run '{}': {}: {}", command,
                                                            file.string(), why_not(file))));
  }
  std::istringstream folders(path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    fs::path file = (base / folder / command).lexically_normal();
    if (may_run(file)) return checked(file);
  }
  return std::unexpected(
      Error(Errc::invalid, fmt::format("no program '{}' in PATH ({})", command, path)));
}

std::expected<std::string, Error> find_program(const std::string& command, const std::string& cwd) {
  return find_program(command, cwd, search_path());
}

}  // namespace opscore
