#pragma once
// Runs claimed tasks and posts what came of them. ThreadRunner runs each on a thread of this
// process; child processes with many tasks in flight come later, on the same seam.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "opscore/base/time.h"
#include "opscore/model/fleet.h"
#include "opscore/model/outcome.h"
#include "opscore/store/store.h"

namespace opscore {

struct Finished {
  ClaimedTask task;
  Outcome outcome;
  TimePoint started_at{};  // zero: the actor was never entered
  TimePoint ended_at{};
  // The same on the steady clock, finer than what is stored; of an actor that was entered.
  SteadyPoint began{};
  SteadyPoint left{};
};

// Why attempts are stopped; decides what the outcome becomes when the actor gives up because of it.
enum class StopReason : uint8_t { cancel, drain, session_lost };

// start(), stop() and the observers may be called from any thread.
class Runner {
 public:
  // Called from the runner's threads, possibly with several at once; must not block for long.
  using Post = std::function<void(std::vector<Finished>)>;

  virtual ~Runner() = default;
  // Takes the tasks; each comes back through Post exactly once, unless its session was lost.
  virtual void start(std::vector<ClaimedTask> tasks) = 0;
  // Asks a running attempt to stop, or hands back an unstarted one. Unknown leases are ignored.
  virtual void stop(const Lease& lease, StopReason reason) = 0;
  virtual void stop_all(StopReason reason) = 0;
  // Takes back what has been claimed but not entered for longer than `age`; returned as handed_back
  // through Post. How many.
  virtual size_t hand_back_unstarted(Duration age) = 0;
  // The names of what it can run, aliases too.
  virtual std::shared_ptr<const std::vector<std::string>> types() const = 0;
  // How many more tasks may be started now, of each actor that has a limit.
  virtual std::vector<ClaimRequest::Room> room() const = 0;
  // Limits that were set while running, by type; they win over the actors' own.
  virtual void set_concurrency(std::map<std::string, int64_t> chosen) = 0;
  // Is this attempt in a slot, or waiting for one.
  virtual bool holds(const Lease& lease) const = 0;
  // Slots without a task, minus what waits for one; 0 when none.
  virtual size_t free() const = 0;
  // How many tasks would be started within `ahead` at the measured pace, at least free().
  virtual size_t appetite(Duration ahead) const = 0;
  // Nothing runs or waits, abandoned slots aside.
  virtual bool idle() const = 0;
  virtual void fill(SessionReport& report) const = 0;  // slots, busy, unstarted, running, ...
};

}  // namespace opscore
