#pragma once
// What the leader does for everybody: promotes what is due, fails what is too late, gives back what
// lost sessions held, prunes, works on bulk jobs. Every tick is idempotent, so a
// deposed leader that has not noticed harms nothing.

#include <atomic>
#include <functional>
#include <map>

#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/base/mutex.h"
#include "opscore/base/thread.h"
#include "opscore/model/limits.h"
#include "opscore/store/store.h"

namespace opscore {

struct MaintenanceOptions {
  Retention retention{limits::kKeepCompleted, limits::kKeepFailed, {}};
  Duration session_ttl = limits::kSessionTtl;
  std::function<SessionId()> session;  // of this process; leads only while it has one
  // One slice of a bulk job; false when there is none.
  std::function<bool()> bulk_work = [] { return false; };
  std::function<void()> audit = [] {};  // whenever the leader has a moment
};

// Watches renewal counters on its own steady clock: a counter that stands still for a full TTL of
// uninterrupted observation means that the session is lost. Wall clocks may jump. Pure.
class SessionWatch {
 public:
  explicit SessionWatch(Duration ttl) : ttl_(ttl) {}
  // Which of the sessions are lost, seen at `now`.
  std::vector<Session> lost(const std::vector<Session>& sessions, SteadyPoint now);
  // The store could not be reached: nothing was observed, so every count starts anew.
  void interrupted() { seen_.clear(); }

 private:
  struct Seen {
    uint64_t renewals;
    SteadyPoint since;
  };
  const Duration ttl_;
  std::map<SessionId, Seen> seen_;
};

class Maintenance {
 public:
  // All must outlive it.
  Maintenance(Store& store, const Clock& clock, Log& log, Metrics& metrics,
              MaintenanceOptions options);

  void start() { loop_.start(); }
  void stop() { loop_.stop(); }
  // There is something to do before the next round is due.
  void wake() { loop_.wake(); }
  // From any thread.
  void set_retention(Retention retention);
  // One round of whatever is due; how long until the next. For the loop and the simulation.
  Duration tick();
  // As the last tick found: whether this process is the one that does it.
  bool leads() const { return leads_; }
  // Says so in the report of the session that it leads with. From any thread.
  void report(SessionReport& report) const;

 private:
  Duration promote();
  void rescue_lost_sessions();
  void prune();
  size_t discard_old_hints();

  Store& store_;
  const Clock& clock_;
  Log& log_;
  const MaintenanceOptions options_;
  Mutex retention_mutex_;
  Retention retention_ OPSCORE_GUARDED_BY(retention_mutex_);
  Counter& expired_;
  Counter& rescued_;
  Counter& pruned_;
  SessionWatch watch_;
  SteadyPoint prune_at_{};
  std::atomic<bool> leads_{false};
  std::atomic<int64_t> led_at_ms_{0};  // as of the last tick that did; 0: none has
  Loop loop_;
};

}  // namespace opscore
