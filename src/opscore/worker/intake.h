#pragma once
// Takes work: keeps the session alive, claims what the runner has an appetite for, and passes on
// cancels. A session is renewed only here, by the loop that takes work, so a worker that looks
// alive is one that works.

#include <atomic>
#include <functional>
#include <string>

#include "opscore/base/mutex.h"
#include "opscore/base/random.h"
#include "opscore/base/thread.h"
#include "opscore/model/limits.h"
#include "opscore/store/store.h"
#include "opscore/worker/canary.h"
#include "opscore/worker/hints.h"
#include "opscore/worker/queue_shares.h"
#include "opscore/worker/runner.h"

namespace opscore {

struct IntakeOptions {
  std::string session_name;     // "host:pid"
  std::string session_context;  // JSON
  // Where this process runs, in full; told to the store with the first renewal of a session.
  std::function<std::string()> describe;
  std::map<std::string, int> queues = {{"*", 1}};
  std::function<size_t()> suspects = [] { return 0; };  // in flight on this worker
  std::function<void(SessionId)> on_session;            // a session was opened
  std::function<void(SessionId)> on_lost;               // drop what belongs to it
  std::function<void(const std::string&)> on_command = [](const std::string&) {};
  std::function<void()> on_progress = [] {};  // once per iteration: the loop is alive
  std::function<void(SessionReport&)> complete = [](SessionReport&) {};  // what else to report
  Hints* hints = nullptr;  // null: no broker, the store's change feed tells of work
  // The session is consuming only once a canary got through; else once it has claimed.
  bool sends_canaries = false;
  // Why something else that belongs to consuming is not ready yet; empty: it is.
  std::function<std::string()> unready = [] { return std::string(); };
};

// Tells a session to look for work by itself: its hints do not come.
inline constexpr char kLookCommand[] = "look";

// step() is driven by the loop's thread, or by the simulation. Thread-safe: drain(), room(),
// session(), state(), why_not_consuming(), canary_ended(), describe_again().
class Intake {
 public:
  // All must outlive it.
  Intake(Store& store, Runner& runner, const Clock& clock, Random& random, Log& log,
         IntakeOptions options);
  ~Intake();

  void start() { loop_.start(); }
  void stop();
  // One iteration: renew when due, claim when there is room. Returns how long the caller may wait
  // for news; zero: go on at once. Waits only with `patient`, in a claim that finds nothing.
  // Throws what the store throws.
  Duration step(bool patient = false);
  // No claims from now on; what waits for a slot is handed back.
  void drain();
  // The runner has room again.
  void room();
  // With the next renewal the store is told again where this process runs.
  void describe_again() { described_ = false; }
  // Ends the session in good order: what it still holds goes back unrun.
  void close(const std::string& last_words);

  SessionId session() const { return SessionId{session_.load()}; }
  std::string state() const;
  // Why it is not consuming; empty: it is. Any thread.
  std::string why_not_consuming() const;
  SessionReport::Canary canary() const {
    return canary_ ? canary_->report() : SessionReport::Canary();
  }
  // From the finisher; see Canary::ended().
  void canary_ended(const ClaimedTask& task, const Outcome& outcome, Applied applied);

 private:
  enum class Wait : uint8_t { work, room };
  void open();
  void describe();
  void renew();
  void lose_session();
  void follow(ChangeBatch news);
  ClaimResult claim(std::vector<ClaimRequest::FromQueue> queues, Duration patience);
  void hand_over(std::vector<ClaimedTask> tasks);
  void set_aside(std::span<const ClaimedTask> damaged);
  // What is left of a step once there is something to claim for.
  Duration look_for_work(size_t appetite, bool patient);
  Duration follow_hints(size_t appetite, bool patient);
  void say_that_it_consumes();
  void hand_back_unknown();
  Duration until_next(TimePoint now) const;
  Duration until_renewal() const;
  Duration tick(std::stop_token stop);

  Store& store_;
  Runner& runner_;
  const Clock& clock_;
  Random& random_;
  Log& log_;
  const IntakeOptions options_;
  QueueShares shares_;
  std::atomic<int64_t> session_{0};
  std::atomic<bool> draining_{false};
  std::atomic<bool> described_{false};
  std::atomic<bool> hungry_{false};     // waiting for room
  std::atomic<bool> consuming_{false};  // it was shown, since the session was opened
  std::atomic<bool> told_{false};       // and the session says so
  std::optional<Canary> canary_;
  // When a claim went out whose answer never came: it may have taken tasks that nobody knows of.
  struct Asked {
    TimePoint at;
    SteadyPoint steady;
  };
  std::optional<Asked> unanswered_claim_;
  bool found_ = true;        // the last claim got something
  bool restricted_ = false;  // the last claim was to leave work because of limits or suspects
  std::atomic<bool> restriction_waits_{false};  // room() is to end the wait of a restricted claim
  SteadyPoint renew_at_{};
  uint64_t position_ = 0;  // in the change feed
  std::optional<TimePoint> next_due_at_;
  Wait wait_for_ = Wait::work;
  Mutex mutex_;
  StoppableCondition changed_;
  bool room_ OPSCORE_GUARDED_BY(mutex_) = false;
  Loop loop_;
};

}  // namespace opscore
