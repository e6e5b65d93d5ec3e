// Real programs: small scripts for /bin/sh.

#include "opscore/process/run_program.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "opscore/base/error.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Why = ProgramEnd::Why;

// Waits until a process is gone or a zombie.
bool ends(pid_t pid) {
  FileDescriptor handle = open_process(pid);
  if (!handle.is_open()) return true;
  pollfd ended{handle.get(), POLLIN, 0};
  return ::poll(&ended, 1, 10'000) == 1;
}

class RunProgram : public testing::Test {
 protected:
  ProgramRun script(const std::string& text) {
    ProgramRun run;
    run.child = {.program = "/bin/sh",
                 .argv = {"sh", "-c", text},
                 .env = {"PATH=/usr/bin:/bin"},
                 .input = "{\"n\":1}"};
    run.mark = "task_x#1";
    run.output_bytes_max = 1 << 20;
    run.deadline = Deadline::after(30s);
    run.on_err = [this](std::string_view bytes) { err_ += bytes; };
    return run;
  }
  ProgramEnd run(const std::string& text) { return run_program(reaper_, script(text)); }

  // Runs it on another thread; `stop_` is set once its output on stderr holds `cue`.
  ProgramEnd run_until(const std::string& cue, ProgramRun run) {
    std::stop_source stop;
    run.stop = stop.get_token();
    run.on_err = [&, cue](std::string_view bytes) {
      err_ += bytes;
      if (err_.find(cue) != std::string::npos) stop.request_stop();
    };
    return run_program(reaper_, run);
  }

  std::unique_ptr<Log> log_ = silent_log();
  Reaper reaper_{*log_};
  std::string err_;
};

TEST_F(RunProgram, HandsOverInputAndCollectsOutput) {
  ProgramEnd end = run("cat; echo; echo problem >&2; exit 3");
  EXPECT_EQ(end.why, Why::exited);
  EXPECT_EQ(end.output, "{\"n\":1}\n");
  EXPECT_EQ(err_, "problem\n");
  EXPECT_EQ(end.status.words(), "exit code 3");
}

TEST_F(RunProgram, ABigInputThatNobodyReadsStallsNothing) {
  ProgramRun big = script("exit 0");
  big.child.input.assign(8 << 20, 'x');
  EXPECT_TRUE(run_program(reaper_, big).status.success());
}

TEST_F(RunProgram, ABigInputArrivesWhole) {
  ProgramRun big = script("wc -c");
  big.child.input.assign(5 << 20, 'x');
  EXPECT_EQ(run_program(reaper_, big).output, "5242880\n");
}

TEST_F(RunProgram, StdoutAndStderrAreReadTogether) {
  ProgramEnd end = run(
      "i=0; while [ $i -lt 3000 ]; do printf %0100d $i; printf %0100d $i >&2; i=$((i+1)); done");
  EXPECT_EQ(end.output.size(), 300'000u);
  EXPECT_EQ(err_.size(), 300'000u);
}

TEST_F(RunProgram, HasExactlyTheEnvironmentItWasGiven) {
  ::setenv("OPENAI_API_KEY", "secret", 1);
  ProgramRun environment = script("");
  environment.child.program = "/usr/bin/env";
  environment.child.argv = {"env"};
  environment.child.env = {"A=1", "B=two words"};
  EXPECT_EQ(run_program(reaper_, environment).output,
            "A=1\nB=two words\nOPSCORE_ATTEMPT=task_x#1\n");
}

TEST_F(RunProgram, InheritsNoDescriptors) {
  FileDescriptor leak(
      ::open("/dev/null", O_RDONLY));  // not close-on-exec, as in careless libraries
  ASSERT_TRUE(leak.is_open());
  // ls itself has the folder open as one more.
  EXPECT_EQ(run("ls /proc/self/fd | wc -l").output, "4\n");
}

TEST_F(RunProgram, StartsWithDefaultSignals) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGUSR1, SIG_IGN);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  ProgramEnd end = run("grep -E 'Sig(Blk|Ign)' /proc/self/status");
  ::pthread_sigmask(SIG_UNBLOCK, &blocked, nullptr);
  std::signal(SIGPIPE, SIG_DFL);
  std::signal(SIGUSR1, SIG_DFL);
  EXPECT_EQ(end.output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST_F(RunProgram, WorksInItsFolder) {
  ProgramRun where = script("pwd");
  where.child.cwd = "/usr";
  EXPECT_EQ(run_program(reaper_, where).output, "/usr\n");
}

TEST_F(RunProgram, SaysWhyAProgramCannotBeStarted) {
  auto words = [&](auto change) -> std::string {
    ProgramRun broken = script("exit 0");
    change(broken.child);
    try {
      run_program(reaper_, broken);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::unavailable);
      return error.what();
    }
    return "started";
  };
  EXPECT_EQ(words([](ChildOptions& child) { child.program = "/no/such"; }),
            "run /no/such: No such file or directory");
  EXPECT_EQ(words([](ChildOptions& child) { child.program = "/etc/passwd"; }),
            "run /etc/passwd: Permission denied");
  EXPECT_EQ(words([](ChildOptions& child) { child.cwd = "/no/such"; }),
            "run /bin/sh in /no/such: No such file or directory");
  EXPECT_THAT(words([](ChildOptions& child) { child.argv[2].assign(4 << 20, 'x'); }),
              HasSubstr("Argument list too long"));
}

TEST_F(RunProgram, NamesTheSignalOfADeath) {
  ProgramEnd end = run("kill -KILL $$");
  EXPECT_EQ(end.why, Why::exited);
  EXPECT_EQ(end.status.words(), "killed by SIGKILL");
}

TEST_F(RunProgram, OutputOverTheLimitIsDeath) {
  ProgramRun loud = script("exec cat /dev/zero");
  loud.output_bytes_max = 100'000;
  ProgramEnd end = run_program(reaper_, loud);
  EXPECT_EQ(end.why, Why::output_too_large);
  EXPECT_EQ(end.output.size(), 100'000u);
  EXPECT_EQ(end.status.signal, SIGKILL);
}

TEST_F(RunProgram, OutputOfExactlyTheLimitIsFine) {
  ProgramRun exact = script("head -c 100000 /dev/zero");
  exact.output_bytes_max = 100'000;
  ProgramEnd end = run_program(reaper_, exact);
  EXPECT_EQ(end.why, Why::exited);
  EXPECT_EQ(end.output.size(), 100'000u);
}

TEST_F(RunProgram, StopAsksFirst) {
  ProgramEnd end = run_until(
      "ready",
      script("trap 'echo cleaned; exit 7' TERM; echo ready >&2; while :; do sleep 1; done"));
  EXPECT_EQ(end.why, Why::stopped);
  EXPECT_EQ(end.output, "cleaned\n");
  EXPECT_EQ(end.status.words(), "exit code 7");
}

TEST_F(RunProgram, StopForcesAfterTheGrace) {
  ProgramRun stubborn = script("trap '' TERM; echo ready >&2; while :; do sleep 1; done");
  stubborn.stop_grace = 50ms;
  ProgramEnd end = run_until("ready", stubborn);
  EXPECT_EQ(end.why, Why::stopped);
  EXPECT_EQ(end.status.words(), "killed by SIGKILL");
}

TEST_F(RunProgram, StopReachesAStoppedProgram) {
  ProgramEnd end = run_until("ready", script("echo ready >&2; kill -STOP $$"));
  EXPECT_EQ(end.status.words(), "killed by SIGTERM");
}

TEST_F(RunProgram, TheDeadlineEndsIt) {
  ProgramRun slow = script("exec sleep 1000");
  slow.deadline = Deadline::after(50ms);
  ProgramEnd end = run_program(reaper_, slow);
  EXPECT_EQ(end.why, Why::timed_out);
  EXPECT_EQ(end.status.words(), "killed by SIGTERM");
}

TEST_F(RunProgram, AnEndBeforeTheStopIsAnEndByItself) {
  std::stop_source stop;
  stop.request_stop();
  ProgramRun done = script("exit 4");
  done.on_err = {};
  done.stop = stop.get_token();
  ProgramEnd end = run_program(reaper_, done);
  EXPECT_TRUE(end.why == Why::exited ? end.status.code == 4 : end.status.signal == SIGTERM);
}

TEST_F(RunProgram, WhatItLeftInItsGroupDiesWithIt) {
  // The background process holds stdout open: without its death this would take 1000 s.
  ProgramEnd end = run("sleep 1000 & echo $!");
  EXPECT_TRUE(end.status.success());
  EXPECT_TRUE(ends(std::stoi(end.output)));
}

TEST_F(RunProgram, WhatEscapedIntoItsOwnSessionDiesWithIt) {
  ProgramEnd end = run("setsid sleep 1000 & echo $!");
  EXPECT_TRUE(end.status.success());
  EXPECT_TRUE(ends(std::stoi(end.output)));
}

TEST_F(RunProgram, AnEscapeeWithoutItsMarkDiesToo) {
  ProgramEnd end = run("env -i /usr/bin/setsid sleep 1000 & echo $!");
  EXPECT_TRUE(end.status.success());
  EXPECT_TRUE(ends(std::stoi(end.output)));
}

TEST_F(RunProgram, ADaemonThatForkedTwiceDiesToo) {
  ProgramEnd end =
      run("f=$(mktemp -u); mkfifo $f; "
          "(setsid sh -c \"sleep 1000 & echo \\$! >$f; exec sleep 1000\" &); cat $f; rm $f");
  std::istringstream pids(end.output);
  pid_t inner = 0;
  ASSERT_TRUE(pids >> inner) << end.output;
  EXPECT_TRUE(ends(inner));
}

TEST_F(RunProgram, EscapeesDieWhenItIsForcedToStop) {
  ProgramRun run = script(
      "trap '' TERM; setsid sleep 1000 & echo $!; echo ready >&2; wait; "
      "while :; do sleep 1; done");
  run.stop_grace = 20ms;
  ProgramEnd end = run_until("ready", run);
  EXPECT_EQ(end.status.words(), "killed by SIGKILL");
  EXPECT_TRUE(ends(std::stoi(end.output)));
}

TEST_F(RunProgram, AnEscapeeOfARunThatGoesOnIsLeftAlone) {
  // The first run's daemon must survive the end of the second run, and die with the first.
  std::string fifo = testing::TempDir() + "/opscore_fifo." + std::to_string(::getpid());
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  pid_t daemon = 0;
  {
    auto first = script("(setsid sleep 1000 & echo $! >&2); cat " + fifo);
    std::jthread runs;
    std::mutex mutex;
    std::condition_variable known;
    std::string err;
    first.on_err = [&](std::string_view bytes) {
      std::lock_guard lock(mutex);
      err += bytes;
      known.notify_all();
    };
    runs = std::jthread([&] { run_program(reaper_, first); });
    {
      std::unique_lock lock(mutex);
      known.wait(lock, [&] { return err.ends_with("\n"); });
      daemon = std::stoi(err);
    }
    ProgramRun second = script("exit 0");
    second.mark = "task_y#1";
    run_program(reaper_, second);
    auto process = read_process(daemon);
    EXPECT_TRUE(process && !process->ended());
    std::ofstream(fifo) << "go";
  }
  EXPECT_TRUE(ends(daemon));
  std::filesystem::remove(fifo);
}

TEST_F(RunProgram, ChildrenOfOtherCodeAreLeftAlone) {
  // A zombie nobody waited for yet: a run ending meanwhile must not take its exit status.
  pid_t other = ::fork();
  ASSERT_GE(other, 0);
  if (other == 0) ::_exit(9);
  EXPECT_TRUE(ends(other));
  run("exit 0");
  int status = 0;
  ASSERT_EQ(::waitpid(other, &status, 0), other);
  EXPECT_EQ(WEXITSTATUS(status), 9);
}

TEST_F(RunProgram, IsHeldToItsLimits) {
  ProgramRun limited = script("ulimit -n; ulimit -t; ulimit -f; ulimit -c; ulimit -v");
  limited.child.limits = {
      .memory_bytes = 512 << 20, .cpu = 5s, .open_files = 32, .file_bytes = 1024 * 512};
  EXPECT_EQ(run_program(reaper_, limited).output, "32\n5\n1024\n0\n524288\n");
}

TEST_F(RunProgram, MayStartWithFewerOpenFilesThanTheServerAndRaiseThat) {
  ProgramRun modest = script("ulimit -n; ulimit -n $(ulimit -Hn); ulimit -n");
  modest.child.limits.open_files_soft = 40;
  rlimit own{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &own), 0);
  EXPECT_EQ(run_program(reaper_, modest).output, "40\n" + std::to_string(own.rlim_max) + "\n");
}

TEST_F(RunProgram, TooMuchProcessorTimeIsDeath) {
  ProgramRun busy = script("while :; do :; done");
  busy.child.limits.cpu = 1s;
  EXPECT_EQ(run_program(reaper_, busy).status.words(), "killed by SIGXCPU");
}

TEST_F(RunProgram, LeavesNoZombiesAndNoDescriptors) {
  auto open_files = [] {
    auto folder = std::filesystem::directory_iterator("/proc/self/fd");
    return std::distance(begin(folder), end(folder));
  };
  // The reaper opens some for a moment, at a time of its own: a leak is what stays, fifty times
  // over.
  auto settles_at = [&](auto limit) {
    auto deadline = Deadline::after(10s);
    while (open_files() > limit && !deadline.passed()) std::this_thread::yield();
    return open_files() <= limit;
  };
  run("exit 0");
  auto before = open_files();
  for (int i = 0; i < 50; ++i) run("sh -c 'sh -c true & true' & setsid true & true");
  EXPECT_TRUE(settles_at(before)) << open_files() << " open, " << before << " before";
  // Whatever was orphaned last is gone with the next run.
  run("exit 0");
  for (pid_t child : children_of(::getpid())) {
    auto process = read_process(child);
    EXPECT_TRUE(!process || ends(child));
  }
}

TEST_F(RunProgram, ManyAtOnce) {
  std::atomic<int> good{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < 20; ++i) {
          ProgramRun run;
          run.child = {.program = "/bin/sh",
                       .argv = {"sh", "-c", "sleep 1000 & cat"},
                       .env = {"PATH=/usr/bin:/bin"},
                       .input = std::to_string(t * 100 + i)};
          run.mark = fmt::format("task_{}#{}", t, i);
          run.output_bytes_max = 100;
          run.on_err = [](std::string_view) {};
          if (run_program(reaper_, run).output == run.child.input) ++good;
        }
      });
  }
  EXPECT_EQ(good, 160);
}

TEST_F(RunProgram, AFailingCallbackEndsTheProgram) {
  ProgramRun broken = script("echo $$ >&2; exec sleep 1000");
  std::string pid;
  broken.on_err = [&](std::string_view bytes) {
    pid += bytes;
    throw Error(Errc::internal, "log is full");
  };
  EXPECT_THROW(run_program(reaper_, broken), Error);
  EXPECT_TRUE(ends(std::stoi(pid)));
}

}  // namespace
}  // namespace opscore
