#include "opscore/api/request_pool.h"

#include <pthread.h>

#include "opscore/base/thread.h"

namespace opscore {

RequestPool::RequestPool(Log& log, RequestPoolOptions options, SubmitBatch submit_batch)
    : log_(log), options_(options), submit_batch_(std::move(submit_batch)) {}

RequestPool::~RequestPool() {
  stop();
}

bool RequestPool::push(Job job) {
  return enqueue([&]() OPSCORE_REQUIRES(mutex_) {
    if (jobs_.size() >= options_.queue_max) return Pushed::refused;
    jobs_.push_back(std::move(job));
    return wake_or_grow();
  });
}

bool RequestPool::push_submit(Exchange& exchange) {
  return enqueue([&]() OPSCORE_REQUIRES(mutex_) {
    if (submits_.size() >= options_.queue_max) return Pushed::refused;
    submits_.push_back(std::move(exchange));
    // Otherwise a running batch takes it along when it is done.
    return batches_ < options_.batches_max ? wake_or_grow() : Pushed::taken;
  });
}

// Whoever is woken while the lock is held only runs into it.
template <typename Push>
bool RequestPool::enqueue(Push push) {
  MutexLock lock(mutex_);
  Pushed pushed = stopped_ ? Pushed::refused : push();
  lock.unlock();
  if (pushed == Pushed::wakes_one) work_.notify_one();
  return pushed != Pushed::refused;
}

bool RequestPool::has_work() const {
  return !jobs_.empty() || (!submits_.empty() && batches_ < options_.batches_max);
}

RequestPool::Pushed RequestPool::wake_or_grow() {
  if (idle_ > woken_) {
    ++woken_;
    return Pushed::wakes_one;
  }
  // A thread in a batch takes the next submits too, so those need another one only when all threads
  // are busy with something else.
  bool needed = jobs_.size() > woken_ || (batches_ == 0 && woken_ == 0);
  if (needed && threads_ < options_.threads_max && !spawn() && threads_ == 0)
    log_.error("http: no thread could be started; requests wait");
  return Pushed::taken;
}

// The new thread counts as an idle one that was woken, until it runs.
bool RequestPool::spawn() {
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, options_.stack_bytes);
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  bool started = ::pthread_create(&thread, &attributes, &RequestPool::entry, this) == 0;
  ::pthread_attr_destroy(&attributes);
  if (started) ++threads_, ++idle_, ++woken_;
  return started;
}

void* RequestPool::entry(void* pool) {
  name_thread("request");
  static_cast<RequestPool*>(pool)->run();
  return nullptr;
}

void RequestPool::run() {
  MutexLock lock(mutex_);
  --idle_;
  --woken_;
  while (true) {
    if (has_work()) {
      run_one();
      continue;
    }
    if (stopped_ || is_surplus()) break;
    ++idle_;
    auto outcome = work_.wait_for(lock, options_.idle_timeout);
    --idle_;
    idle_low_ = std::min(idle_low_, idle_);
    if (woken_ > 0) --woken_;
    if (outcome == std::cv_status::timeout && !has_work() && threads_ > 1) break;
  }
  --threads_;
  ended_.notify_all();  // under the lock: once it is free, the pool may be gone
}

// Sleepers are woken in turn, so that a little work would keep all threads of a rush alive: those
// that nobody needed for a whole idle time-out end, one after the other.
bool RequestPool::is_surplus() {
  auto now = std::chrono::steady_clock::now();
  if (now >= window_ends_) {
    surplus_ = threads_ > 1 ? idle_low_ : 0;
    idle_low_ = idle_;
    window_ends_ = now + options_.idle_timeout;
  }
  if (surplus_ == 0 || threads_ == 1) return false;
  --surplus_;
  return true;
}

// Takes turns, so that neither kind starves the other.
void RequestPool::run_one() {
  bool can_submit = !submits_.empty() && batches_ < options_.batches_max;
  if (can_submit && (submits_turn_ || jobs_.empty())) {
    submits_turn_ = false;
    std::vector<Exchange> batch;
    if (submits_.size() <= options_.batch_max) {
      batch.swap(submits_);
    } else {
      auto end = submits_.begin() + static_cast<std::ptrdiff_t>(options_.batch_max);
      batch.assign(std::move_iterator(submits_.begin()), std::move_iterator(end));
      submits_.erase(submits_.begin(), end);
    }
    ++batches_;
    mutex_.unlock();
    submit_batch_(std::move(batch));
    mutex_.lock();
    --batches_;
    return;
  }
  submits_turn_ = true;
  {
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    mutex_.unlock();
    job();
  }
  mutex_.lock();
}

void RequestPool::stop() {
  MutexLock lock(mutex_);
  stopped_ = true;
  work_.notify_all();
  ended_.wait(lock, [this]() OPSCORE_REQUIRES(mutex_) { return threads_ == 0; });
}

size_t RequestPool::threads() const {
  MutexLock lock(mutex_);
  return threads_;
}

}  // namespace opscore
