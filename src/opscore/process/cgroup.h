#pragma once
// Control groups for single runs: what a program and everything it starts may use together, which
// setrlimit(2) cannot say. Made below the group that this process is in, of version 2 or 1,
// whichever the kernel has.

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/error.h"
#include "opscore/base/mutex.h"
#include "opscore/process/file_descriptor.h"

namespace opscore {

// 0: as much as the server.
struct CgroupLimits {
  uint64_t memory_bytes = 0;  // RAM, the files in its /tmp included; the kernel kills what is over
  uint64_t processes = 0;     // and threads; one more cannot be started
  double cpus = 0;            // processors' worth of time
};

// Where groups are made: one folder per hierarchy, one on version 2.
struct CgroupPlace {
  int version = 2;
  std::string folder;
  std::vector<std::string> controllers;  // of memory, pids, cpu
};

// What /proc/PID/cgroup and /proc/PID/mountinfo say about memory, pids and cpu. On version 2 all
// three are named, whether or not they are there. Pure.
std::vector<CgroupPlace> cgroup_places(std::string_view groups, std::string_view mounts);

// Which file of a controller says what, and how. Pure.
struct CgroupSetting {
  std::string controller, file, value;
  bool optional = false;  // not every kernel has the file
};
std::vector<CgroupSetting> cgroup_settings(int version, const CgroupLimits& limits);

class Cgroups;

// The group of one run. When it is destroyed, what is still in it is killed (version 2) and it is
// removed; later, if something has not quite ended yet.
class Cgroup {
 public:
  ~Cgroup();
  Cgroup(const Cgroup&) = delete;
  // A process that writes "0" into each is in.
  std::vector<int> entrances() const;

 private:
  friend class Cgroups;
  explicit Cgroup(Cgroups& owner) : owner_(owner) {}
  Cgroups& owner_;
  std::vector<std::string> folders_;
  std::vector<FileDescriptor> entrances_;
};

// Safe for concurrent use. What a killed server left is removed by the next one that opens; groups
// of another one that lives are left alone.
class Cgroups {
 public:
  // Tries it. On version 2 a group with processes of its own can have no groups with limits below,
  // so this process moves to opscore-server below its group, provided that it is alone in it: call
  // it before there are others. The error says why there are none.
  static std::expected<std::unique_ptr<Cgroups>, Error> open();
  ~Cgroups();
  Cgroups(const Cgroups&) = delete;

  // Which limits hold: some of memory, pids, cpu.
  const std::vector<std::string>& controllers() const { return controllers_; }
  bool bounds(std::string_view controller) const;
  // Throws Error{unavailable}. It must not outlive this.
  std::unique_ptr<Cgroup> make(const CgroupLimits& limits);

 private:
  friend class Cgroup;
  explicit Cgroups(std::vector<CgroupPlace> places);
  void retire(std::vector<std::string> folders);

  const std::vector<CgroupPlace> places_;
  std::vector<std::string> controllers_;
  Mutex mutex_;
  uint64_t next_ OPSCORE_GUARDED_BY(mutex_) = 1;
  std::vector<std::string> retired_
      OPSCORE_GUARDED_BY(mutex_);  // to be removed once they are empty
};

}  // namespace opscore
