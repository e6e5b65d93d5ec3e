#include "opscore/base/thread.h"

#include <pthread.h>

#include <algorithm>

namespace opscore {
namespace {

// With what a failing tick takes, 3 s at most for a call of a store, well below the silence after
// which a supervisor takes a process for stuck.
constexpr Duration kBackoffMax{2000};

}  // namespace

void name_thread(const std::string& name) {
  ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
}

Loop::Loop(std::string name, Log& log, Tick tick)
    : name_(std::move(name)), log_(log), tick_(std::move(tick)) {}

Loop::~Loop() {
  stop();
}

void Loop::start() {
  MutexLock lock(mutex_);
  if (stopped_ || thread_.joinable()) return;
  thread_ = std::jthread([this](std::stop_token stop) { run(stop); });
}

void Loop::stop() {
  std::jthread ending;
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    ending = std::move(thread_);
  }
  ending.request_stop();
  changed_.notify_all();
}

void Loop::wake() {
  {
    MutexLock lock(mutex_);
    woken_ = true;
  }
  changed_.notify_all();
}

void Loop::run(std::stop_token stop) {
  name_thread(name_);
  Duration failed_for(0);
  while (!stop.stop_requested()) {
    Duration wait(0);
    try {
      wait = tick_(stop);
      failed_for = Duration(0);
    } catch (const std::exception& error) {
      failed_for = std::clamp(failed_for * 2, Duration(100), kBackoffMax);
      wait = failed_for;
      log_.error("{}: {}; trying again in {}", name_, error.what(), to_text(wait));
    }
    ticks_.fetch_add(1, std::memory_order_relaxed);
    if (wait <= Duration(0)) continue;
    MutexLock lock(mutex_);
    changed_.wait_for(lock, stop, wait, [this]() OPSCORE_REQUIRES(mutex_) { return woken_; });
    woken_ = false;
  }
}

}  // namespace opscore
