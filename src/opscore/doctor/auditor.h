#pragma once
// Looks for what must never be, and must not stay: rows of the store that contradict each other.
// What is found twice in a row is a violation: a gauge, a line of the log with what it is about,
// and, where it is safe, a repair. A step of maintenance, for its leader.

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/engine/diagnosis.h"
#include "opscore/store/store.h"

namespace opscore {

// Stable words: each is documented in docs/troubleshooting.md.
enum class AuditRule : uint8_t {
  running_without_lease,  // neither a session that is there nor Python has it
  counters_wrong,         // a queue counts other than it has rows
  outbox_stalled,         // rows are due for long and nobody has taken them
  suspect_stalled,        // it waits for its turn, and its worker has room
};
inline constexpr AuditRule kLastAuditRule = AuditRule::suspect_stalled;
std::string_view to_string(AuditRule rule);

struct Violation {
  AuditRule rule = AuditRule::running_without_lease;
  std::string subject;   // what it is about: the same subject is the same violation
  std::string evidence;  // for people
  SessionId lost;        // whose rescue repairs it
  bool operator==(const Violation&) const = default;
};

struct AuditFacts {
  TimePoint now{};
  std::vector<Task> running;      // read before the sessions
  std::vector<Task> suspects;     // that are due
  std::vector<Session> sessions;  // that have not ended
  std::map<OutboxRow::Kind, TimePoint> oldest_due;
  struct Count {
    std::string queue;
    State state = State::pending;
    int64_t counted = 0, rows = 0;
  };
  std::vector<Count> counts;  // of queues that did not change meanwhile
};
// Pure.
std::vector<Violation> find_violations(const AuditFacts& facts);

// For one thread.
class Auditor {
 public:
  // All must outlive it.
  Auditor(Store& store, const Clock& clock, Log& log, Metrics& metrics);
  // Does its work once a minute, and soon again when that has found something new, whenever it is
  // called. Throws what the store throws.
  void tick();
  // One round; what was found the second time.
  std::vector<Violation> audit();

 private:
  AuditFacts gather();
  void count_rows(AuditFacts& facts);
  void repair(const Violation& violation);

  Store& store_;
  const Clock& clock_;
  Log& log_;
  Metrics& metrics_;
  Counter& repaired_;
  std::set<std::pair<AuditRule, std::string>> suspected_;  // by the last round
  std::set<std::pair<AuditRule, std::string>> told_;
  SteadyPoint due_at_{};
};

}  // namespace opscore
