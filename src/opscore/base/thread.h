#pragma once
// Owned threads. A Loop runs one tick function on one named thread until stopped; it is one of the
// five places that catch: a failing tick is logged and tried again with backoff.

#include <atomic>
#include <functional>
#include <stop_token>
#include <string>
#include <thread>

#include "opscore/base/log.h"
#include "opscore/base/mutex.h"
#include "opscore/base/time.h"

namespace opscore {

// Names the calling thread for ps, gdb and stack dumps (15 characters at most).
void name_thread(const std::string& name);

// start() and stop() are idempotent and may come in any order; after stop() it cannot be started
// again. The tick returns how long to wait before the next one; wake() cuts that short.
class Loop {
 public:
  using Tick = std::function<Duration(std::stop_token)>;
  Loop(std::string name, Log& log, Tick tick);
  ~Loop();
  Loop(const Loop&) = delete;

  void start();
  void stop();
  // Waits between two ticks may be cut short often; several wakes make one tick.
  void wake();
  // Ticks that ended, successfully or not: what a watchdog looks at.
  uint64_t ticks() const { return ticks_.load(std::memory_order_relaxed); }

 private:
  void run(std::stop_token stop);

  const std::string name_;
  Log& log_;
  Tick tick_;
  std::atomic<uint64_t> ticks_{0};
  Mutex mutex_;
  StoppableCondition changed_;
  bool woken_ OPSCORE_GUARDED_BY(mutex_) = false;
  bool stopped_ OPSCORE_GUARDED_BY(mutex_) = false;
  std::jthread thread_ OPSCORE_GUARDED_BY(mutex_);  // until stop() takes it
};

}  // namespace opscore
