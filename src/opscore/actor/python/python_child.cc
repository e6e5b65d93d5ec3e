#include "opscore/actor/python/python_child.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <fstream>
#include <system_error>

#include "opscore/base/json.h"

namespace opscore {
namespace {

constexpr size_t kReadBytes = 256 * 1024;
constexpr size_t kLineBytes = 64 * 1024;
constexpr size_t kTailBytes = 16 * 1024;
constexpr size_t kCrashBytes = 32 * 1024;

// What the interpreter begins with. The package of this program comes last on sys.path, so that it
// is used only where there is no other; one of another version speaks another protocol.
constexpr char kBegin[] = R"py(
import json, sys
settings = json.loads(sys.argv[1])
sys.path[0:1] = settings["path"]
settings["own_package"] = False
try:
    import opscore
except ModuleNotFoundError as error:
    if error.name != "opscore":
        raise
    sys.path.append(settings["package"])
    import opscore
    settings["own_package"] = True
if getattr(opscore, "__version__", None) != settings["version"]:
    sys.exit(
        "the package opscore in %s has version %s, this program has %s; install the same version, "
        "or none, and the one inside this program is used"
        % (opscore.__file__, getattr(opscore, "__version__", "unknown"), settings["version"])
    )
sys.argv[:] = [""]
from opscore._host import main
main(settings)
)py";

// Where the child finds what it is passed.
enum Passed { kSocket = 3, kCells = 4, kCrash = 5, kPackage = 6 };

[[noreturn]] void fail(const std::string& what) {
  throw Error(Errc::unavailable,
              fmt::format("{}: {}", what, std::generic_category().message(errno)));
}

FileDescriptor memory_file(const char* name) {
  FileDescriptor file(::memfd_create(name, MFD_CLOEXEC));
  if (!file.is_open()) fail("make a file in memory");
  return file;
}

Json settings_of(const PythonOptions& options) {
  return {{"modules", options.modules},
          {"dramatiq", options.dramatiq},
          {"path", options.path},
          {"log_level", options.log_level},
          {"takes_logging", options.takes_logging},
          {"threads", options.threads},
          {"version", options.version},
          {"package", fmt::format("/proc/self/fd/{}", static_cast<int>(kPackage))},
          {"socket", kSocket},
          {"cells", kCells},
          {"crash", kCrash},
          {"report_imports_ms", options.report_imports.count()}};
}

bool is_crash(int signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE ||
         signal == SIGABRT || signal == SIGSYS || signal == SIGTRAP;
}

// The thread that the interpreter's report calls the current one.
std::optional<uint64_t> crashed_thread(std::string_view report) {
  constexpr std::string_view kWords = "Current thread 0x";
  size_t at = report.find(kWords);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view rest = report.substr(at + kWords.size());
  uint64_t thread = 0;
  if (std::from_chars(rest.data(), rest.data() + rest.size(), thread, 16).ec != std::errc())
    return std::nullopt;
  return thread;
}

}  // namespace

PythonChild::PythonChild(Reaper& reaper, const PythonOptions& options, int package, size_t place,
                         ChildId id)
    : id_(id),
      place_(place),
      count_oom_kills_(options.count_oom_kills),
      oom_kills_before_(options.count_oom_kills()),
      cells_(options.threads),
      crash_file_(memory_file("crash")) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) fail("open a socket pair");
  socket_ = FileDescriptor(pair[0]);
  FileDescriptor theirs(pair[1]);
  ChildOptions child;
  child.program = options.interpreter;
  child.argv = {options.interpreter, "-c", kBegin, settings_of(options).dump()};
  child.env = options.env;
  child.passed = {theirs.get(), cells_.file(), crash_file_.get(), package};
  program_ = reaper.start(child, fmt::format("python child {}", place + 1));
}

std::string PythonChild::words() const {
  return fmt::format("python child {} (pid {})", place_ + 1, program_->pid());
}

