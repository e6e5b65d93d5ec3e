#pragma once
// What the figures were measured on.

#include <sys/types.h>

#include <functional>
#include <string>

#include "opscore/base/json.h"

namespace opscore::bench {

// File system, probe of 8 KiB write + fdatasync, CPUs, memory, kernel. Throws Error{invalid} on a
// file system that does not survive a restart.
Json describe_machine(const std::string& folder);

// Proportional set size of a process and all its descendants, in MB.
double pss_mb(pid_t root);

// Threads, and open files, of one process.
size_t threads_of(pid_t process);
size_t files_of(pid_t process);

// Runs `body` in a child process and answers what it returned; throws Error with its words when it
// threw, or when it died.
Json in_child(const std::function<Json()>& body);

// A folder beside the data file, removed with everything in it at the end.
class ScratchFolder {
 public:
  explicit ScratchFolder(const std::string& beside);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace opscore::bench
