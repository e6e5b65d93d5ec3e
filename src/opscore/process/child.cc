#include "opscore/process/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>

#include "opscore/base/error.h"
#include "opscore/process/process_tree.h"

namespace opscore {
namespace {

struct Limit {
  __rlimit_resource resource;
  rlimit value;
};

// Everything the child needs, made before it exists: between vfork and exec it shares our memory
// and may only make system calls.
struct Launch {
  const char* program;
  const char* cwd;  // null: stay
  std::vector<char*> argv;
  std::vector<char*> env;
  std::vector<Limit> limits;
  const std::vector<int>& groups;
  const std::vector<int>& passed;  // all above where they are put
  pid_t parent;
  int in, out, err, report;
};

// What went wrong in the child; fits a pipe's atomic write.
struct Failure {
  enum class Step : int32_t { group, limit, cwd, exec } step;
  int32_t error;
};

[[noreturn]] void give_up(const Launch& launch, Failure::Step step) {
  Failure failure{step, errno};
  [[maybe_unused]] ssize_t written = ::write(launch.report, &failure, sizeof failure);
  ::_exit(127);
}

void reset_signals() {
  struct sigaction standard{};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) ::sigaction(signal, &standard, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

// Runs in the child: async-signal-safe calls only, and no return.
[[noreturn]] void become(const Launch& launch) {
  ::setsid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != launch.parent) ::_exit(127);  // the server died before the line above
  for (int group : launch.groups)                  // before a dup2 can close one
    if (::write(group, "0", 1) != 1) give_up(launch, Failure::Step::group);
  ::dup2(launch.in, STDIN_FILENO);
  ::dup2(launch.out, STDOUT_FILENO);
  ::dup2(launch.err, STDERR_FILENO);
  int next = STDERR_FILENO + 1;
  for (int passed : launch.passed) ::dup2(passed, next++);
  // Close-on-exec covers what this library opened; other libraries forget it.
  ::close_range(static_cast<unsigned>(next), ~0U, CLOSE_RANGE_CLOEXEC);
  for (const Limit& limit : launch.limits)
    if (::setrlimit(limit.resource, &limit.value) != 0) give_up(launch, Failure::Step::limit);
  if (launch.cwd != nullptr && ::chdir(launch.cwd) != 0) give_up(launch, Failure::Step::cwd);
  reset_signals();
  ::execve(launch.program, launch.argv.data(), launch.env.data());
  give_up(launch, Failure::Step::exec);
}

// Why noinline: the child of a vfork runs on this very stack frame, so nothing of the caller may
// live in it.
[[gnu::noinline]] pid_t fork_and_become(const Launch& launch) {
  // posix_spawn can neither join a cgroup nor set limits.
  pid_t pid = ::vfork();  // NOLINT(bugprone-unsafe-functions)
  if (pid == 0) become(launch);
  return pid;
}

[[noreturn]] void fail(const std::string& what) {
  throw Error(Errc::unavailable,
              fmt::format("{}: {}", what, std::generic_category().message(errno)));
}

// Descriptors 0 to 2 are where dup2 will put others; they are free when the server was started
// without a stdin. So are those after them, as many as are passed on.
FileDescriptor copy_above(int fd, size_t places) {
  FileDescriptor copy(::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1 + static_cast<int>(places)));
  if (!copy.is_open()) fail("move a descriptor");
  return copy;
}

FileDescriptor above_stdio(FileDescriptor fd) {
  return fd.get() > STDERR_FILENO ? std::move(fd) : copy_above(fd.get(), 0);
}

struct Pipe {
  FileDescriptor read, write;
};

Pipe open_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) fail("open a pipe");
  FileDescriptor read(fds[0]), write(fds[1]);
  return {above_stdio(std::move(read)), above_stdio(std::move(write))};
}

