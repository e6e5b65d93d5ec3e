#include "opscore/process/reaper.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "opscore/base/error.h"

namespace opscore {
namespace {

constexpr Duration kSweepEvery{1000};
constexpr Duration kQuiet{60 * 60 * 1000};
constexpr int kUnknownCode = 255;
constexpr int kSweepsAtEnd = 10;  // an escapee's children surface when it dies, level by level
constexpr int kDeathMs = 100;     // how long to wait for a killed process to be gone

// Waits for one ended child; nothing while it runs, or when it is no child of ours.
std::optional<ExitStatus> wait_for(pid_t pid) {
  int status = 0;
  if (::waitpid(pid, &status, WNOHANG) != pid) return std::nullopt;
  return ExitStatus::from_wait(status);
}

// False when it may not be killed, or is gone.
bool kill_and_reap(const ProcessInfo& orphan) {
  FileDescriptor handle = open_process(orphan.pid);
  if (!signal_exactly(orphan, SIGKILL) || !handle.is_open()) return false;
  pollfd ended{handle.get(), POLLIN, 0};
  ::poll(&ended, 1, kDeathMs);
  wait_for(orphan.pid);
  return true;
}

bool is_in_our_namespace(pid_t pid) {
  std::error_code failed;
  auto theirs = std::filesystem::read_symlink(fmt::format("/proc/{}/ns/pid", pid), failed);
  return !failed && theirs == std::filesystem::read_symlink("/proc/self/ns/pid", failed);
}

// With SIGCHLD ignored, which is inherited, the kernel would throw exit statuses away.
void keep_exit_statuses() {
  struct sigaction now{};
  ::sigaction(SIGCHLD, nullptr, &now);
  if (now.sa_handler != SIG_IGN) return;
  now.sa_handler = SIG_DFL;
  ::sigaction(SIGCHLD, &now, nullptr);
}

}  // namespace

Program::~Program() {
  if (!status_) kill();
  if (!status_) {
    // Killed, so it ends as soon as the kernel lets go of it.
    pollfd ended{handle(), POLLIN, 0};
    while (!poll() && (::poll(&ended, 1, -1) >= 0 || errno == EINTR)) {
    }
  }
  end();
}

std::optional<ProcessInfo> Program::init() const {
  for (pid_t child : children_of(pid()))
    if (auto process = read_process(child); process && process->session != pid()) return process;
  return std::nullopt;
}

void Program::signal_group(int signal) {
  if (status_) return;
  pid_t group = pid();
  if (contained_)
    if (auto inside = init()) group = inside->group;
  // Before it was waited for, its pid and hence its group cannot belong to anybody else; nor can
  // that of its child, which the kernel kills with it.
  ::kill(-group, signal);
}

std::optional<ExitStatus> Program::poll() {
  return status_ ? status_ : reaper_.poll(*this);
}

void Program::kill() {
  if (status_) return;
  if (contained_) {
    // The kernel kills a PID namespace with its first process, whatever is in it.
    if (auto inside = init()) signal_exactly(*inside, SIGKILL);
    ::kill(-pid(), SIGKILL);
    return;
  }
  auto below = descendants_of(pid());
  signal_group(SIGKILL);
  for (const ProcessInfo& process : below)
    if (process.group != pid()) signal_exactly(process, SIGKILL);
}

void Program::end() {
  if (ended_ || !status_) return;
  ended_ = true;
  reaper_.end(*this);
}

Reaper::Reaper(Log& log)
    : log_(log), session_(::getsid(0)), loop_("reaper", log, [this](std::stop_token) {
        sweep();
        return is_quiet() ? kQuiet : kSweepEvery;
      }) {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
    throw Error(Errc::unavailable,
                fmt::format("become the subreaper: {}", std::generic_category().message(errno)));
  keep_exit_statuses();
  loop_.start();
}

Reaper::~Reaper() {
  loop_.stop();
  OPSCORE_ASSERT(runs_.empty(), "the reaper outlives its programs");
}

std::unique_ptr<Program> Reaper::start(ChildOptions options, const std::string& mark) {
  options.env.push_back(fmt::format("{}={}", kMark, mark));
  std::unique_ptr<Program> program;
  {
    // Held while starting, so that a sweep never sees a main process it does not know.
    MutexLock lock(mutex_);
    StartedChild started = start_child(options);
    uint64_t serial = next_serial_++;
    runs_[serial] = {started.pid, mark};
    program.reset(new Program(*this, serial, mark, options.contained, std::move(started)));
  }
  loop_.wake();
  return program;
}

std::optional<ExitStatus> Reaper::poll(Program& program) {
  MutexLock lock(mutex_);
  auto& run = runs_.at(program.serial_);
  siginfo_t info{};
  int answer = ::waitid(P_PID, static_cast<id_t>(run.pid), &info, WEXITED | WNOHANG | WNOWAIT);
  if (answer == 0 && info.si_pid == 0) return std::nullopt;
  if (answer == 0) {
    // While it is not reaped nobody else can get its pid: the last moment to hit the group safely.
    ::kill(-run.pid, SIGKILL);
    program.status_ = wait_for(run.pid);
  } else {
    log_.error("{}: its exit status was taken by other code of this process", run.mark);
    program.status_ = ExitStatus{.code = kUnknownCode};
  }
  run.pid = 0;
  return program.status_;
}

void Reaper::end(Program& program) {
  {
    MutexLock lock(mutex_);
    runs_.erase(program.serial_);
  }
  size_t ended = 0;
  for (int i = 0; i < kSweepsAtEnd; ++i) {
    size_t now = sweep();
    ended += now;
    if (now == 0) break;
  }
  if (ended > 0) log_.warn("{} left {} process(es) behind: killed", program.mark_, ended);
}

size_t Reaper::sweep() {
  MutexLock lock(mutex_);
  size_t killed = 0;
  std::map<pid_t, std::pair<uint64_t, uint64_t>> still;
  for (pid_t pid : children_of(::getpid())) {
    if (is_main(pid)) continue;
    auto orphan = read_process(pid);
    if (!orphan || orphan->session == session_) continue;
    if (orphan->ended()) {
      wait_for(pid);
    } else if (is_over(*orphan)) {
      // The rest of a sandbox dies by itself: nobody left it behind.
      bool is_leftover = is_in_our_namespace(pid);
      if (kill_and_reap(*orphan) && is_leftover) ++killed;
    } else if (auto stray = strays_.find(pid); stray != strays_.end()) {
      still.insert(*stray);
    }
  }
  strays_ = std::move(still);
  return killed;
}

bool Reaper::is_over(const ProcessInfo& orphan) {
  auto mark = environment_of(orphan.pid, kMark);
  if (mark)
    return std::none_of(runs_.begin(), runs_.end(),
                        [&](const auto& run) { return run.second.mark == *mark; });
  // In a container whose init we are, everybody's orphans end up here.
  if (::getpid() == 1) return false;
  auto& [started, serial] = strays_[orphan.pid];
  if (started != orphan.started) {
    started = orphan.started;
    serial = next_serial_;
  }
  return runs_.empty() || runs_.begin()->first >= serial;
}

bool Reaper::is_main(pid_t pid) const {
  return std::any_of(runs_.begin(), runs_.end(),
                     [&](const auto& run) { return run.second.pid == pid; });
}

bool Reaper::is_quiet() {
  MutexLock lock(mutex_);
  return runs_.empty() && strays_.empty();
}

}  // namespace opscore
