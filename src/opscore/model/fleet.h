#pragma once
// Plain data about workers, queues and what can be run.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "opscore/model/settings.h"
#include "opscore/model/task.h"

namespace opscore {

// What a worker says of itself with every renewal: the only thing that doctor and api know of it.
struct SessionReport {
  std::string state = "starting";  // starting connecting consuming draining stopped
  bool takes_work() const { return state == "connecting" || state == "consuming"; }
  std::vector<std::string> queues;
  std::vector<std::string> types;
  int slots = 0;
  int busy = 0;
  int abandoned = 0;  // slots whose actor did not stop
  int unstarted = 0;  // claimed, waiting for a slot
  std::optional<TimePoint> oldest_unstarted_at;
  std::map<std::string, TimePoint> loops;  // name -> last progress
  struct Running {
    TaskKey key;
    int attempt = 0;
    int slot = 0;
    TimePoint started_at{};
  };
  std::vector<Running> running;
  // How it gets on with the broker that it has.
  struct Broker {
    std::string where;                           // a URL without credentials
    std::string problem;                         // why it is away; the store is polled meanwhile
    std::string blocked;                         // why it takes no hints for now
    std::map<std::string, std::string> refused;  // queue -> why, and what to do about it
    bool operator==(const Broker&) const = default;
  };
  std::optional<Broker> broker;
  // What became of the last canary, which went the way of a task through this worker.
  struct Canary {
    std::string state;  // flying arrived busy skipped lost; empty: none was sent
    std::string words;  // where it went, or why not
    TimePoint at{};
    bool operator==(const Canary&) const = default;
  };
  Canary canary;
  // As `broker`, of who publishes messages for Dramatiq.
  std::optional<Broker> dramatiq;
  std::vector<std::string> adopts;  // queues of Dramatiq that it consumes
  std::string adoption_problem;     // why it does not, for now
};
std::string encode_report(const SessionReport& report);
SessionReport decode_report(std::string_view text);

struct Session {
  SessionId id;
  std::string name;     // "host:pid", for people
  std::string context;  // JSON: executable, argv, pid, host, user, cwd, build, ...
  TimePoint started_at{};
  TimePoint renewed_at{};
  uint64_t renewals = 0;  // the leader watches this, not the times
  std::optional<TimePoint> ended_at;
  std::string last_words;  // why it ended
  SessionReport report;
};

// What renew() answers.
struct RenewReply {
  bool lost = false;                  // the session was ended by somebody else: drop everything
  std::vector<Lease> cancels;         // attempts of this session to be stopped
  std::vector<std::string> commands;  // "drain", "stop", "log-level debug"
  // Settings::actor_concurrency.
  std::map<std::string, int64_t> actor_concurrency;
};

// One actor that workers of this installation can run.
struct CatalogueEntry {
  std::string type;
  std::string kind;               // native, exec, http, python, agent, dramatiq
  std::string queue = "default";  // where its tasks go unless the submitter says otherwise
  std::string version;
  std::string description;
  std::string input_schema;  // JSON Schema (draft 7), or empty
  std::optional<Duration> timeout;
  std::optional<int> max_attempts;
  std::optional<RetryPolicy> retry;
  // Tasks of it that one worker runs at once: as configured, and as set while running, which wins.
  std::optional<int64_t> concurrency;
  std::optional<int64_t> chosen_concurrency;  // the store's to know: not part of what is announced
  std::vector<std::string> aliases;  // other names under which tasks of it may be submitted
  std::string sandbox;               // of a program: off, preferred, required; empty: not a program
  std::string unsandboxed;           // why it runs without the preferred one
  // Of kind dramatiq, which Python runs: the options of its messages, a JSON object. Else empty.
  std::string dramatiq;
  TimePoint seen_at{};  // last announced by a worker

  int64_t concurrency_in_force() const {
    return chosen_concurrency.value_or(concurrency.value_or(kUnlimited));
  }
};
std::string encode_entry(const CatalogueEntry& entry);
CatalogueEntry decode_entry(std::string_view text);

struct QueueStats {
  std::string name;
  int64_t pending = 0, scheduled = 0, running = 0, waiting = 0;
  int64_t dead = 0;  // failed
  int64_t completed = 0, cancelled = 0;
  // When the oldest due task became due; those that are run outside do not count.
  std::optional<TimePoint> oldest_pending_at;
  bool paused = false;
  LayeredLimits limits;
};

// Who ended a session, and what was running in it. What is not in `entered` was only claimed.
struct LostSession {
  SessionId session;
  enum class Cause : uint8_t {
    gone,     // killed by an operator, host loss, renewal stopped
    crashed,  // died of a crash signal or the OOM killer
    drained,  // left in good order; whatever it still holds was not run
  } cause = Cause::gone;
  bool entered_known = false;          // false: take every claimed task as entered
  std::map<Lease, TimePoint> entered;  // and when; the epoch: nobody knows
  std::optional<Lease> blamed;  // the attempt whose thread crashed, when the crash handler saw it
  std::string words;            // "worker host:123 died of SIGSEGV"
};

}  // namespace opscore
