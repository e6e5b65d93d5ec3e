#pragma once
// The supervisor: a small parent process that starts the worker, restarts it after a crash, and
// tells the next one how the last one died. It runs no threads and none of the code that tasks can
// reach, so it outlives what they do. See docs/adr/0004-supervisor-and-blame.md.
//
//   start -> watch -+-> exit 0 or 2, failed start, asked to stop ---> return its code
//     ^             +-> died, exited otherwise, silent -> kill orphans, note the death
//     +--- wait 0.1 s, growing to 5 s <------------------------------------+

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "opscore/base/time.h"
#include "opscore/process/crash_page.h"

namespace opscore {

// How a worker ended that was not asked to.
struct Death {
  enum class Cause : uint8_t {
    gone,     // killed from outside, stuck, or exited with an error
    crashed,  // a crash signal of its own, or the OOM killer
  } cause = Cause::gone;
  pid_t pid = 0;
  std::string words;    // "died of SIGSEGV", "was killed by SIGKILL", "exited with code 3"
  int64_t session = 0;  // never 0: see WorkerLink
  std::vector<CrashPage::Entered> entered;
  std::optional<int32_t> blamed_slot;  // whose thread crashed
};

// What a worker has of its supervisor.
struct WorkerLink {
  CrashPage& page;
  // The last death of a worker that had opened a session (CrashPage::set_session). One that died
  // before that held nothing, so the death before it is told again.
  std::optional<Death> previous_death;
  int restarts = 0;  // since the supervisor began

  // To be called at least every second or so by the loop that takes work; lock-free.
  void progress() { page.progress(); }
  // It takes work: the supervisor passes that on.
  void ready() { page.set_ready(); }
};

struct SupervisorOptions {
  Duration silence{8'000};         // without progress: stuck
  Duration slow_silence{120'000};  // before the first progress, and once asked to stop
  Duration stacks_grace{1'000};    // between asking a stuck worker for its stacks and SIGKILL
  Duration healthy_after{10'000};  // a worker that lived this long starts the backoff anew
  // How many processes the OOM killer has killed so far, as far as it concerns us.
  std::function<uint64_t()> count_oom_kills;  // empty: read it from the kernel
  // A worker says that it takes work; the supervisor looks after it; it was asked to stop.
  std::function<void()> on_ready = [] {};
  std::function<void()> on_alive = [] {};
  std::function<void()> on_stopping = [] {};
  // What it has to say, a line; must not wait for a reader.
  std::function<void(const std::string&)> say;  // empty: to stderr
};

// Runs `worker_main` in a child process, again after every abnormal end, until it ends for good.
// Call it before the process has threads; afterwards only the worker may start some. In the worker
// the crash handler is installed, terminal signals do not arrive, and SIGKILL follows the
// supervisor's death. The worker never returns from here: it exits with worker_main's code; what
// worker_main throws goes on to the caller, in the worker process.
//
// SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 are passed on, each time (SIGHUP is blocked in
// the worker at first: it asks for a reload, which may come before it is ready); after SIGTERM or
// SIGINT the worker is not restarted, however it ends. Returns the worker's exit code, or 128 +
// signal. Not restarted either: exit codes 0 and 2 (configuration), an exit by itself of the first
// worker before its first progress (it could not start), and death of a signal that was passed on.
// Throws Error{unavailable} when it cannot fork.
int supervise(const SupervisorOptions& options, const std::function<int(WorkerLink&)>& worker_main);

// How long to wait before the next start, after `deaths` in a row: 0.1 s for the first three, so
// that a single crash is hardly noticed, then doubling to 5 s.
Duration restart_delay(int deaths);

// The kernel's count of OOM kills in our control group, or in the whole system where there is none.
uint64_t read_oom_kills();

}  // namespace opscore
