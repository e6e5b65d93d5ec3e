#pragma once
// The owner of every program that this process runs: starts them, waits for them, and ends what
// they leave behind.
//
// A program leads a session of its own, and this process is made the subreaper of its descendants.
// Whatever a program starts is therefore below it, in its group, or, once its own parent is gone,
// a child of ours in a session that is not ours: that is how an escapee is known. Its environment
// (OPSCORE_ATTEMPT) says which run it belongs to; one that cleared its environment belongs to one
// of the runs that were alive when it was first seen, and is ended with the last of them. Children
// that other code of this process makes (system(3), popen(3)) stay in our session and are left
// alone.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/mutex.h"
#include "opscore/base/thread.h"
#include "opscore/process/child.h"
#include "opscore/process/exit_status.h"
#include "opscore/process/process_tree.h"

namespace opscore {

class Reaper;

// One program that was started. Used by one thread, which must live as long: the program dies with
// the thread that started it. The destructor ends the program and everything it started.
class Program {
 public:
  ~Program();
  Program(const Program&) = delete;

  pid_t pid() const { return started_.pid; }
  // Readable once the main process has ended.
  int handle() const { return started_.handle.get(); }
  int out() const { return started_.out.get(); }
  int err() const { return started_.err.get(); }

  // Signals the whole process group, as long as the main process has not been waited for; of a
  // sandbox the group within, for the sandbox itself would take everything with it at once.
  void signal_group(int signal);
  // Waits for the main process without blocking; nothing while it runs.
  std::optional<ExitStatus> poll();
  // SIGKILL to the group and to what escaped from it but still descends from it.
  void kill();
  // What is left of it once the main process has ended: the group, and escapees.
  void end();

 private:
  friend class Reaper;
  Program(Reaper& reaper, uint64_t serial, std::string mark, bool contained, StartedChild started)
      : reaper_(reaper),
        serial_(serial),
        mark_(std::move(mark)),
        contained_(contained),
        started_(std::move(started)) {}
  // The first process of the sandbox's PID namespace; nothing before there is one.
  std::optional<ProcessInfo> init() const;

  Reaper& reaper_;
  const uint64_t serial_;
  const std::string mark_;
  const bool contained_;
  StartedChild started_;
  std::optional<ExitStatus> status_;
  bool ended_ = false;
};

// Safe for concurrent use. At most one per process: it takes the process' orphans.
class Reaper {
 public:
  static constexpr char kMark[] = "OPSCORE_ATTEMPT";

  // `log` must outlive it, and it must outlive its programs. Throws Error{unavailable}.
  explicit Reaper(Log& log);
  ~Reaper();
  Reaper(const Reaper&) = delete;

  // Starts a program for the run named `mark` ("<task id>#<attempt>"), which is added to its
  // environment. Throws what start_child() does.
  std::unique_ptr<Program> start(ChildOptions options, const std::string& mark);

 private:
  friend class Program;
  struct Run {
    pid_t pid;  // of the main process; 0 once it was waited for
    std::string mark;
  };

  std::optional<ExitStatus> poll(Program& program);
  void end(Program& program);
  // Ends orphans whose run is over; how many. Reaps those that ended.
  size_t sweep();
  bool is_over(const ProcessInfo& orphan) OPSCORE_REQUIRES(mutex_);
  bool is_main(pid_t pid) const OPSCORE_REQUIRES(mutex_);
  bool is_quiet();

  Log& log_;
  const pid_t session_;
  Mutex mutex_;
  uint64_t next_serial_ OPSCORE_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, Run> runs_ OPSCORE_GUARDED_BY(mutex_);  // those not over
  std::map<pid_t, std::pair<uint64_t, uint64_t>> strays_
      OPSCORE_GUARDED_BY(mutex_);  // pid -> start, serial
  Loop loop_;
};

}  // namespace opscore