FileDescriptor input_file(const std::string& input) {
  FileDescriptor created(::memfd_create("stdin", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!created.is_open()) fail("make the file for stdin");
  FileDescriptor file = above_stdio(std::move(created));
  size_t done = 0;
  while (done < input.size()) {
    ssize_t written = ::write(file.get(), input.data() + done, input.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write the input for stdin");
    done += static_cast<size_t>(written);
  }
  if (::lseek(file.get(), 0, SEEK_SET) != 0) fail("rewind the input for stdin");
  ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
  return file;
}

std::vector<Limit> limits_of(const ResourceLimits& wanted) {
  std::vector<Limit> limits{{RLIMIT_CORE, {0, 0}}};
  auto add = [&](__rlimit_resource resource, uint64_t value, uint64_t grace = 0) {
    if (value > 0) limits.push_back({resource, {value, value + grace}});
  };
  add(RLIMIT_AS, wanted.memory_bytes);
  add(RLIMIT_CPU,
      static_cast<uint64_t>(std::chrono::ceil<std::chrono::seconds>(wanted.cpu).count()), 1);
  add(RLIMIT_NOFILE, wanted.open_files);
  if (wanted.open_files == 0 && wanted.open_files_soft > 0)
    limits.push_back({RLIMIT_NOFILE, {wanted.open_files_soft, RLIM_INFINITY}});
  add(RLIMIT_FSIZE, wanted.file_bytes);
  add(RLIMIT_NPROC, wanted.processes);
  // What the server itself is held to cannot be raised, and need not be: the tighter one holds.
  for (Limit& limit : limits) {
    rlimit now{};
    ::getrlimit(limit.resource, &now);
    limit.value.rlim_max = std::min(limit.value.rlim_max, now.rlim_max);
    limit.value.rlim_cur = std::min(limit.value.rlim_cur, limit.value.rlim_max);
  }
  return limits;
}

// A signal handler must not run in a child that shares our memory.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~AllSignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

[[noreturn]] void throw_failure(const ChildOptions& options, const Failure& failure) {
  std::string why = std::generic_category().message(failure.error);
  if (failure.step == Failure::Step::group)
    throw Error(Errc::unavailable,
                fmt::format("run {} in a cgroup of its own: {}", options.program, why));
  if (failure.step == Failure::Step::limit)
    throw Error(Errc::unavailable, fmt::format("limit {}: {}", options.program, why));
  if (failure.step == Failure::Step::cwd)
    throw Error(Errc::unavailable,
                fmt::format("run {} in {}: {}", options.program, options.cwd, why));
  if (failure.error == ENOEXEC) why += " (a script needs a first line like #!/bin/sh)";
  if (failure.error == E2BIG) why += " (arguments and environment)";
  throw Error(Errc::unavailable, fmt::format("run {}: {}", options.program, why));
}

// The child's report: end of file once it runs the program, a Failure when it could not.
std::optional<Failure> read_report(const FileDescriptor& pipe) {
  Failure failure{};
  ssize_t got;
  do {
    got = ::read(pipe.get(), &failure, sizeof failure);
  } while (got < 0 && errno == EINTR);
  if (got != sizeof failure) return std::nullopt;
  return failure;
}

}  // namespace

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  // execve takes them without const and does not write to them.
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

StartedChild start_child(const ChildOptions& options) {
  FileDescriptor in = input_file(options.input);
  Pipe out = open_pipe(), err = open_pipe(), report = open_pipe();
  const size_t places = options.passed.size();
  std::vector<FileDescriptor> copies;
  std::vector<int> passed;
  for (int fd : options.passed) passed.push_back(copies.emplace_back(copy_above(fd, places)).get());
  // The report is written last, so it must be out of their way, too.
  if (places > 0) report.write = copy_above(report.write.get(), places);
  ::fcntl(out.read.get(), F_SETFL, O_NONBLOCK);
  ::fcntl(err.read.get(), F_SETFL, O_NONBLOCK);
  Launch launch{.program = options.program.c_str(),
                .cwd = options.cwd.empty() ? nullptr : options.cwd.c_str(),
                .argv = pointers_to(options.argv),
                .env = pointers_to(options.env),
                .limits = limits_of(options.limits),
                .groups = options.groups,
                .passed = passed,
                .parent = ::getpid(),
                .in = in.get(),
                .out = out.write.get(),
                .err = err.write.get(),
                .report = report.write.get()};
  StartedChild child;
  {
    AllSignalsBlocked blocked;
    child.pid = fork_and_become(launch);
  }
  if (child.pid < 0) fail("fork");
  child.handle = open_process(child.pid);
  int handle_error = child.handle.is_open() ? 0 : errno;
  report.write.close();
  if (auto failure = read_report(report.read)) {
    ::waitpid(child.pid, nullptr, 0);
    throw_failure(options, *failure);
  }
  if (handle_error != 0) {
    ::kill(child.pid, SIGKILL);
    ::waitpid(child.pid, nullptr, 0);
    errno = handle_error;
    fail("open a handle for the child");
  }
  child.out = std::move(out.read);
  child.err = std::move(err.read);
  return child;
}

}  // namespace opscore
