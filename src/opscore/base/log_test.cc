#include "opscore/base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <future>
#include <regex>
#include <thread>

#include "opscore/base/json.h"
#include "opscore/base/time.h"

namespace opscore {
namespace {

// A small pipe whose write end a Log opens by name. Reads all that comes until the Log has gone.
class Pipe {
 public:
  Pipe() {
    EXPECT_EQ(::pipe2(ends_, O_CLOEXEC), 0);
    ::fcntl(ends_[1], F_SETPIPE_SZ, 4096);
  }
  ~Pipe() { close_ends(); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(ends_[1]); }
  void close_ends() {
    for (int& end : ends_)
      if (end >= 0) ::close(std::exchange(end, -1));
  }
  std::string read_what_is_there() {
    char buffer[4096];
    ::fcntl(ends_[0], F_SETFL, O_NONBLOCK);
    ssize_t got = ::read(ends_[0], buffer, sizeof buffer);
    return std::string(buffer, got > 0 ? static_cast<size_t>(got) : 0);
  }
  std::string read_all() {
    ::close(std::exchange(ends_[1], -1));
    std::string all;
    char buffer[65536];
    for (ssize_t got; (got = ::read(ends_[0], buffer, sizeof buffer)) > 0;)
      all.append(buffer, static_cast<size_t>(got));
    return all;
  }

