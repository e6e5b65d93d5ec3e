#pragma once
// Tells which files below a folder have changed, by inotify. Used by one thread.

#include <map>
#include <string>
#include <vector>

#include "opscore/process/file_descriptor.h"

namespace opscore {

struct WatchRules {
  std::string folder;
  // Patterns of paths in the folder, in which * stands for any characters, slashes too. A file
  // counts when it matches one of `include` and none of `exclude`.
  std::vector<std::string> include;
  std::vector<std::string> exclude;
};

class FolderWatch {
 public:
  // Throws Error{invalid} when the folder cannot be watched.
  explicit FolderWatch(WatchRules rules);

  int file() const { return inotify_.get(); }  // readable when something has changed
  // Paths in the folder of what has changed since the last call; does not wait.
  std::vector<std::string> changed();

 private:
  void add(const std::string& folder);
  bool counts(const std::string& path) const;

  const WatchRules rules_;
  FileDescriptor inotify_;
  std::map<int, std::string> folders_;  // of a watch: its path in the folder, with a slash
};

}  // namespace opscore
