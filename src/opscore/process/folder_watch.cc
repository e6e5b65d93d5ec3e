#include "opscore/process/folder_watch.h"

#include <fmt/format.h>
#include <fnmatch.h>
#include <sys/inotify.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "opscore/base/error.h"

namespace opscore {
namespace {

namespace fs = std::filesystem;
constexpr uint32_t kChanges =
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ONLYDIR;

}  // namespace

FolderWatch::FolderWatch(WatchRules rules)
    : rules_(std::move(rules)), inotify_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  add("");
  if (folders_.empty())
    throw Error(Errc::invalid, fmt::format("watch the folder {}: {}", rules_.folder,
                                           std::generic_category().message(errno)));
}

// Folders in it, too; what cannot be read is left out.
void FolderWatch::add(const std::string& folder) {
  const fs::path path = fs::path(rules_.folder) / folder;
  int watch = ::inotify_add_watch(inotify_.get(), path.c_str(), kChanges);
  if (watch < 0) return;
  folders_[watch] = folder;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(path, failed))
    if (entry.is_directory(failed) && !entry.is_symlink(failed))
      add(folder + entry.path().filename().string() + "/");
}

bool FolderWatch::counts(const std::string& path) const {
  auto matches = [&](const std::string& pattern) {
    return ::fnmatch(pattern.c_str(), path.c_str(), 0) == 0;
  };
  return std::ranges::any_of(rules_.include, matches) &&
         std::ranges::none_of(rules_.exclude, matches);
}

std::vector<std::string> FolderWatch::changed() {
  std::vector<std::string> paths;
  alignas(inotify_event) std::array<char, 64 * 1024> buffer;
  while (true) {
    ssize_t got = ::read(inotify_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      auto folder = folders_.find(event->wd);
      if (folder == folders_.end() || event->len == 0) continue;
      std::string path = folder->second + event->name;
      if (event->mask & IN_ISDIR) {
        if (event->mask & (IN_CREATE | IN_MOVED_TO)) add(path + "/");
      } else if (!(event->mask & IN_CREATE) && counts(path)) {
        paths.push_back(std::move(path));
      }
    }
  }
  std::ranges::sort(paths);
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  return paths;
}

}  // namespace opscore
