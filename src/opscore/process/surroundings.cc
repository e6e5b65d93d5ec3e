#include "opscore/process/surroundings.h"

#include <elf.h>
#include <fmt/format.h>
#include <link.h>
#include <pwd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "opscore/process/process_tree.h"

namespace opscore {
namespace {

constexpr size_t kAncestorsMax = 16;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

bool exists(const char* path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string limit_words(rlim_t limit) {
  return limit == RLIM_INFINITY ? "unlimited" : std::to_string(limit);
}

// Of the program itself, which is the first that the callback is called for.
int find_build_id(dl_phdr_info* info, size_t, void* found) {
  constexpr size_t kAlign = 4;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type != PT_NOTE) continue;
    // The loader tells addresses as numbers. NOLINTNEXTLINE(performance-no-int-to-ptr)
    const auto* at = reinterpret_cast<const char*>(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    const char* end = at + info->dlpi_phdr[i].p_memsz;
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      ElfW(Nhdr) note;
      std::memcpy(&note, at, sizeof note);
      const char* name = at + sizeof note;
      const char* id = name + (note.n_namesz + kAlign - 1) / kAlign * kAlign;
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof ELF_NOTE_GNU &&
          std::memcmp(name, ELF_NOTE_GNU, sizeof ELF_NOTE_GNU) == 0) {
        auto& text = *static_cast<std::string*>(found);
        for (size_t byte = 0; byte < note.n_descsz; ++byte)
          text += fmt::format("{:02x}", static_cast<unsigned char>(id[byte]));
        return 1;
      }
      at = id + (note.n_descsz + kAlign - 1) / kAlign * kAlign;
    }
  }
  return 1;
}

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

std::string user_name() {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(::getuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found)
    return found->pw_name;
  return std::to_string(::getuid());
}

std::string build_id() {
  std::string id;
  ::dl_iterate_phdr(find_build_id, &id);
  return id;
}

std::vector<std::string> arguments_of(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/cmdline", pid), std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(file, argument, '\0');) arguments.push_back(argument);
  return arguments;
}

std::vector<Ancestor> ancestors() {
  std::vector<Ancestor> found;
  pid_t pid = ::getppid();
  while (pid > 0 && found.size() < kAncestorsMax) {
    auto info = read_process(pid);
    if (!info) break;
    found.push_back({pid, arguments_of(pid)});
    pid = info->parent;
  }
  return found;
}

std::map<std::string, std::string> resource_limits() {
  struct Kind {
    const char* name;
    decltype(RLIMIT_NOFILE) which;
  };
  std::map<std::string, std::string> limits;
  for (const Kind& kind : {Kind{"open_files", RLIMIT_NOFILE}, Kind{"processes", RLIMIT_NPROC},
                           Kind{"memory_bytes", RLIMIT_AS}, Kind{"data_bytes", RLIMIT_DATA},
                           Kind{"stack_bytes", RLIMIT_STACK}, Kind{"file_bytes", RLIMIT_FSIZE},
                           Kind{"core_bytes", RLIMIT_CORE}, Kind{"cpu_seconds", RLIMIT_CPU}}) {
    rlimit limit{};
    if (::getrlimit(kind.which, &limit) != 0) continue;
    std::string words = limit_words(limit.rlim_cur);
    if (limit.rlim_cur != limit.rlim_max) words += " of " + limit_words(limit.rlim_max);
    limits[kind.name] = words;
  }
  return limits;
}

std::string container_kind() {
  if (!variable("KUBERNETES_SERVICE_HOST").empty()) return "kubernetes";
  if (exists("/run/.containerenv")) return "podman";
  if (exists("/.dockerenv")) return "docker";
  if (const std::string said = variable("container"); !said.empty()) return said;
  return first_line("/run/systemd/container");
}

std::string cgroup_path() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("0::")) return line.substr(3);
  return {};
}

std::map<std::string, std::string> cgroup_limits() {
  std::map<std::string, std::string> limits;
  const std::string own = cgroup_path();
  if (own.empty()) return limits;
  const std::filesystem::path root = "/sys/fs/cgroup";
  for (const char* name : {"memory.max", "cpu.max", "pids.max"})
    for (std::filesystem::path path = own;; path = path.parent_path()) {
      const std::string value = first_line(root / path.relative_path() / name);
      if (!value.empty() && !value.starts_with("max")) {
        limits[name] = value;
        break;
      }
      if (path == path.parent_path()) break;
    }
  return limits;
}

// Reading it by umask() would change it for a moment, for every thread.
std::string process_umask() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("Umask:\t")) return line.substr(7);
  return {};
}

std::string time_zone() {
  if (const std::string zone = variable("TZ"); !zone.empty()) return zone;
  std::error_code ignored;
  std::string link = std::filesystem::read_symlink("/etc/localtime", ignored).string();
  const size_t at = link.find("zoneinfo/");
  return at == link.npos ? "UTC" : link.substr(at + 9);
}

std::string locale_name() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
    if (const std::string value = variable(name); !value.empty()) return value;
  return "C";
}

}  // namespace opscore