 private:
  int ends_[2] = {-1, -1};
};

LogOptions to(const Pipe& pipe, LogOptions::Format format) {
  LogOptions options;
  options.file = pipe.path();
  options.format = format;
  return options;
}

// What `write` logs.
template <class F>
std::string logged(LogOptions::Format format, F&& write) {
  Pipe pipe;
  std::future<std::string> text;
  {
    Log log(to(pipe, format));
    text = std::async(std::launch::async, [&] { return pipe.read_all(); });
    write(log);
  }
  return text.get();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

TEST(Log, WritesOneJsonObjectALine) {
  std::string text = logged(LogOptions::Format::json, [](Log& log) {
    log.info("hello {}", 1);
    log.warn("quote \" newline \n bad utf-8 \xff");
  });
  auto lines = lines_of(text);
  ASSERT_EQ(lines.size(), 2u) << text;
  Json first = Json::parse(lines[0]), second = Json::parse(lines[1]);
  EXPECT_EQ(first["level"], "info");
  EXPECT_EQ(first["message"], "hello 1");
  EXPECT_TRUE(parse_rfc3339(first["time"].get<std::string>()));
  EXPECT_EQ(second["level"], "warn");
  EXPECT_EQ(second["message"], "quote \" newline \n bad utf-8 \xef\xbf\xbd");
}

TEST(Log, TextCannotForgeLinesOrMoveTheCursor) {
  std::string text = logged(LogOptions::Format::text, [](Log& log) {
    log.error("a\n2026-01-01T00:00:00.000Z info  forged\x1b[2J\x7f\tb");
  });
  EXPECT_TRUE(std::regex_match(
      text, std::regex("\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z error a\n"
                       "    2026-01-01T00:00:00.000Z info  forged\\\\x1b\\[2J\\\\x7f\tb\n")))
      << text;
}

TEST(Log, WhatIsNotATerminalGetsJson) {
  std::string text = logged(LogOptions::Format::automatic, [](Log& log) { log.info("x"); });
  EXPECT_TRUE(check_json(text)) << text;
}

TEST(Log, KeepsToItsLevel) {
  std::string text = logged(LogOptions::Format::text, [](Log& log) {
    log.debug("unseen");
    log.set_level(LogLevel::debug);
    EXPECT_TRUE(log.enabled(LogLevel::debug));
    log.debug("seen");
    log.set_level(LogLevel::off);
    EXPECT_FALSE(log.enabled(LogLevel::error));
    EXPECT_FALSE(log.enabled(LogLevel::off));
    log.error("unseen");
  });
  EXPECT_EQ(lines_of(text).size(), 1u) << text;
}

TEST(Log, KeepsTheOrderOfEachThread) {
  constexpr int kThreads = 4, kLines = 500;
  std::string text = logged(LogOptions::Format::text, [](Log& log) {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread)
      threads.emplace_back([&log, thread] {
        for (int i = 0; i < kLines; ++i) log.info("<{} {}>", thread, i);
      });
  });
  std::vector<int> next(kThreads, 0);
  for (const auto& line : lines_of(text)) {
    int thread = -1, i = -1;
    ASSERT_EQ(std::sscanf(line.c_str() + line.find('<'), "<%d %d>", &thread, &i), 2) << line;
    EXPECT_EQ(i, next[static_cast<size_t>(thread)]++);
  }
  EXPECT_EQ(next, std::vector<int>(kThreads, kLines));
}

TEST(Log, CountsWhatItDropsWhileNobodyReads) {
  constexpr int kLines = 20'000;
  Pipe pipe;
  std::future<std::string> reading;
  uint64_t dropped = 0;
  {
    Log log(to(pipe, LogOptions::Format::text));
    for (int i = 0; i < kLines; ++i) log.info("line {}", i);
    // One batch is with the writer, one in the queue, and a little in the pipe.
    dropped = log.dropped();
    EXPECT_GT(dropped, kLines - 2 * 8192 - 100u);
    reading = std::async(std::launch::async, [&] { return pipe.read_all(); });
  }
  size_t seen = 0;
  uint64_t reported = 0;
  for (const auto& line : lines_of(reading.get())) {
    if (line.find(" line ") != std::string::npos) ++seen;
    std::smatch match;
    if (std::regex_search(line, match, std::regex("(\\d+) log lines dropped")))
      reported += std::stoull(match[1]);
  }
  EXPECT_EQ(seen + dropped, static_cast<size_t>(kLines));
  EXPECT_EQ(reported, dropped);
}

TEST(Log, FlushWaitsForTheSink) {
  Pipe pipe;
  Log log(to(pipe, LogOptions::Format::text));
  for (int i = 0; i < 3; ++i) {
    log.info("line {}", i);
    log.flush();
    EXPECT_NE(pipe.read_what_is_there().find("line " + std::to_string(i)), std::string::npos);
  }
}

TEST(Log, AReaderThatHasGoneCostsLinesOnly) {
  Pipe pipe;
  Log log(to(pipe, LogOptions::Format::text));
  pipe.close_ends();
  log.info("into nothing");
  log.flush();
  EXPECT_GE(log.dropped(), 1u);
}

TEST(Log, EndsThoughNobodyReads) {
  Pipe pipe;
  auto log = std::make_unique<Log>(to(pipe, LogOptions::Format::text));
  for (int i = 0; i < 1000; ++i) log->info("line {}", i);
  log.reset();  // hangs when it waits for the pipe
  pipe.close_ends();
}

TEST(Log, HugeLinesAreCut) {
  std::string text = logged(LogOptions::Format::json,
                            [](Log& log) { log.info("{}", std::string(1 << 20, 'x') + "é"); });
  EXPECT_LT(text.size(), 20'000u);
  EXPECT_TRUE(check_json(text));
}

TEST(Log, AFileThatCannotBeOpenedIsAnError) {
  LogOptions options;
  options.file = "/nonexistent/folder/log";
  try {
    Log log(options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid);
    EXPECT_EQ(error.message(),
              "open log file '/nonexistent/folder/log': No such file or directory");
  }
}

TEST(LogLevel, WordsReadBack) {
  for (LogLevel level : {LogLevel::trace, LogLevel::debug, LogLevel::info, LogLevel::warn,
                         LogLevel::error, LogLevel::off})
    EXPECT_EQ(parse_log_level(to_string(level)), level);
  try {
    parse_log_level("loud");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(),
              "'loud' is not a log level; choose one of trace, debug, info, warn, error, off");
  }
}

TEST(Log, SilentLogWritesNothing) {
  auto log = silent_log();
  EXPECT_FALSE(log->enabled(LogLevel::error));
  log->error("unseen");
  log->flush();
  EXPECT_EQ(log->dropped(), 0u);
}

}  // namespace
}  // namespace opscore
