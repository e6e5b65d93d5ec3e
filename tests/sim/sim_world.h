#pragma once
// Many workers on one thread: the real intake, finisher and maintenance over a memory store, with a
// clock that the simulation owns and faults between any two calls. One seed is one run.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "opscore/base/metrics.h"
#include "opscore/base/random.h"
#include "opscore/store/store.h"
#include "opscore/worker/finisher.h"
#include "opscore/worker/hint_relay.h"
#include "opscore/worker/intake.h"
#include "opscore/worker/maintenance.h"

namespace opscore::sim {

// Runs tasks by virtual time: what a task does is decided when it starts, by its type and a seed.
class SimRunner final : public Runner {
 public:
  SimRunner(size_t slots, const Clock& clock, Random& random)
      : slots_(slots), clock_(clock), random_(random) {}

  void start(std::vector<ClaimedTask> tasks) override;
  void stop(const Lease& lease, StopReason reason) override;
  void stop_all(StopReason reason) override;
  size_t hand_back_unstarted(Duration age) override;
  std::shared_ptr<const std::vector<std::string>> types() const override { return types_; }
  std::vector<ClaimRequest::Room> room() const override { return {}; }
  void set_concurrency(std::map<std::string, int64_t>) override {}
  bool holds(const Lease& lease) const override;
  size_t free() const override;
  size_t appetite(Duration) const override { return free() + (eager_ ? 3 : 0); }
  bool idle() const override { return running_.empty() && waiting_.empty(); }
  void fill(SessionReport& report) const override;

  // Enters what has a slot and ends what is over. Outcomes are to be fetched from `done`.
  void step();
  size_t suspects() const;
  std::map<Lease, TimePoint> entered() const;
  // A task of type "crasher" wants the worker dead now.
  std::optional<Lease> crashing() const;

  std::vector<Finished> done;
  bool eager_ = false;  // claims more than it can run

 private:
  struct Running {
    ClaimedTask task;
    TimePoint started_at;
    SteadyPoint ends_at;
    Outcome outcome;
    bool crashes = false;
  };
  struct Waiting {
    ClaimedTask task;
    SteadyPoint since;
  };
  Running enter(ClaimedTask task);
  void post(ClaimedTask task, Outcome outcome, TimePoint started_at);

  const std::shared_ptr<const std::vector<std::string>> types_ =
      std::make_shared<std::vector<std::string>>(
          std::vector<std::string>{"ok", "slow", "flaky", "fatal", "snoozer", "crasher"});
  const size_t slots_;
  const Clock& clock_;
  Random& random_;
  std::vector<Running> running_;
  std::vector<Waiting> waiting_;
};

// Without a broker it follows the store's change feed.
struct SimWorker {
  SimWorker(Store& store, std::unique_ptr<Broker> broker, const Clock& clock, Random& random,
            Log& log, size_t number);
  void step();  // throws what an injected fault throws; the caller steps on

  Metrics metrics;
  std::unique_ptr<Broker> broker;
  SimRunner runner;
  Finisher finisher;
  std::optional<Hints> hints;
  Intake intake;
  Maintenance maintenance;
  std::optional<HintRelay> relay;
  SteadyPoint stalled_until{};  // as if stopped by SIGSTOP
};

// Runs one seed; the answer is what went wrong, empty when nothing did.
struct Report {
  std::vector<std::string> problems;
  size_t tasks = 0, steps = 0, faults = 0, deaths = 0, stalls = 0;
};
Report run_seed(uint64_t seed, bool verbose);

}  // namespace opscore::sim
