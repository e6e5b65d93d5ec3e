#include "opscore/base/thread.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <sstream>

namespace opscore {
namespace {

using namespace std::chrono_literals;

constexpr Duration kForever = 24h;

// Counts, and lets a test wait for a count.
class Tally {
 public:
  int add() {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
    return ++count_;
  }
  bool reaches(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 30s, [&] { return count_ >= count; });
  }
  int count() {
    std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

struct LoopTest : testing::Test {
  std::unique_ptr<Log> log = silent_log();
  Tally tally;
  Loop::Tick tick_every(Duration wait) {
    return [this, wait](std::stop_token) {
      tally.add();
      return wait;
    };
  }
};

TEST_F(LoopTest, TicksUntilStopped) {
  Loop loop("test", *log, tick_every(0ms));
  loop.start();
  EXPECT_TRUE(tally.reaches(3));
  loop.stop();
  int at_stop = tally.count();
  EXPECT_EQ(loop.ticks(), static_cast<uint64_t>(at_stop));
  EXPECT_GE(at_stop, 3);
}

TEST_F(LoopTest, StartAndStopComeInAnyOrder) {
  {
    Loop never_started("test", *log, tick_every(0ms));
  }
  {
    Loop stopped_first("test", *log, tick_every(0ms));
    stopped_first.stop();
    stopped_first.stop();
    stopped_first.start();
    stopped_first.wake();
  }
  EXPECT_EQ(tally.count(), 0);
  {
    Loop started_twice("test", *log, tick_every(kForever));
    started_twice.start();
    started_twice.start();
    EXPECT_TRUE(tally.reaches(1));
    started_twice.stop();
    started_twice.stop();
    started_twice.start();
  }
  EXPECT_EQ(tally.count(), 1);
  {
    Loop destroyed_while_running("test", *log, tick_every(kForever));
    destroyed_while_running.start();
    EXPECT_TRUE(tally.reaches(2));
  }
}

TEST_F(LoopTest, WakeCutsAWaitShort) {
  Loop loop("test", *log, tick_every(kForever));
  loop.start();
  for (int i = 1; i <= 5; ++i) {
    ASSERT_TRUE(tally.reaches(i));
    loop.wake();
  }
  EXPECT_TRUE(tally.reaches(6));
}

TEST_F(LoopTest, AWakeDuringATickIsNotLost) {
  std::promise<void> woken;
  auto has_been_woken = woken.get_future().share();
  Loop loop("test", *log, [&](std::stop_token) {
    tally.add();
    has_been_woken.wait();
    return kForever;
  });
  loop.start();
  ASSERT_TRUE(tally.reaches(1));
  loop.wake();
  woken.set_value();
  EXPECT_TRUE(tally.reaches(2));
}

TEST_F(LoopTest, StopReachesTheTick) {
  Loop loop("test", *log, [&](std::stop_token stop) {
    std::promise<void> stopped;
    std::stop_callback callback(stop, [&] { stopped.set_value(); });
    tally.add();
    stopped.get_future().wait();
    return kForever;
  });
  loop.start();
  ASSERT_TRUE(tally.reaches(1));
  loop.stop();
  EXPECT_EQ(loop.ticks(), 1u);
}

TEST_F(LoopTest, NamesItsThread) {
  std::promise<std::string> name;
  Loop loop("a-name-of-more-than-15", *log, [&](std::stop_token) {
    char buffer[32] = {};
    pthread_getname_np(pthread_self(), buffer, sizeof buffer);
    name.set_value(buffer);
    return kForever;
  });
  loop.start();
  EXPECT_EQ(name.get_future().get(), "a-name-of-more-");
}

TEST(Loop, AFailingTickIsLoggedAndBacksOff) {
  std::string path = testing::TempDir() + "/opscore_loop." + std::to_string(::getpid());
  LogOptions options;
  options.file = path;
  {
    Log log(options);
    Tally tally;
    Loop loop("relay", log, [&](std::stop_token) -> Duration {
      int tick = tally.add();
      if (tick == 1 || tick == 2 || tick == 4) throw Error(Errc::unavailable, "the store is away");
      return tick == 3 ? Duration(0) : kForever;
    });
    loop.start();
    ASSERT_TRUE(tally.reaches(5));
    loop.stop();
    EXPECT_EQ(loop.ticks(), 5u);
  }
  std::stringstream lines;
  lines << std::ifstream(path).rdbuf();
  ::unlink(path.c_str());
  std::string text = lines.str();
  size_t first = text.find("relay: the store is away; trying again in 100ms");
  ASSERT_NE(first, std::string::npos) << text;
  size_t second = text.find("trying again in 200ms", first);
  ASSERT_NE(second, std::string::npos) << text;
  // A success starts the backoff anew.
  EXPECT_NE(text.find("trying again in 100ms", second), std::string::npos) << text;
}

}  // namespace
}  // namespace opscore
