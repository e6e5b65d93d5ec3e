#pragma once
// Logging: never blocks a caller. Lines go through a bounded queue (8,192 lines, 8 MiB) to one
// writer thread, which starts with the first line; when the queue is full the newest lines are
// dropped, counted, and the count is logged. Text on a terminal, one JSON object a line otherwise.
// Safe for concurrent use; lines still queued are lost with kill -9. A reader that has gone away or
// stands still costs lines, never the process: no SIGPIPE, and the end waits for it a second. A
// forked child makes a Log of its own.

#include <fmt/format.h>

#include <memory>
#include <string>
#include <string_view>

#include "opscore/base/error.h"

namespace opscore {

struct LogOptions {
  LogLevel level = LogLevel::info;
  enum class Format { automatic, text, json } format = Format::automatic;
  std::string file;  // empty: stderr
};

class Log {
 public:
  // Throws Error{invalid} when the file cannot be opened.
  explicit Log(const LogOptions& options);
  ~Log();
  Log(const Log&) = delete;

  bool enabled(LogLevel level) const;
  void set_level(LogLevel level);
  void write(LogLevel level, std::string_view message);
  // Lines that were lost because the sink was slower than the writers, or refused them.
  uint64_t dropped() const;
  // Waits until what is queued has been handed to the sink, at most a second.
  void flush();

  template <class... Args>
  void debug(fmt::format_string<Args...> text, Args&&... args) {
    line(LogLevel::debug, text, std::forward<Args>(args)...);
  }
  template <class... Args>
  void info(fmt::format_string<Args...> text, Args&&... args) {
    line(LogLevel::info, text, std::forward<Args>(args)...);
  }
  template <class... Args>
  void warn(fmt::format_string<Args...> text, Args&&... args) {
    line(LogLevel::warn, text, std::forward<Args>(args)...);
  }
  template <class... Args>
  void error(fmt::format_string<Args...> text, Args&&... args) {
    line(LogLevel::error, text, std::forward<Args>(args)...);
  }

 private:
  template <class... Args>
  void line(LogLevel level, fmt::format_string<Args...> text, Args&&... args) {
    if (enabled(level)) write(level, fmt::format(text, std::forward<Args>(args)...));
  }
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Parses "debug", "info", ... ; throws Error{invalid} naming the choices.
LogLevel parse_log_level(std::string_view text);
std::string_view to_string(LogLevel level);

// A log that writes nothing, for tests and tools.
std::unique_ptr<Log> silent_log();

}  // namespace opscore
