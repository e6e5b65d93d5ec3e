#pragma once
// The threads on which requests are handled, because Service blocks. They are made when work waits
// and none is free, up to a limit, and end when idle for a while. Work that is not taken at once
// waits in bounded queues.
//
// Single submits are special: whoever comes free takes all that wait and hands them to one call, so
// that a busy server pays for locks, commits and wake-ups once for many of them.

#include <deque>
#include <functional>
#include <vector>

#include "opscore/api/request.h"
#include "opscore/base/log.h"
#include "opscore/base/mutex.h"
#include "opscore/base/time.h"

namespace opscore {

// A request and where its answer goes.
struct Exchange {
  ExchangeId id;
  ApiRequest request;
};

struct RequestPoolOptions {
  size_t threads_max = 128;
  size_t stack_bytes = 512 << 10;
  size_t queue_max = 4096;  // jobs that wait, of either kind
  size_t batch_max = 256;   // submits in one call
  size_t batches_max = 2;   // such calls at a time: while one commits, the next is parsed
  Duration idle_timeout = std::chrono::seconds(20);
};

// Safe for concurrent use. stop() is idempotent and final.
class RequestPool {
 public:
  // Run on the pool's threads, several at once; must not throw.
  using Job = std::move_only_function<void()>;
  using SubmitBatch = std::function<void(std::vector<Exchange>)>;

  RequestPool(Log& log, RequestPoolOptions options, SubmitBatch submit_batch);
  ~RequestPool();
  RequestPool(const RequestPool&) = delete;

  // False when the queue is full or the pool is stopped.
  bool push(Job job);
  bool push_submit(Exchange& exchange);  // moved from when true
  // Finishes what is queued and ends the threads.
  void stop();
  size_t threads() const;

 private:
  static void* entry(void* pool);
  void run();
  void run_one() OPSCORE_REQUIRES(mutex_);
  bool has_work() const OPSCORE_REQUIRES(mutex_);
  bool is_surplus() OPSCORE_REQUIRES(mutex_);
  enum class Pushed : uint8_t { refused, taken, wakes_one };
  template <typename Push>
  bool enqueue(Push push);
  Pushed wake_or_grow() OPSCORE_REQUIRES(mutex_);
  bool spawn() OPSCORE_REQUIRES(mutex_);

  Log& log_;
  const RequestPoolOptions options_;
  const SubmitBatch submit_batch_;

  mutable Mutex mutex_;
  ConditionVariable work_;
  ConditionVariable ended_;
  std::deque<Job> jobs_ OPSCORE_GUARDED_BY(mutex_);
  std::vector<Exchange> submits_ OPSCORE_GUARDED_BY(mutex_);
  size_t batches_ OPSCORE_GUARDED_BY(mutex_) = 0;  // running now
  size_t threads_ OPSCORE_GUARDED_BY(mutex_) = 0;
  size_t idle_ OPSCORE_GUARDED_BY(mutex_) = 0;   // waiting for work
  size_t woken_ OPSCORE_GUARDED_BY(mutex_) = 0;  // of the idle ones: notified, not awake yet
  size_t idle_low_ OPSCORE_GUARDED_BY(mutex_) =
      0;  // the fewest that were idle since the last window began
  size_t surplus_ OPSCORE_GUARDED_BY(mutex_) = 0;  // so many were not needed in the window before
  SteadyPoint window_ends_ OPSCORE_GUARDED_BY(mutex_){};
  bool submits_turn_ OPSCORE_GUARDED_BY(mutex_) = false;
  bool stopped_ OPSCORE_GUARDED_BY(mutex_) = false;
};

}  // namespace opscore