bool PythonChild::write_some() {
  while (!unsent_.empty()) {
    ssize_t sent =
        ::send(socket_.get(), unsent_.data(), unsent_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return false;
    if (sent < 0) unsent_.clear();  // it has ended, or is about to: poll() tells
    unsent_.erase(0, sent < 0 ? 0 : static_cast<size_t>(sent));
  }
  return true;
}

bool PythonChild::send(const std::string& frame) {
  MutexLock lock(mutex_);
  unsent_ += frame;
  return write_some();
}

bool PythonChild::flush() {
  MutexLock lock(mutex_);
  return write_some();
}

bool PythonChild::wants_to_write() const {
  MutexLock lock(mutex_);
  return !unsent_.empty();
}

void PythonChild::hear(const std::function<void(ChildSpeech)>& take) {
  std::array<char, kReadBytes> buffer;
  while (true) {
    ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    frames_.feed({buffer.data(), static_cast<size_t>(got)});
    while (auto payload = frames_.next()) take(parse_speech(*payload));
    if (static_cast<size_t>(got) < buffer.size()) return;
  }
}

void PythonChild::read_output(const std::function<void(LogLevel, std::string)>& take) {
  if (out_.is_open) read_lines(program_->out(), out_, LogLevel::info, take);
  if (err_.is_open) read_lines(program_->err(), err_, LogLevel::warn, take);
}

void PythonChild::read_lines(int fd, Output& output, LogLevel level,
                             const std::function<void(LogLevel, std::string)>& take) {
  std::array<char, kLineBytes> buffer;
  while (true) {
    ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) break;
    if (got <= 0) {
      output.is_open = false;
      break;
    }
    output.partial.append(buffer.data(), static_cast<size_t>(got));
    if (&output == &err_) {
      tail_.append(buffer.data(), static_cast<size_t>(got));
      tail_.erase(0, tail_.size() - std::min(tail_.size(), kTailBytes));
    }
  }
  size_t done = 0;
  for (size_t end; (end = output.partial.find('\n', done)) != std::string::npos; done = end + 1)
    take(level, to_valid_utf8(output.partial.substr(done, end - done)));
  output.partial.erase(0, done);
  if (!output.partial.empty() && (!output.is_open || output.partial.size() > kLineBytes))
    take(level, to_valid_utf8(std::exchange(output.partial, {})));
}

void PythonChild::close() {
  if (!closed_at_) closed_at_ = std::chrono::steady_clock::now();
  ::shutdown(socket_.get(), SHUT_WR);
}

Duration PythonChild::closed_for() const {
  if (!closed_at_) return Duration(0);
  return std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - *closed_at_);
}

void PythonChild::kill(const std::string& why) {
  if (killed_for_.empty()) killed_for_ = why;
  program_->kill();
}

std::string PythonChild::crash_report() const {
  std::string report(kCrashBytes, '\0');
  ssize_t got = ::pread(crash_file_.get(), report.data(), report.size(), 0);
  report.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return to_valid_utf8(report);
}

std::optional<ChildEnd> PythonChild::poll() {
  auto status = program_->poll();
  if (!status) return std::nullopt;
  program_->end();
  ChildEnd end;
  end.entered = cells_.entered();
  end.detail = crash_report();
  const bool by_oom_killer =
      status->signal == SIGKILL && killed_for_.empty() && count_oom_kills_() != oom_kills_before_;
  if (!killed_for_.empty()) {
    end.why = ChildEnd::Why::killed;
  } else if (is_crash(status->signal) || by_oom_killer) {
    end.why = ChildEnd::Why::crashed;
    if (auto thread = crashed_thread(end.detail)) end.blamed = cells_.only_task_of(*thread);
  } else {
    end.why = closed_at_ && status->success() ? ChildEnd::Why::left : ChildEnd::Why::gone;
  }
  end.words = fmt::format("{} ended: {}", words(), status->words());
  if (by_oom_killer) end.words += " (out of memory)";
  if (!killed_for_.empty()) end.words += "; it was killed because " + killed_for_;
  return end;
}

uint64_t PythonChild::resident_bytes() const {
  std::ifstream file(fmt::format("/proc/{}/statm", pid()));
  uint64_t total = 0, resident = 0;
  file >> total >> resident;
  return file ? resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

}  // namespace opscore
