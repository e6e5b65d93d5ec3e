#pragma once
// Runs tasks in children: other processes, with many tasks in flight in each. What a child does not
// start soon stays here, so that it can be handed back or given to another.

#include <deque>
#include <memory>
#include <unordered_map>

#include "opscore/actor/actor.h"
#include "opscore/actor/children.h"
#include "opscore/base/mutex.h"
#include "opscore/base/thread.h"
#include "opscore/process/crash_page.h"
#include "opscore/worker/hosted_journals.h"
#include "opscore/worker/pace.h"
#include "opscore/worker/runner.h"
#include "opscore/worker/settle.h"
#include "opscore/worker/type_limits.h"

namespace opscore {

struct ChildRunnerOptions {
  size_t result_bytes_max = limits::kPayloadBytes;
  CrashPage* page = nullptr;      // null: unsupervised
  size_t first_slot = 0;          // of its cells on the page, and in reports
  std::function<void()> on_room;  // something ended, or a child came
  SubmitTask submit;              // of tasks that hosted actors submit
};

// All arguments must outlive it.
//  * An attempt that does not end within the grace of its actor after it was asked to costs its
//    child: the child is killed, and its other tasks are handed back uncharged.
//  * A child that crashes: the task whose thread crashed, when it is known, has crashed, and the
//    others that were entered are lost; else all that were entered have crashed. What was not
//    entered is handed back.
class ChildRunner final : public Runner, private ChildListener {
 public:
  ChildRunner(std::shared_ptr<const Registry> actors, Children& children, Store& store,
              const Clock& clock, Log& log, ChildRunnerOptions options, Post post);
  ~ChildRunner() override;

  // What is started from now on are the hosted ones of these.
  void replace(std::shared_ptr<const Registry> actors);
  void start_threads();
  void stop_threads();
  // From now on, what is started is handed back without being run. For good.
  void drain();

  void start(std::vector<ClaimedTask> tasks) override;
  void stop(const Lease& lease, StopReason reason) override;
  void stop_all(StopReason reason) override;
  size_t hand_back_unstarted(Duration age) override;
  std::shared_ptr<const std::vector<std::string>> types() const override;
  std::vector<ClaimRequest::Room> room() const override;
  void set_concurrency(std::map<std::string, int64_t> chosen) override;
  bool holds(const Lease& lease) const override;
  size_t free() const override;
  size_t appetite(Duration ahead) const override;
  bool idle() const override;
  void fill(SessionReport& report) const override;

  size_t suspects() const;
  std::vector<ProgressUpdate> take_progress();
  void on_progress(std::function<void()> wake) { progress_wake_ = std::move(wake); }

 private:
  // A task that is here: waiting, or sent to a child.
  struct Flight {
    ClaimedTask task;
    std::shared_ptr<const RegisteredActor> actor;
    std::string id;
    SteadyPoint since{};      // it was handed to this runner
    ChildId child = 0;        // 0: it waits
    bool taken_back = false;  // the child was asked for it
    Stopping stopping = Stopping::no;
    SteadyPoint stop_at{};       // the timeout once it is seen in a slot, then the end of the grace
    std::optional<size_t> slot;  // of this runner, once it is seen in a child's
    std::optional<std::string> progress;  // since it was last taken
  };
  struct Child {
    size_t slots = 0;
    size_t flights = 0;
    bool retiring = false;
    bool doomed = false;  // killed: its end is awaited
  };
  using Flights = std::unordered_map<uint64_t, Flight>;
  void ready(ChildId child, size_t slots) override;
  void heard(ChildId child, ChildNews news) override;
  void retiring(ChildId child) override;
  void ended(ChildId child, ChildEnd end) override;

  void send_waiting() OPSCORE_REQUIRES(mutex_);
  size_t room_in(ChildId id, const Child& child) const OPSCORE_REQUIRES(mutex_);
  double in_time(ChildId id, const Child& child, Duration ahead) const OPSCORE_REQUIRES(mutex_);
  size_t slots() const OPSCORE_REQUIRES(mutex_);
  void end_flight(ChildNews::End end, std::vector<Finished>& finished) OPSCORE_REQUIRES(mutex_);
  void drop_flight(uint64_t number, std::vector<Finished>& finished) OPSCORE_REQUIRES(mutex_);
  // Takes it out of the books and answers its task.
  ClaimedTask forget(Flights::iterator flight) OPSCORE_REQUIRES(mutex_);
  void forget_unsent(Flights::iterator flight, Stopping why, std::vector<Finished>& finished)
      OPSCORE_REQUIRES(mutex_);
  void end_with_child(Flights::iterator flight, const ChildEnd& end,
                      std::vector<Finished>& finished) OPSCORE_REQUIRES(mutex_);
  void stop_flight(Flights::iterator flight, Stopping why, std::vector<Finished>& unstarted)
      OPSCORE_REQUIRES(mutex_);
  void ask_to_stop(uint64_t number, Flight& flight, Stopping why) OPSCORE_REQUIRES(mutex_);
  void see_entered(ChildId id) OPSCORE_REQUIRES(mutex_);
  CrashPage* page_of(size_t slot) const;
  void mark_slot(Flight& flight, TimePoint began) OPSCORE_REQUIRES(mutex_);
  TimePoint wall(SteadyPoint at) const;
  Duration watch();
  void say(const Flight& flight, const ChildNews::Line& line) const;
  void post_if_any(std::vector<Finished> finished);

  Children& children_;
  Store& store_;
  const Clock& clock_;
  Log& log_;
  const ChildRunnerOptions options_;
  const Post post_;
  std::function<void()> progress_wake_ = [] {};

  mutable Mutex mutex_;
  bool draining_ OPSCORE_GUARDED_BY(mutex_) = false;
  uint64_t next_number_ OPSCORE_GUARDED_BY(mutex_) = 1;
  Flights flights_ OPSCORE_GUARDED_BY(mutex_);
  std::deque<uint64_t> queue_ OPSCORE_GUARDED_BY(mutex_);  // of those that wait
  std::map<ChildId, Child> children_now_ OPSCORE_GUARDED_BY(mutex_);
  std::vector<bool> slots_taken_ OPSCORE_GUARDED_BY(mutex_);
  std::shared_ptr<const Registry> actors_ OPSCORE_GUARDED_BY(mutex_);
  std::shared_ptr<const std::vector<std::string>> types_ OPSCORE_GUARDED_BY(mutex_);
  TypeLimits limits_ OPSCORE_GUARDED_BY(mutex_);
  size_t suspects_ OPSCORE_GUARDED_BY(mutex_) = 0;
  Pace pace_;
  Loop watch_;
  HostedJournals journals_;
};

}  // namespace opscore
