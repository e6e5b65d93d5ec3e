#pragma once
// Turns outcomes into decided changes and has the store apply them, in batches: whatever arrived
// while the last batch was being written makes the next one. While the store is away outcomes are
// kept, up to a bound, and tried again; an answer that was lost on the way is recognised as
// already_applied. What the store cannot write of a batch is kept by itself and tried again now and
// then, so that it keeps nothing else from being written.

#include <functional>
#include <map>

#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/base/mutex.h"
#include "opscore/base/random.h"
#include "opscore/base/thread.h"
#include "opscore/store/store.h"
#include "opscore/worker/runner.h"

namespace opscore {

class Finisher {
 public:
  // All must outlive it.
  Finisher(Store& store, const Clock& clock, Random& random, Log& log, Metrics& metrics);
  ~Finisher();

  // From any thread. Blocks while too much is waiting (the store is away).
  void post(std::vector<Finished> finished);
  // Who is told what became of canaries, which are not counted. Before start().
  using OnCanary = std::function<void(const Finished& canary, Applied applied)>;
  void on_canary(OnCanary told) { on_canary_ = std::move(told); }
  // Drops what belongs to a session that was lost.
  void forget(SessionId session);

  // Applies one batch; false when there was nothing. Throws what the store throws; the batch is
  // kept. Called by the loop, or directly by the simulation.
  bool step();
  bool empty() const;

  void start() { loop_.start(); }
  // Stops after what was posted is applied, or at the deadline. False: something is left.
  bool stop(Deadline deadline);

 private:
  struct TaskMetrics;
  struct Decided {
    AttemptEnd end;
    State next;
  };
  Duration tick(std::stop_token stop);
  void take_batch() OPSCORE_REQUIRES(mutex_);
  void apply(std::span<const Finished> batch);
  void apply_apart();
  void count(const Finished& finished, const Decided& decided);

  Store& store_;
  const Clock& clock_;
  Random& random_;
  Log& log_;
  Metrics& metrics_;
  Histogram& commit_;
  OnCanary on_canary_ = [](const Finished&, Applied) {};
  mutable Mutex mutex_;
  StoppableCondition changed_;
  std::vector<Finished> posted_ OPSCORE_GUARDED_BY(mutex_);
  bool applying_ OPSCORE_GUARDED_BY(mutex_) = false;
  std::vector<Finished> refused_ OPSCORE_GUARDED_BY(mutex_);  // by the store, not only together
  SteadyPoint again_at_ OPSCORE_GUARDED_BY(mutex_){};         // when it is asked again
  std::vector<Finished> batch_;  // of the loop; survives a failed apply
  // By type and queue; of the loop.
  std::map<std::pair<std::string, std::string>, std::unique_ptr<TaskMetrics>> by_task_;
  Loop loop_;
};

}  // namespace opscore
