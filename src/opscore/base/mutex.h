#pragma once
// The mutex of all shared state. It is std::mutex with clang's thread safety annotations, which
// libstdc++ lacks: -Wthread-safety (an error in every clang build) refuses code that touches a
// member marked OPSCORE_GUARDED_BY without holding its mutex. g++ sees no annotations.
//
//   Mutex mutex_;
//   std::deque<Task> queue_ OPSCORE_GUARDED_BY(mutex_);
//   void grow() OPSCORE_REQUIRES(mutex_);
//
// The predicate of a wait runs with the mutex held, which only its author can tell the compiler:
//   changed_.wait(lock, [this]() OPSCORE_REQUIRES(mutex_) { return !queue_.empty(); });

#include <condition_variable>
#include <mutex>
#include <stop_token>

#if defined(__clang__)
#define OPSCORE_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define OPSCORE_THREAD_ANNOTATION(x)
#endif
#define OPSCORE_GUARDED_BY(mutex) OPSCORE_THREAD_ANNOTATION(guarded_by(mutex))
#define OPSCORE_REQUIRES(...) OPSCORE_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
// For what the analysis cannot follow; say why.
#define OPSCORE_NO_THREAD_ANALYSIS OPSCORE_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace opscore {

class OPSCORE_THREAD_ANNOTATION(capability("mutex")) Mutex {
 public:
  void lock() OPSCORE_THREAD_ANNOTATION(acquire_capability()) { mutex_.lock(); }
  void unlock() OPSCORE_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }

 private:
  friend class MutexLock;
  std::mutex mutex_;
};

// Holds a mutex until the end of its scope; may let go of it in between.
class OPSCORE_THREAD_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) OPSCORE_THREAD_ANNOTATION(acquire_capability(mutex))
      : lock_(mutex.mutex_) {}
  ~MutexLock() OPSCORE_THREAD_ANNOTATION(release_capability()) = default;
  MutexLock(const MutexLock&) = delete;

  void lock() OPSCORE_THREAD_ANNOTATION(acquire_capability()) { lock_.lock(); }
  void unlock() OPSCORE_THREAD_ANNOTATION(release_capability()) { lock_.unlock(); }

 private:
  template <class>
  friend class ConditionOn;
  std::unique_lock<std::mutex> lock_;
};

// std::condition_variable and std::condition_variable_any on a MutexLock. The waits give up the
// mutex and have it again when they return, so that for the analysis it was never gone.
template <class Condition>
class ConditionOn {
 public:
  void notify_one() { condition_.notify_one(); }
  void notify_all() { condition_.notify_all(); }

  void wait(MutexLock& lock) { condition_.wait(lock.lock_); }
  template <class... Args>
  auto wait(MutexLock& lock, Args&&... args) OPSCORE_NO_THREAD_ANALYSIS {
    return condition_.wait(lock.lock_, std::forward<Args>(args)...);
  }
  template <class... Args>
  auto wait_for(MutexLock& lock, Args&&... args) OPSCORE_NO_THREAD_ANALYSIS {
    return condition_.wait_for(lock.lock_, std::forward<Args>(args)...);
  }
  template <class... Args>
  auto wait_until(MutexLock& lock, Args&&... args) OPSCORE_NO_THREAD_ANALYSIS {
    return condition_.wait_until(lock.lock_, std::forward<Args>(args)...);
  }

 private:
  Condition condition_;
};

using ConditionVariable = ConditionOn<std::condition_variable>;
// Its waits take a std::stop_token, too; a little slower.
using StoppableCondition = ConditionOn<std::condition_variable_any>;

}  // namespace opscore
