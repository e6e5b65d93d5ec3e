#include "opscore/api/request_pool.h"

#include <gtest/gtest.h>

#include <latch>
#include <set>
#include <thread>

namespace opscore {
namespace {

class RequestPoolTest : public testing::Test {
 protected:
  RequestPool& make(RequestPoolOptions options) {
    pool = std::make_unique<RequestPool>(*log, options, [this](std::vector<Exchange> batch) {
      std::unique_lock lock(mutex);
      sizes.push_back(batch.size());
      changed.notify_all();
      changed.wait(lock, [this] { return open; });
      for (const Exchange& exchange : batch) seen.insert(exchange.id.value);
      changed.notify_all();
    });
    return *pool;
  }
  void submit(uint64_t id) {
    Exchange exchange{{id}, {}};
    EXPECT_TRUE(pool->push_submit(exchange));
  }
  void open_gate() {
    std::lock_guard lock(mutex);
    open = true;
    changed.notify_all();
  }
  template <class F>
  void wait_for(F&& condition) {
    std::unique_lock lock(mutex);
    changed.wait(lock, condition);
  }

  std::unique_ptr<Log> log = silent_log();
  std::mutex mutex;
  std::condition_variable changed;
  bool open = false;
  std::vector<size_t> sizes;
  std::set<uint64_t> seen;
  std::unique_ptr<RequestPool> pool;  // ends before what its threads use
};

TEST_F(RequestPoolTest, RunsAsManyJobsAtOnceAsThreadsAreAllowed) {
  make({.threads_max = 4});
  std::latch all_in(4);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(pool->push([&] { all_in.arrive_and_wait(); }));
  all_in.wait();  // would hang if two of them shared a thread
  EXPECT_EQ(pool->threads(), 4u);
  pool->stop();
  EXPECT_EQ(pool->threads(), 0u);
}

TEST_F(RequestPoolTest, QueuesAreBounded) {
  make({.threads_max = 1, .queue_max = 2});
  std::latch busy(1), release(1);
  ASSERT_TRUE(pool->push([&] {
    busy.count_down();
    release.wait();
  }));
  busy.wait();
  EXPECT_TRUE(pool->push([] {}));
  EXPECT_TRUE(pool->push([] {}));
  EXPECT_FALSE(pool->push([] {}));
  submit(1);
  submit(2);
  Exchange exchange{{3}, {}};
  EXPECT_FALSE(pool->push_submit(exchange));
  EXPECT_EQ(exchange.id.value, 3u);
  open_gate();
  release.count_down();
  pool->stop();  // before the latches go
}

TEST_F(RequestPoolTest, SubmitsThatWaitAreTakenTogether) {
  make({.threads_max = 2, .batch_max = 8, .batches_max = 1});
  submit(0);
  wait_for([&] { return sizes.size() == 1; });
  for (uint64_t id = 1; id <= 10; ++id) submit(id);
  open_gate();
  wait_for([&] { return seen.size() == 11; });
  pool->stop();
  EXPECT_EQ(sizes, (std::vector<size_t>{1, 8, 2}));
}

TEST_F(RequestPoolTest, StopFinishesWhatIsQueuedAndTakesNoMore) {
  make({.threads_max = 1});
  std::atomic<int> ran = 0;
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(pool->push([&] { ++ran; }));
  open_gate();
  submit(1);
  pool->stop();
  EXPECT_EQ(ran, 100);
  EXPECT_EQ(seen.size(), 1u);
  EXPECT_FALSE(pool->push([] {}));
  pool->stop();
}

TEST_F(RequestPoolTest, IdleThreadsEndButOne) {
  make({.threads_max = 8, .idle_timeout = Duration(1)});
  std::latch all_in(8);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(pool->push([&] { all_in.arrive_and_wait(); }));
  while (pool->threads() != 1) std::this_thread::yield();
  std::latch ran(1);
  ASSERT_TRUE(pool->push([&] { ran.count_down(); }));
  ran.wait();
  pool->stop();
}

// Sleepers are woken in turn: without a thought for that a trickle of work keeps all of them.
TEST_F(RequestPoolTest, ThreadsOfARushEndAlthoughThereIsALittleWork) {
  make({.threads_max = 8, .idle_timeout = Duration(100)});
  std::latch all_in(8);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(pool->push([&] { all_in.arrive_and_wait(); }));
  all_in.wait();
  auto patience = Deadline::after(std::chrono::seconds(30));
  while (pool->threads() > 2 && !patience.passed()) {
    std::latch ran(1);
    ASSERT_TRUE(pool->push([&] { ran.count_down(); }));
    ran.wait();
  }
  EXPECT_LE(pool->threads(), 2u);
  pool->stop();
}

}  // namespace
}  // namespace opscore
