#include "opscore/process/socket_owner.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace opscore {
namespace {

constexpr size_t kProgramMax = 120;

// "0100007F:1F90" -> 8080
uint16_t port_of(const std::string& address) {
  uint16_t port = 0;
  const size_t colon = address.rfind(':');
  if (colon != std::string::npos)
    std::from_chars(address.data() + colon + 1, address.data() + address.size(), port, 16);
  return port;
}

// The inode of the socket; empty when there is none.
std::string inode_of(uint16_t local_port, uint16_t remote_port) {
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream file(table);
    std::string line;
    std::getline(file, line);  // the heading
    while (std::getline(file, line)) {
      std::istringstream columns(line);
      std::string slot, local, remote, skipped, inode;
      columns >> slot >> local >> remote;
      for (int i = 0; i < 6; ++i) columns >> skipped;
      columns >> inode;
      if (port_of(local) == local_port && port_of(remote) == remote_port && inode != "0")
        return inode;
    }
  }
  return {};
}

bool has_socket(const std::filesystem::path& process, const std::string& socket) {
  std::error_code ignored;
  for (std::filesystem::directory_iterator file(process / "fd", ignored), end;
       !ignored && file != end; file.increment(ignored)) {
    std::error_code gone;
    if (std::filesystem::read_symlink(file->path(), gone).native() == socket) return true;
  }
  return false;
}

std::string program_of(const std::filesystem::path& process) {
  std::ifstream file(process / "cmdline", std::ios::binary);
  std::string words{std::istreambuf_iterator<char>(file), {}};
  while (words.ends_with('\0')) words.pop_back();
  std::replace(words.begin(), words.end(), '\0', ' ');
  return words.substr(0, kProgramMax);
}

}  // namespace

std::optional<SocketOwner> owner_of_socket(uint16_t local_port, uint16_t remote_port) {
  const std::string inode = inode_of(local_port, remote_port);
  if (inode.empty()) return std::nullopt;
  const std::string socket = fmt::format("socket:[{}]", inode);
  std::error_code ignored;
  for (std::filesystem::directory_iterator process("/proc", ignored), end;
       !ignored && process != end; process.increment(ignored)) {
    const std::string name = process->path().filename();
    pid_t pid = 0;
    auto [last, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc() || last != name.data() + name.size()) continue;
    if (has_socket(process->path(), socket)) return SocketOwner{pid, program_of(process->path())};
  }
  return std::nullopt;
}

}  // namespace opscore
