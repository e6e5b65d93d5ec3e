#include "opscore/base/log.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#include "opscore/base/json.h"
#include "opscore/base/mutex.h"
#include "opscore/base/thread.h"
#include "opscore/base/time.h"

namespace opscore {
namespace {

constexpr size_t kQueueLines = 8192;
constexpr size_t kQueueBytes = 8 << 20;
constexpr size_t kLineBytes = 16 << 10;
// What a pipe takes in one piece: lines of processes that share it do not get mixed.
constexpr size_t kWriteBytes = 4096;
constexpr std::chrono::seconds kFlushWait(1);

constexpr std::array<std::string_view, 6> kLevels{"trace", "debug", "info", "warn", "error", "off"};

// Nothing that a message contains can move a terminal's cursor or look like another line.
void append_text(std::string& out, std::string_view message) {
  for (char c : message) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '\n')
      out += "\n    ";
    else if ((byte < 0x20 && c != '\t') || byte == 0x7f)
      out += fmt::format("\\x{:02x}", byte);
    else
      out += c;
  }
}

std::string format_line(bool json, LogLevel level, std::string_view message) {
  std::string line;
  std::string time = to_rfc3339(SystemClock().now());
  if (json) {
    line = fmt::format(R"({{"time":"{}","level":"{}","message":)", time, to_string(level));
    append_quoted(line, message);
    line += "}\n";
  } else {
    line = fmt::format("{} {:5} ", time, to_string(level));
    append_text(line, message);
    line += '\n';
  }
  return line;
}

// Cut at a character's start, so that a cut line is still UTF-8.
std::string_view cut(std::string_view message) {
  if (message.size() <= kLineBytes) return message;
  size_t end = kLineBytes;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xc0) == 0x80) --end;
  return message.substr(0, end);
}

}  // namespace

// Shared with the writer thread, which outlives the Log when its sink never takes the last lines.
struct Log::Impl {
  std::atomic<LogLevel> level{LogLevel::info};
  std::atomic<uint64_t> dropped{0};
  bool json = false;
  int fd = STDERR_FILENO;
  bool owns_fd = false;

  Mutex mutex;
  ConditionVariable changed;
  std::vector<std::string> queue OPSCORE_GUARDED_BY(mutex);  // like what follows
  size_t queue_bytes OPSCORE_GUARDED_BY(mutex) = 0;
  uint64_t queued OPSCORE_GUARDED_BY(mutex) = 0;   // lines ever
  uint64_t written OPSCORE_GUARDED_BY(mutex) = 0;  // of them, lines that the sink took or refused
  bool started OPSCORE_GUARDED_BY(mutex) = false;
  bool closing OPSCORE_GUARDED_BY(mutex) = false;
  bool ended OPSCORE_GUARDED_BY(mutex) = false;

  ~Impl() {
    if (owns_fd) ::close(fd);
  }
  static void start_writer(std::shared_ptr<Impl> impl);
  void run();
  bool write_all(std::string_view bytes);
  void write_lines(const std::vector<std::string>& lines);
};

