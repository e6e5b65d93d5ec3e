// Each test crashes a forked child for real.

#include "opscore/process/crash_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <string>
#include <thread>

#include "opscore/process/exit_status.h"
#include "opscore/process/file_descriptor.h"

#if defined(__has_feature)
#define OPSCORE_HAS_TSAN __has_feature(thread_sanitizer)
#else
#define OPSCORE_HAS_TSAN 0
#endif

namespace opscore {
namespace {

using testing::HasSubstr;

struct Crash {
  ExitStatus status;
  std::string err;
};

// Runs `code` in a child with the handler installed.
Crash crash(CrashPage& page, const std::function<void()>& code) {
  int fds[2];
  EXPECT_EQ(::pipe(fds), 0);
  FileDescriptor read(fds[0]), write(fds[1]);
  pid_t child = ::fork();
  if (child == 0) {
    rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::dup2(write.get(), STDERR_FILENO);
    install_crash_handler(page);
    code();
    ::_exit(0);
  }
  write.close();
  Crash result;
  char buffer[4096];
  for (ssize_t got; (got = ::read(read.get(), buffer, sizeof buffer)) > 0;)
    result.err.append(buffer, static_cast<size_t>(got));
  int status = 0;
  ::waitpid(child, &status, 0);
  result.status = ExitStatus::from_wait(status);
  return result;
}

void write_to_nowhere() {
  volatile int* volatile nowhere = nullptr;
  *nowhere = 1;
}

// Deeper than any stack; the array keeps the recursion real, and is small enough not to step over
// the guard page.
int exhaust_stack(int depth) {
  volatile char frame[512];
  frame[0] = static_cast<char>(depth);
  return depth == 0 ? 0 : exhaust_stack(depth - 1) + frame[0];
}

TEST(CrashHandler, BlamesTheSlotOfTheThreadThatCrashed) {
  CrashPage page;
  Crash crashed = crash(page, [] {
    std::jthread slot([] {
      set_crash_slot(7);
      write_to_nowhere();
    });
  });
  EXPECT_EQ(crashed.status.signal, SIGSEGV);
  EXPECT_EQ(page.blamed_slot(), 7);
  EXPECT_EQ(page.crash_signal(), SIGSEGV);
  EXPECT_THAT(crashed.err, HasSubstr("crashed: SIGSEGV"));
  EXPECT_THAT(crashed.err, HasSubstr("slot 7"));
  EXPECT_THAT(crashed.err, HasSubstr("process_test"));  // a line of the stack
}

TEST(CrashHandler, AThreadWithoutASlotBlamesNone) {
  CrashPage page;
  Crash crashed = crash(page, [] { std::abort(); });
  EXPECT_EQ(crashed.status.signal, SIGABRT);
  EXPECT_FALSE(page.blamed_slot());
  EXPECT_EQ(page.crash_signal(), SIGABRT);
}

TEST(CrashHandler, ASlotThatWasTakenBackIsNotBlamed) {
  CrashPage page;
  crash(page, [] {
    set_crash_slot(3);
    set_crash_slot(CrashPage::kNoSlot);
    ::raise(SIGFPE);
  });
  EXPECT_FALSE(page.blamed_slot());
}

TEST(CrashHandler, RunningOutOfStackIsReportedToo) {
#if defined(__SANITIZE_THREAD__) || OPSCORE_HAS_TSAN
  GTEST_SKIP() << "the stack may end inside the sanitizer's own runtime, which then cannot go on";
#endif
  CrashPage page;
  Crash crashed = crash(page, [] {
    std::jthread slot([] {
      set_crash_slot(2);
      exhaust_stack(1 << 30);
    });
  });
  EXPECT_EQ(crashed.status.signal, SIGSEGV);
  EXPECT_EQ(page.blamed_slot(), 2);
}

TEST(CrashHandler, ASignalFromOutsideBlamesNobody) {
#if defined(__SANITIZE_THREAD__) || OPSCORE_HAS_TSAN
  GTEST_SKIP() << "the sanitizer takes such a signal for a fault of whatever it interrupts";
#endif
  CrashPage page;
  Crash crashed = crash(page, [] {
    set_crash_slot(1);
    pid_t worker = ::getpid();
    if (::fork() == 0) {
      ::kill(worker, SIGABRT);
      ::_exit(0);
    }
    while (true) ::pause();
  });
  EXPECT_EQ(crashed.status.signal, SIGABRT);
  EXPECT_FALSE(page.blamed_slot());
  EXPECT_TRUE(page.sent_from_outside());
  EXPECT_THAT(crashed.err, HasSubstr("sent by process"));
}

TEST(CrashHandler, QuitPrintsAllStacksAndGoesOn) {
  CrashPage page;
  Crash crashed = crash(page, [] {
    std::atomic<bool> ready{false};
    std::jthread other([&](std::stop_token stop) {
      set_crash_slot(5);
      ready = true;
      ready.notify_all();
      while (!stop.stop_requested()) std::this_thread::yield();
    });
    ready.wait(false);
    ::kill(::getpid(), SIGQUIT);
  });
  EXPECT_TRUE(crashed.status.success()) << crashed.status.words();
  EXPECT_THAT(crashed.err, HasSubstr("stack of thread"));
  EXPECT_THAT(crashed.err, HasSubstr("slot 5"));
  EXPECT_EQ(page.crash_signal(), 0);
}

}  // namespace
}  // namespace opscore
