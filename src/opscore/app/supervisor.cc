#include "opscore/app/supervisor.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <set>
#include <system_error>

#include "opscore/app/last_words.h"
#include "opscore/base/error.h"
#include "opscore/process/crash_handler.h"
#include "opscore/process/exit_status.h"
#include "opscore/process/process_tree.h"
#include "opscore/process/reaper.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr std::array kForwarded{SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
constexpr std::array kCrashSignals{SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGSYS, SIGTRAP};
constexpr int kExitConfig = 2;
constexpr Duration kTick{500};
// More than this between two looks means that the supervisor itself stood still (SIGSTOP, a paused
// machine): it says nothing about the worker.
constexpr Duration kLookMax{1000};
constexpr size_t kOomSamples = 10;  // one per tick: a big process takes seconds to go
// timeout(1) and others signal the process and then its group: one request, not two.
constexpr Duration kSameRequest{50};
constexpr Duration kOrphansWait{5000};

template <size_t N>
bool contains(const std::array<int, N>& signals, int signal) {
  return std::find(signals.begin(), signals.end(), signal) != signals.end();
}

class Supervisor {
 public:
  Supervisor(const SupervisorOptions& options, const std::function<int(WorkerLink&)>& worker_main)
      : options_(options), worker_main_(worker_main), link_{page_, {}, 0} {
    if (!options_.count_oom_kills) options_.count_oom_kills = read_oom_kills;
    if (!options_.say) options_.say = [](const std::string& line) { say_everywhere({}, line); };
    for (pid_t child : children_of(::getpid())) older_children_.insert(child);
    // Whoever started us may ignore it, and then nobody could wait for children.
    std::signal(SIGCHLD, SIG_DFL);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigemptyset(&waited_);
    sigaddset(&waited_, SIGCHLD);
    for (int signal : kForwarded) sigaddset(&waited_, signal);
    ::pthread_sigmask(SIG_BLOCK, &waited_, &mask_before_);
  }

  int run() {
    while (true) {
      start_worker();
      ExitStatus status = watch();
      kill_orphans();
      if (auto code = final_code(status)) return *code;
      note_death(status);
      if (!rest()) return 0;
    }
  }

 private:
  void start_worker() {
    page_.reset();
    signals_sent_.clear();
    ++starts_;
    progressed_ = silent_ = false;
    started_ = steady_clock::now();
    oom_kills_.clear();
    sample_oom();
    pid_t supervisor = ::getpid();
    worker_ = ::fork();
    if (worker_ < 0)
      throw Error(Errc::unavailable,
                  fmt::format("fork: {}", std::generic_category().message(errno)));
    if (worker_ == 0) be_worker(supervisor);
  }

