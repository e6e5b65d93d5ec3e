#pragma once
// One Python interpreter that runs tasks: its process, its socket and the memory it shares.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "opscore/actor/python/frames.h"
#include "opscore/actor/python/slot_cells.h"
#include "opscore/base/mutex.h"
#include "opscore/process/folder_watch.h"
#include "opscore/process/reaper.h"

namespace opscore {

struct PythonOptions {
  std::string interpreter;           // absolute path
  std::vector<std::string> modules;  // to import; with `dramatiq` the first names the broker
  bool dramatiq = false;             // their actors are those of Dramatiq
  std::string log_level = "info";    // of the root logger
  bool takes_logging = true;         // what is logged goes to this process' log
  std::vector<std::string> path;     // before everything else on sys.path
  size_t processes = 1;
  size_t threads = 8;              // tasks that a process runs at once
  uint64_t memory_max = 0;         // bytes; a process that has more is replaced. 0: no limit
  uint64_t tasks_max = 0;          // so is one that has run as many
  std::string version;             // of this program, and hence of the package
  std::string_view package;        // a zip archive with it, for interpreters that have none
  std::vector<std::string> env;    // "NAME=value", exactly these
  Duration report_imports{5'000};  // an import that takes longer is reported
  std::function<uint64_t()> count_oom_kills = [] { return 0; };
  std::optional<WatchRules> watch;  // a change there replaces all of them
  // Later ones can run something else than the first; see PythonChildren::actors().
  std::function<void()> on_actors = [] {};
};

// Belongs to the thread that makes it, with which it dies, but for send() and entered(), which any
// thread may call.
class PythonChild {
 public:
  // Starts the interpreter. Throws Error{unavailable}.
  PythonChild(Reaper& reaper, const PythonOptions& options, int package, size_t place, ChildId id);

  ChildId id() const { return id_; }
  size_t place() const { return place_; }  // from 0; those that follow one another have the same
  // "python child 2 (pid 17)"
  std::string words() const;
  pid_t pid() const { return program_->pid(); }

  // What can be written at once is; the rest waits for flush(). False: something waits.
  bool send(const std::string& frame);
  bool flush();
  bool wants_to_write() const;
  std::vector<HostedEntry> entered() const { return cells_.entered(); }

  // Reads what is there, and hands each frame on. Throws Error when it is not as it must be.
  void hear(const std::function<void(ChildSpeech)>& take);
  // Lines that it printed on its own stdout and stderr, outside of any task.
  void read_output(const std::function<void(LogLevel, std::string)>& take);
  // No more tasks: it ends when it has none.
  void close();
  // How long ago that was.
  Duration closed_for() const;
  void kill(const std::string& why);
  // How it ended, once it has.
  std::optional<ChildEnd> poll();

  int socket() const { return socket_.get(); }
  int handle() const { return program_->handle(); }
  int out() const { return out_.is_open ? program_->out() : -1; }
  int err() const { return err_.is_open ? program_->err() : -1; }
  const std::string& tail() const { return tail_; }  // the end of what it printed on stderr
  uint64_t resident_bytes() const;

  // Of whoever owns the child.
  enum class State : uint8_t { starting, ready, replaced, retiring } state = State::starting;
  uint64_t tasks_done = 0;
  SteadyPoint started{};

 private:
  struct Output {
    bool is_open = true;
    std::string partial;  // a line without an end
  };
  void read_lines(int fd, Output& output, LogLevel level,
                  const std::function<void(LogLevel, std::string)>& take);
  std::string crash_report() const;
  bool write_some() OPSCORE_REQUIRES(mutex_);

  const ChildId id_;
  const size_t place_;
  const std::function<uint64_t()> count_oom_kills_;
  const uint64_t oom_kills_before_;
  SlotCells cells_;
  FileDescriptor crash_file_;
  FileDescriptor socket_;
  std::unique_ptr<Program> program_;
  FrameReader frames_;
  Output out_, err_;
  std::string tail_;
  std::string killed_for_;  // why it was killed by us
  std::optional<SteadyPoint> closed_at_;
  mutable Mutex mutex_;
  std::string unsent_ OPSCORE_GUARDED_BY(mutex_);
};

}  // namespace opscore
