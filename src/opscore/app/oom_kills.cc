#include <fstream>
#include <sstream>
#include <string>

#include "opscore/app/supervisor.h"

namespace opscore {
namespace {

// The number behind `name` in a file of "name number" lines.
std::optional<uint64_t> number_in(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    uint64_t number = 0;
    if (words >> word >> number && word == name) return number;
  }
  return std::nullopt;
}

}  // namespace

uint64_t read_oom_kills() {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    // "0::/path" is version 2, "4:memory:/path" version 1.
    std::string file;
    if (line.starts_with("0::"))
      file = "/sys/fs/cgroup" + line.substr(3) + "/memory.events";
    else if (size_t at = line.find(":memory:"); at != std::string::npos)
      file = "/sys/fs/cgroup/memory" + line.substr(at + 8) + "/memory.oom_control";
    if (auto count = number_in(file, "oom_kill")) return *count;
  }
  return number_in("/proc/vmstat", "oom_kill").value_or(0);
}

}  // namespace opscore