  [[noreturn]] void be_worker(pid_t supervisor) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != supervisor) ::_exit(1);  // it died before the line above
    // A group of its own, so that Ctrl-C reaches it once, through us; and writing to the terminal
    // from there must not stop it.
    ::setpgid(0, 0);
    std::signal(SIGTTOU, SIG_IGN);
    std::signal(SIGTTIN, SIG_IGN);
    // A reload that is asked for before the worker is ready waits until it is.
    sigset_t mask = mask_before_;
    sigaddset(&mask, SIGHUP);
    ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
    install_crash_handler(page_);
    std::exit(worker_main_(link_));  // NOLINT(concurrency-mt-unsafe): no other thread is left
  }

  // Until the worker has ended.
  ExitStatus watch() {
    auto looked = steady_clock::now();
    uint64_t seen = 0;
    Duration silent_for{0};
    while (true) {
      if (auto status = reap()) return *status;
      siginfo_t info{};
      if (int signal = next_signal(tick(), &info); signal > 0 && signal != SIGCHLD) forward(signal);
      auto now = steady_clock::now();
      silent_for += std::min(std::chrono::duration_cast<Duration>(now - looked), kLookMax);
      looked = now;
      if (uint64_t count = page_.progress_count(); count != seen) {
        seen = count;
        progressed_ = true;
        silent_for = Duration(0);
        stacks_asked_ = false;
      }
      if (page_.is_ready()) options_.on_ready();
      sample_oom();
      options_.on_alive();
      Duration limit = progressed_ && !stopping_ ? options_.silence : options_.slow_silence;
      if (silent_for >= limit) end_silent(limit, silent_for - limit);
    }
  }

  void end_silent(Duration limit, Duration since) {
    if (!stacks_asked_) {
      say(fmt::format("worker {} has made no progress for {}: asking for its stacks", worker_,
                      to_text(limit)));
      ::kill(worker_, SIGQUIT);
      stacks_asked_ = true;
    } else if (since >= options_.stacks_grace && !silent_) {
      silent_ = true;
      silence_ = limit;
      ::kill(worker_, SIGKILL);
    }
  }

  Duration tick() const { return std::min({kTick, options_.silence / 4, options_.stacks_grace}); }

  // 0 when none came in time.
  int next_signal(Duration wait, siginfo_t* info) {
    timespec time{wait.count() / 1000, (wait.count() % 1000) * 1'000'000};
    return std::max(0, ::sigtimedwait(&waited_, info, &time));
  }

  // Waits for every child that has ended: ours, and orphans that came to us.
  std::optional<ExitStatus> reap() {
    std::optional<ExitStatus> ended;
    int status = 0;
    for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      older_children_.erase(pid);
      if (pid == worker_) ended = ExitStatus::from_wait(status);
    }
    return ended;
  }

  void forward(int signal) {
    auto now = steady_clock::now();
    auto before = signals_sent_.find(signal);
    bool same = before != signals_sent_.end() && now - before->second < kSameRequest;
    if (signal == SIGTERM || signal == SIGINT) {
      stopping_ = true;
      options_.on_stopping();
    }
    if (same) return;
    signals_sent_[signal] = now;
    ::kill(worker_, signal);
  }

  void sample_oom() {
    oom_kills_.push_back(options_.count_oom_kills());
    if (oom_kills_.size() > kOomSamples) oom_kills_.pop_front();
  }

  // What the worker ran is ours now. Nothing of an attempt may go on when it is given to others.
  void kill_orphans() {
    Deadline deadline = Deadline::after(kOrphansWait);
    while (!deadline.passed()) {
      bool any = false;
      for (pid_t pid : children_of(::getpid())) {
        auto orphan = read_process(pid);
        if (!orphan || older_children_.contains(pid) || !is_ours(*orphan)) continue;
        any = true;
        signal_exactly(*orphan, SIGKILL);
      }
      reap();
      if (!any) return;
      sigset_t child_ended;
      sigemptyset(&child_ended);
      sigaddset(&child_ended, SIGCHLD);
      timespec moment{0, 10'000'000};
      ::sigtimedwait(&child_ended, nullptr, &moment);
    }
  }

  static bool is_ours(const ProcessInfo& orphan) {
    // As init of a container everybody's orphans come to us.
    return ::getpid() != 1 || environment_of(orphan.pid, Reaper::kMark).has_value();
  }

  std::optional<int> final_code(const ExitStatus& status) const {
    int code = status.signal != 0 ? 128 + status.signal : status.code;
    if (stopping_) return code;
    if (status.signal != 0)
      return signals_sent_.contains(status.signal) ? std::optional(code) : std::nullopt;
    bool failed_to_start = starts_ == 1 && page_.progress_count() == 0;
    if (code == 0 || code == kExitConfig || failed_to_start) return code;
    return std::nullopt;
  }

  void note_death(const ExitStatus& status) {
    bool out_of_memory =
        status.signal == SIGKILL && !silent_ && options_.count_oom_kills() > oom_kills_.front();
    Death death;
    death.pid = worker_;
    death.cause = is_crash(status) || out_of_memory ? Death::Cause::crashed : Death::Cause::gone;
    death.words = words_for(status, out_of_memory);
    death.session = page_.session();
    death.entered = page_.entered();
    death.blamed_slot = page_.blamed_slot();

    if (steady_clock::now() - started_ >= options_.healthy_after) deaths_ = 0;
    ++deaths_;
    ++link_.restarts;
    say(fmt::format("worker {} {}; {} task(s) were running; restarting in {}", worker_, death.words,
                    death.entered.size(), to_text(restart_delay(deaths_))));
    if (death.session != 0) link_.previous_death = std::move(death);
  }

  bool is_crash(const ExitStatus& status) const {
    if (silent_ || page_.sent_from_outside()) return false;
    // The handler may end by another signal: its alarm, when printing the stack hangs.
    return contains(kCrashSignals, status.signal) ||
           (status.signal != 0 && page_.crash_signal() != 0);
  }

  std::string words_for(const ExitStatus& status, bool out_of_memory) const {
    if (silent_) return fmt::format("made no progress for {} and was killed", to_text(silence_));
    if (out_of_memory) return "was killed by the kernel: out of memory";
    if (status.signal == 0) return fmt::format("exited with code {}", status.code);
    if (!is_crash(status)) return fmt::format("was killed by {}", signal_name(status.signal));
    int signal = page_.crash_signal() != 0 ? page_.crash_signal() : status.signal;
    return fmt::format("died of {}{}", signal_name(signal), status.dumped ? " (core dumped)" : "");
  }

  // False when it was asked to stop meanwhile.
  bool rest() {
    Deadline deadline = Deadline::after(restart_delay(deaths_));
    while (!deadline.passed()) {
      options_.on_alive();
      siginfo_t info{};
      int signal = next_signal(std::clamp(deadline.left(), Duration(1), tick()), &info);
      if (signal == SIGCHLD) reap();
      if (signal == SIGTERM || signal == SIGINT || signal == SIGQUIT) return false;
    }
    return true;
  }

  // Not through Log, which has a thread.
  void say(const std::string& words) const {
    options_.say(fmt::format("opscore: supervisor: {}\n", words));
  }

  SupervisorOptions options_;
  const std::function<int(WorkerLink&)>& worker_main_;
  CrashPage page_;
  WorkerLink link_;
  sigset_t waited_;
  sigset_t mask_before_;
  std::set<pid_t> older_children_;  // not the worker's: from before us

  pid_t worker_ = 0;
  steady_clock::time_point started_;
  std::map<int, steady_clock::time_point> signals_sent_;  // to this worker
  bool progressed_ = false;                               // this worker
  bool stacks_asked_ = false;
  bool silent_ = false;  // and killed for it, after silence_
  Duration silence_{0};
  std::deque<uint64_t> oom_kills_;
  bool stopping_ = false;
  int starts_ = 0;
  int deaths_ = 0;  // in a row
};

}  // namespace

Duration restart_delay(int deaths) {
  Duration delay = 100ms;
  for (int i = 3; i < deaths && delay < 5000ms; ++i) delay *= 2;
  return std::min<Duration>(delay, 5000ms);
}

int supervise(const SupervisorOptions& options,
              const std::function<int(WorkerLink&)>& worker_main) {
  return Supervisor(options, worker_main).run();
}

}  // namespace opscore
