// Real forks: every test runs a supervisor in a child process, and its workers below that.

#include "opscore/app/supervisor.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "opscore/process/crash_handler.h"
#include "opscore/process/file_descriptor.h"
#include "opscore/process/process_tree.h"

#if defined(__has_feature)
#define OPSCORE_HAS_TSAN __has_feature(thread_sanitizer)
#else
#define OPSCORE_HAS_TSAN 0
#endif

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

bool ends(pid_t pid) {
  FileDescriptor handle = open_process(pid);
  if (!handle.is_open()) return true;
  pollfd ended{handle.get(), POLLIN, 0};
  return ::poll(&ended, 1, 10'000) == 1;
}

// What workers of one test share: which start this is, and a pipe to the test.
struct Shared {
  std::atomic<int> starts{0};
  std::atomic<uint64_t> oom_kills{0};
};

class Supervised {
 public:
  using Main = std::function<int(WorkerLink&, int start, Supervised&)>;

  explicit Supervised(
      Main main, SupervisorOptions options = {}, std::function<void()> before = [] {}) {
    void* memory =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared = new (memory) Shared;
    int fds[2];
    if (::pipe(fds) != 0) throw std::runtime_error("pipe");
    read_ = FileDescriptor(fds[0]);
    write_ = FileDescriptor(fds[1]);
    options.count_oom_kills = [this] { return shared->oom_kills.load(); };
    pid_ = ::fork();
    if (pid_ != 0) {
      write_.close();
      return;
    }
    rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    before();
    int code = supervise(options, [&](WorkerLink& link) {
      ::_exit(main(link, ++shared->starts, *this));  // no static destructors of the test program
      return 0;
    });
    ::_exit(code);
  }
  ~Supervised() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::munmap(shared, sizeof(Shared));
  }

  void say(const std::string& line) {
    [[maybe_unused]] ssize_t n = ::write(write_.get(), (line + "\n").data(), line.size() + 1);
  }
  // The next line of a worker; empty after ten seconds or when all have ended.
  std::string hear() {
    std::string line;
    char c = 0;
    pollfd readable{read_.get(), POLLIN, 0};
    while (::poll(&readable, 1, 10'000) == 1 && ::read(read_.get(), &c, 1) == 1 && c != '\n')
      line += c;
    return line;
  }
  void signal(int number) { ::kill(pid_, number); }
  // The supervisor's exit code; -1 when it does not end.
  int code() {
    if (!ends(pid_)) return -1;
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  pid_t pid() const { return pid_; }

  Shared* shared;

 private:
  FileDescriptor read_, write_;
  pid_t pid_ = 0;
};

std::string describe(const std::optional<Death>& death) {
  if (!death) return "none";
  std::string text = fmt::format("{} {} session={} blamed={}",
                                 death->cause == Death::Cause::crashed ? "crashed" : "gone",
                                 death->words, death->session, death->blamed_slot.value_or(-1));
  for (const auto& entered : death->entered)
    text += fmt::format(" {}#{}@{} since {}", entered.key, entered.attempt, entered.slot,
                        to_ms(entered.started_at));
  return text;
}

// Ends the first worker by `end`; the second one tells how.
std::string death_by(const std::function<void(WorkerLink&, Supervised&)>& end,
                     SupervisorOptions options = {}) {
  Supervised test(
      [&](WorkerLink& link, int start, Supervised& test) {
        if (start > 1) {
          test.say(describe(link.previous_death));
          return 0;
        }
        link.page.set_session(77);
        link.progress();
        end(link, test);
        return 9;
      },
      options);
  std::string words = test.hear();
  EXPECT_EQ(test.code(), 0);
  return words;
}

TEST(Supervisor, ReturnsWhatIsFinal) {
  for (int code : {0, 2}) {
    Supervised test([&](WorkerLink& link, int, Supervised&) {
      link.progress();
      return code;
    });
    EXPECT_EQ(test.code(), code);
    EXPECT_EQ(test.shared->starts, 1);
  }
}

TEST(Supervisor, AFirstWorkerThatCannotStartIsFinal) {
  Supervised test([](WorkerLink&, int, Supervised&) { return 4; });
  EXPECT_EQ(test.code(), 4);
  EXPECT_EQ(test.shared->starts, 1);
}

TEST(Supervisor, ALaterOneThatCannotStartIsTriedAgain) {
  Supervised test([](WorkerLink& link, int start, Supervised&) {
    if (start == 1) link.progress();
    return start < 4 ? 4 : 0;
  });
  EXPECT_EQ(test.code(), 0);
  EXPECT_EQ(test.shared->starts, 4);
}

TEST(Supervisor, TellsHowAWorkerCrashedAndWhatItRan) {
  EXPECT_EQ(death_by([](WorkerLink& link, Supervised&) {
              link.page.enter({.key = 1001, .attempt = 2, .slot = 3, .started_at = from_ms(7)});
              link.page.enter({.key = 1002, .attempt = 1, .slot = 8, .started_at = from_ms(9)});
              set_crash_slot(3);
              ::raise(SIGSEGV);
            }),
            "crashed died of SIGSEGV session=77 blamed=3 1001#2@3 since 7 1002#1@8 since 9");
}

TEST(Supervisor, EveryCrashSignalIsACrash) {
  for (int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGSYS, SIGTRAP})
    EXPECT_THAT(death_by([&](WorkerLink&, Supervised&) { ::raise(signal); }),
                HasSubstr("crashed died of SIG"));
}

TEST(Supervisor, APlainKillIsNoCrash) {
  EXPECT_EQ(death_by([](WorkerLink& link, Supervised&) {
              link.page.enter({.key = 5, .attempt = 1, .slot = 0, .started_at = {}});
              ::raise(SIGKILL);
            }),
            "gone was killed by SIGKILL session=77 blamed=-1 5#1@0 since 0");
  EXPECT_THAT(death_by([](WorkerLink&, Supervised&) { ::raise(SIGTERM); }),
              HasSubstr("gone was killed by SIGTERM"));
}

TEST(Supervisor, ACrashSignalSentByAnotherProcessIsNoCrash) {
#if defined(__SANITIZE_THREAD__) || OPSCORE_HAS_TSAN
  GTEST_SKIP() << "the sanitizer takes such a signal for a fault of whatever it interrupts";
#endif
  EXPECT_EQ(death_by([](WorkerLink&, Supervised&) {
              pid_t worker = ::getpid();
              if (::fork() == 0) {
                ::kill(worker, SIGABRT);
                ::_exit(0);
              }
              while (true) ::pause();
            }),
            "gone was killed by SIGABRT session=77 blamed=-1");
}

TEST(Supervisor, TheOomKillerIsACrash) {
  EXPECT_THAT(death_by([](WorkerLink& link, Supervised& test) {
                ++test.shared->oom_kills;
                ::raise(SIGKILL);
              }),
              HasSubstr("crashed was killed by the kernel: out of memory"));
}

TEST(Supervisor, AnExitWithAnErrorIsTold) {
  EXPECT_EQ(death_by([](WorkerLink&, Supervised&) {}),
            "gone exited with code 9 session=77 blamed=-1");
}

TEST(Supervisor, AWorkerThatIsSilentIsKilled) {
  SupervisorOptions options;
  options.silence = 100ms;
  options.stacks_grace = 50ms;
  EXPECT_EQ(death_by(
                [](WorkerLink&, Supervised&) {
                  while (true) ::pause();
                },
                options),
            "gone made no progress for 100ms and was killed session=77 blamed=-1");
}

TEST(Supervisor, AWorkerThatMakesProgressIsNot) {
  SupervisorOptions options;
  options.silence = 200ms;
  Supervised test(
      [](WorkerLink& link, int, Supervised&) {
        auto end = std::chrono::steady_clock::now() + 800ms;
        while (std::chrono::steady_clock::now() < end) {
          link.progress();
          ::poll(nullptr, 0, 10);
        }
        return 0;
      },
      options);
  EXPECT_EQ(test.code(), 0);
  EXPECT_EQ(test.shared->starts, 1);
}

TEST(Supervisor, ADeathBeforeTheSessionKeepsTheOneBefore) {
  Supervised test([](WorkerLink& link, int start, Supervised& test) {
    if (start == 1) {
      link.progress();
      link.page.set_session(5);
      ::raise(SIGSEGV);
    }
    if (start == 2) ::raise(SIGKILL);
    test.say(describe(link.previous_death));
    return 0;
  });
  EXPECT_EQ(test.hear(), "crashed died of SIGSEGV session=5 blamed=-1");
  EXPECT_EQ(test.code(), 0);
}

TEST(Supervisor, PassesSignalsOnAndStops) {
  for (int signal : {SIGTERM, SIGINT}) {
    Supervised test([](WorkerLink& link, int, Supervised& test) {
      sigset_t stop;
      sigemptyset(&stop);
      sigaddset(&stop, SIGTERM);
      sigaddset(&stop, SIGINT);
      ::sigprocmask(SIG_BLOCK, &stop, nullptr);
      link.progress();
      test.say("ready");
      int got = 0;
      ::sigwait(&stop, &got);
      test.say(std::to_string(got));
      return 7;
    });
    EXPECT_EQ(test.hear(), "ready");
    test.signal(signal);
    EXPECT_EQ(test.hear(), std::to_string(signal));
    EXPECT_EQ(test.code(), 7);  // though it is an error, it was asked to stop
  }
}

TEST(Supervisor, PassesOtherSignalsOnAndGoesOn) {
  Supervised test([](WorkerLink& link, int, Supervised& test) {
    sigset_t waited;
    sigemptyset(&waited);
    for (int signal : {SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&waited, signal);
    ::sigprocmask(SIG_BLOCK, &waited, nullptr);
    link.progress();
    test.say("ready");
    for (int got = 0; got != SIGUSR2; test.say(std::to_string(got))) ::sigwait(&waited, &got);
    return 0;
  });
  EXPECT_EQ(test.hear(), "ready");
  for (int signal : {SIGUSR1, SIGHUP, SIGUSR2}) {
    test.signal(signal);
    EXPECT_EQ(test.hear(), std::to_string(signal));
  }
  EXPECT_EQ(test.code(), 0);
}

TEST(Supervisor, AWorkerThatDoesNotHandleASignalIsNotRestarted) {
  Supervised test([](WorkerLink& link, int, Supervised& test) {
    link.progress();
    test.say("ready");
    while (true) ::pause();
    return 0;
  });
  EXPECT_EQ(test.hear(), "ready");
  test.signal(SIGUSR1);
  EXPECT_EQ(test.code(), 128 + SIGUSR1);
}

TEST(Supervisor, ACrashAfterTheRequestToStopIsTheEnd) {
  Supervised test([](WorkerLink& link, int, Supervised&) {
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &stop, nullptr);
    link.progress();
    ::kill(::getppid(), SIGTERM);
    int got = 0;
    ::sigwait(&stop, &got);
    ::raise(SIGSEGV);
    return 0;
  });
  EXPECT_EQ(test.code(), 128 + SIGSEGV);
  EXPECT_EQ(test.shared->starts, 1);
}

TEST(Supervisor, TheWorkerDiesWithIt) {
  Supervised test([](WorkerLink& link, int, Supervised& test) {
    link.progress();
    test.say(std::to_string(::getpid()));
    while (true) ::pause();
    return 0;
  });
  pid_t worker = std::stoi(test.hear());
  test.signal(SIGKILL);
  EXPECT_TRUE(ends(worker));
}

TEST(Supervisor, WhatADeadWorkerStartedIsDeadBeforeTheNext) {
  Supervised test([](WorkerLink& link, int start, Supervised& test) {
    if (start == 2) {
      test.say("next");
      return 0;
    }
    link.progress();
    // A child and a grandchild that escaped into sessions of their own.
    if (pid_t child = ::fork(); child == 0) {
      ::setsid();
      if (::fork() == 0) {
        ::setsid();
        test.say(std::to_string(::getpid()));
      }
      while (true) ::pause();
    }
    ::raise(SIGKILL);
    return 0;
  });
  pid_t orphan = 0;
  // The grandchild may be killed before it could say its name; "next" comes either way.
  for (std::string line = test.hear(); line != "next"; line = test.hear()) {
    ASSERT_FALSE(line.empty());
    orphan = std::stoi(line);
  }
  EXPECT_EQ(test.code(), 0);
  if (orphan != 0) {
    auto process = read_process(orphan);
    EXPECT_TRUE(!process || process->ended());
  }
}

TEST(Supervisor, ChildrenFromBeforeAreLeftAlone) {
  pid_t* older = static_cast<pid_t*>(
      ::mmap(nullptr, sizeof(pid_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  Supervised test(
      [](WorkerLink& link, int start, Supervised&) {
        link.progress();
        if (start == 1) ::raise(SIGKILL);
        return 0;
      },
      {},
      [&] {
        pid_t child = ::fork();
        while (child == 0) ::pause();
        *older = child;
      });
  EXPECT_EQ(test.code(), 0);
  ASSERT_GT(*older, 0);
  auto process = read_process(*older);
  EXPECT_TRUE(process && !process->ended());
  ::kill(*older, SIGKILL);
  ::munmap(older, sizeof(pid_t));
}

TEST(Supervisor, WhatTheWorkerThrowsReachesItsCaller) {
  pid_t child = ::fork();
  if (child == 0) {
    try {
      ::_exit(supervise({}, [](WorkerLink&) -> int { throw std::runtime_error("port taken"); }));
    } catch (const std::exception&) {
      ::_exit(2);  // as main does, in the worker
    }
  }
  int status = 0;
  ASSERT_TRUE(ends(child));
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 2);
}

TEST(Supervisor, BacksOff) {
  EXPECT_EQ(restart_delay(1), 100ms);
  EXPECT_EQ(restart_delay(3), 100ms);
  EXPECT_EQ(restart_delay(4), 200ms);
  EXPECT_EQ(restart_delay(6), 800ms);
  EXPECT_EQ(restart_delay(9), 5000ms);
  EXPECT_EQ(restart_delay(1'000'000), 5000ms);
}

}  // namespace
}  // namespace opscore