bool Log::Impl::write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t took = ::write(fd, bytes.data(), bytes.size());
    if (took >= 0) {
      bytes.remove_prefix(static_cast<size_t>(took));
    } else if (errno == EAGAIN) {  // somebody who shares the description made it non-blocking
      pollfd ready{fd, POLLOUT, 0};
      ::poll(&ready, 1, 1000);
      if (!(ready.revents & POLLOUT)) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

void Log::Impl::write_lines(const std::vector<std::string>& lines) {
  std::string piece;
  for (size_t i = 0, in_piece = 0; i < lines.size(); ++i) {
    piece += lines[i];
    ++in_piece;
    if (i + 1 < lines.size() && piece.size() + lines[i + 1].size() <= kWriteBytes) continue;
    if (!write_all(piece)) dropped += in_piece;
    piece.clear();
    in_piece = 0;
  }
}

void Log::Impl::run() {
  name_thread("log");
  uint64_t reported = 0;
  MutexLock lock(mutex);
  for (;;) {
    changed.wait(lock, [this]() OPSCORE_REQUIRES(mutex) { return !queue.empty() || closing; });
    if (queue.empty()) break;
    std::vector<std::string> lines;
    lines.swap(queue);
    queue_bytes = 0;
    lock.unlock();
    write_lines(lines);
    if (uint64_t now = dropped; now != reported) {
      auto words =
          fmt::format("{} log lines dropped: the log's reader is too slow or gone", now - reported);
      if (write_all(format_line(json, LogLevel::warn, words))) reported = now;
    }
    lock.lock();
    written += lines.size();
    changed.notify_all();
  }
  ended = true;
  changed.notify_all();
}

void Log::Impl::start_writer(std::shared_ptr<Impl> impl) {
  // No signal is handled here, so that SIGPIPE is an error code and the others find their thread.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([impl = std::move(impl)] { impl->run(); }).detach();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Log::Log(const LogOptions& options) : impl_(std::make_shared<Impl>()) {
  impl_->level = options.level;
  if (!options.file.empty()) {
    impl_->fd = ::open(options.file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (impl_->fd < 0)
      throw Error(Errc::invalid, fmt::format("open log file '{}': {}", options.file,
                                             std::generic_category().message(errno)));
    impl_->owns_fd = true;
  }
  impl_->json = options.format == LogOptions::Format::automatic
                    ? !::isatty(impl_->fd)
                    : options.format == LogOptions::Format::json;
}

Log::~Log() {
  MutexLock lock(impl_->mutex);
  impl_->closing = true;
  impl_->changed.notify_all();
  // A sink that blocks for good must not keep the process from ending.
  impl_->changed.wait_for(lock, kFlushWait, [this]() OPSCORE_REQUIRES(impl_->mutex) {
    return !impl_->started || impl_->ended;
  });
}

bool Log::enabled(LogLevel level) const {
  return level != LogLevel::off && level >= impl_->level.load(std::memory_order_relaxed);
}

void Log::set_level(LogLevel level) {
  impl_->level = level;
}

void Log::write(LogLevel level, std::string_view message) {
  if (!enabled(level)) return;
  std::string line = format_line(impl_->json, level, cut(message));
  MutexLock lock(impl_->mutex);
  if (impl_->queue.size() >= kQueueLines || impl_->queue_bytes + line.size() > kQueueBytes) {
    ++impl_->dropped;
    return;
  }
  if (!impl_->started) {
    Impl::start_writer(impl_);
    impl_->started = true;
  }
  impl_->queue_bytes += line.size();
  impl_->queue.push_back(std::move(line));
  ++impl_->queued;
  impl_->changed.notify_all();
}

uint64_t Log::dropped() const {
  return impl_->dropped;
}

void Log::flush() {
  MutexLock lock(impl_->mutex);
  impl_->changed.wait_for(lock, kFlushWait,
                          [this, upto = impl_->queued]()
                              OPSCORE_REQUIRES(impl_->mutex) { return impl_->written >= upto; });
}

LogLevel parse_log_level(std::string_view text) {
  if (text == "warning") return LogLevel::warn;
  for (size_t i = 0; i < kLevels.size(); ++i)
    if (kLevels[i] == text) return static_cast<LogLevel>(i);
  throw Error(Errc::invalid, fmt::format("'{}' is not a log level; choose one of {}", text,
                                         fmt::join(kLevels, ", ")));
}

std::string_view to_string(LogLevel level) {
  return kLevels[static_cast<size_t>(level)];
}

std::unique_ptr<Log> silent_log() {
  LogOptions options;
  options.level = LogLevel::off;
  options.file = "/dev/null";
  return std::make_unique<Log>(options);
}

}  // namespace opscore
