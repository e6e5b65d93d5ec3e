#pragma once
// Runs each task on one of N threads of this process.

#include <atomic>
#include <deque>
#include <map>
#include <memory>

#include "opscore/actor/actor.h"
#include "opscore/base/metrics.h"
#include "opscore/base/mutex.h"
#include "opscore/base/thread.h"
#include "opscore/model/limits.h"
#include "opscore/process/crash_page.h"
#include "opscore/worker/pace.h"
#include "opscore/worker/runner.h"
#include "opscore/worker/settle.h"
#include "opscore/worker/slot_context.h"
#include "opscore/worker/type_limits.h"

namespace opscore {

struct ThreadRunnerOptions {
  size_t slots = 8;
  size_t result_bytes_max = limits::kPayloadBytes;
  CrashPage* page = nullptr;                   // null: unsupervised
  std::function<void(size_t)> on_slot_thread;  // called first on each slot's thread
  std::function<void()> on_room;               // a slot is free, or little waits for one
};

// All arguments must outlive it. stop_threads() waits for actors that still run, at most until its
// deadline; the process must exit when it answers false, because a thread is still inside an actor.
class ThreadRunner final : public Runner {
 public:
  ThreadRunner(std::shared_ptr<const Registry> actors, Store& store, const Clock& clock, Log& log,
               ThreadRunnerOptions options, Post post);
  ~ThreadRunner() override;

  // What is started from now on runs with these. What runs, or waits for its slot, ends with the
  // actor it was given to.
  void replace(std::shared_ptr<const Registry> actors);

  void start_threads();
  bool stop_threads(Deadline deadline);

  void start(std::vector<ClaimedTask> tasks) override;
  void stop(const Lease& lease, StopReason reason) override;
  void stop_all(StopReason reason) override;
  // From now on, what is started is handed back without being run. For good.
  void drain();
  size_t hand_back_unstarted(Duration age) override;
  std::shared_ptr<const std::vector<std::string>> types() const override;
  std::vector<ClaimRequest::Room> room() const override;
  void set_concurrency(std::map<std::string, int64_t> chosen) override;
  bool holds(const Lease& lease) const override;
  size_t free() const override;
  size_t appetite(Duration ahead) const override;
  bool idle() const override;
  void fill(SessionReport& report) const override;

  size_t suspects() const;   // in a slot or waiting for one
  size_t abandoned() const;  // slots whose actor did not stop
  // Last values of progress since the last call.
  std::vector<ProgressUpdate> take_progress();
  void on_progress(std::function<void()> wake) { progress_wake_ = std::move(wake); }

 private:
  struct Waiting {
    ClaimedTask task;
    std::shared_ptr<const RegisteredActor> actor;  // keeps its registry alive
    SteadyPoint since;
  };
  // What one slot is doing. Its mutex is only ever contended by stop() and the watch.
  struct Slot {
    mutable Mutex mutex;
    std::optional<Lease> lease OPSCORE_GUARDED_BY(mutex);  // nothing: free
    std::stop_source stop OPSCORE_GUARDED_BY(mutex);
    Stopping stopping OPSCORE_GUARDED_BY(mutex) = Stopping::no;
    bool abandoned OPSCORE_GUARDED_BY(mutex) = false;  // the outcome was posted without it
    Duration stop_grace OPSCORE_GUARDED_BY(mutex){0};  // of the actor
    TimePoint started_at OPSCORE_GUARDED_BY(mutex){};
    SteadyPoint began OPSCORE_GUARDED_BY(mutex){};
    SteadyPoint stop_at OPSCORE_GUARDED_BY(mutex){};  // the timeout, then the end of the grace
    Duration timeout{0};                              // of this attempt; the slot's thread's
    std::optional<Waiting> current;  // while lease is set, unchanged; the slot's thread's
    ProgressBox progress;
    std::jthread thread;
  };

  void run_slot(size_t index);
  bool take(Slot& slot);
  void run_one(size_t index);
  Outcome call(const Waiting& waiting, SlotContext& context);
  Duration watch();
  void check_slot(Slot& slot, size_t index, SteadyPoint now, std::vector<Finished>& lost);
  void ask_to_stop(Slot& slot, Stopping why) OPSCORE_REQUIRES(slot.mutex);
  void left(const Waiting& waiting, std::chrono::nanoseconds took);

  Store& store_;
  const Clock& clock_;
  Log& log_;
  const ThreadRunnerOptions options_;
  const Post post_;
  std::function<void()> progress_wake_ = [] {};

  mutable Mutex mutex_;
  ConditionVariable work_;  // something waits for a slot, or all is ending
  ConditionVariable idle_;  // the last busy slot was left
  bool draining_ OPSCORE_GUARDED_BY(mutex_) = false;
  bool ending_ OPSCORE_GUARDED_BY(mutex_) = false;
  std::deque<Waiting> queue_ OPSCORE_GUARDED_BY(mutex_);
  std::shared_ptr<const Registry> actors_ OPSCORE_GUARDED_BY(mutex_);
  std::shared_ptr<const std::vector<std::string>> types_ OPSCORE_GUARDED_BY(mutex_);  // of actors_
  TypeLimits limits_ OPSCORE_GUARDED_BY(mutex_);
  size_t busy_ OPSCORE_GUARDED_BY(mutex_) = 0;
  size_t suspects_ OPSCORE_GUARDED_BY(mutex_) = 0;
  std::atomic<size_t> abandoned_{0};
  const std::shared_ptr<const RegisteredActor> canary_;  // runs the session's own
  Pace pace_;
  std::vector<std::unique_ptr<Slot>> slots_;
  Loop watch_;
};

}  // namespace opscore
