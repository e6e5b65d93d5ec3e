#pragma once
// One worker: intake, slots and finisher put together, with one way to start and one to stop.

#include "opscore/base/mutex.h"
#include "opscore/worker/child_runner.h"
#include "opscore/worker/finisher.h"
#include "opscore/worker/intake.h"
#include "opscore/worker/split_runner.h"
#include "opscore/worker/thread_runner.h"

namespace opscore {

struct WorkerOptions {
  size_t slots = 8;
  std::map<std::string, int> queues = {{"*", 1}};
  std::string session_name;
  std::string session_context;
  std::function<std::string()> describe;  // where this process runs, in full: JSON
  Duration drain_grace = limits::kDrainGrace;
  size_t result_bytes_max = limits::kPayloadBytes;
  CrashPage* page = nullptr;
  Broker* broker = nullptr;      // null: the store's change feed tells of work
  Children* children = nullptr;  // that run the hosted actors; null: there are none
  SubmitTask submit;             // of tasks that these submit
  std::function<void(size_t)> on_slot_thread;
  std::function<void()> on_progress = [] {};  // the intake is alive; what the supervisor watches
  std::function<void(const std::string&)> on_command = [](const std::string&) {};
  std::function<void(SessionReport&)> complete = [](SessionReport&) {};  // what else to report
  // Why something beside it that takes work is not ready yet; empty: it is.
  std::function<std::string()> unready = [] { return std::string(); };
  // Too many slots are abandoned: the process should hand back and die.
  std::function<void(const std::string&)> on_dying = [](const std::string&) {};
};

// start() and stop() may come from any one thread. All arguments must outlive it.
class Worker {
 public:
  Worker(std::shared_ptr<const Registry> actors, Store& store, const Clock& clock, Random& random,
         Log& log, Metrics& metrics, WorkerOptions options);
  ~Worker();

  // Announces the actors, then takes work.
  void start();
  // Tells the installation what can be run; the catalogue of the store keeps it.
  void announce(const Registry& actors);
  // From now on runs what it starts with these actors; what runs ends with those it began with.
  // Returns when the session has reported them, or after a while when it could not. Throws nothing.
  void replace(std::shared_ptr<const Registry> actors);
  // Until it has told the installation what it runs, and a canary has shown that tasks get through.
  // False: not by the deadline.
  bool wait_consuming(Deadline deadline) const;
  // Drains: no more claims, what waits goes back, what runs gets the grace, then is stopped and
  // handed back uncharged. False: an actor did not stop; the process must exit now.
  bool stop(const std::string& last_words);
  // Ends a drain, one under way or to come, without waiting for the grace: what runs is stopped.
  void hurry() { hurried_ = true; }

  SessionId session() const { return intake_.session(); }
  std::string state() const { return intake_.state(); }
  // Why it is not consuming; empty: it is. Any thread.
  std::string why_not_consuming() const { return intake_.why_not_consuming(); }
  // The last one that was sent; any thread.
  SessionReport::Canary canary() const { return intake_.canary(); }
  ThreadRunner& runner() { return runner_; }

 private:
  Duration flush_progress();
  bool wait_for(Duration grace, const std::function<bool()>& over);
  // The runner of everything: of both, when there are children.
  Runner& add_hosted();
  IntakeOptions intake_options(Metrics& metrics);
  void on_command(const std::string& command);

  const std::shared_ptr<const Registry> actors_;  // that it starts with
  Store& store_;
  const Clock& clock_;
  Log& log_;
  const WorkerOptions options_;
  std::atomic<bool> hurried_{false};
  bool stopped_ = false;
  Mutex report_mutex_;
  ConditionVariable reported_;
  uint64_t reports_ OPSCORE_GUARDED_BY(report_mutex_) = 0;  // asked for and made
  SteadyPoint progress_at_{};                               // of the progress loop: not before this
  Finisher finisher_;
  ThreadRunner runner_;
  std::optional<ChildRunner> hosted_;
  std::optional<SplitRunner> split_;  // both of them
  std::optional<Hints> hints_;
  Intake intake_;
  Loop progress_;
};

}  // namespace opscore
