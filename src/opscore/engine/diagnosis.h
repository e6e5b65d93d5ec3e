#pragma once
// Why a task is where it is, decided from facts: the one place that `explain` and the `reason` of a
// task in the API come from. Pure.

#include <optional>
#include <string>
#include <vector>

#include "opscore/model/fleet.h"

namespace opscore {

// What RabbitMQ says of queues, under the names that it has for them, when it was asked.
struct BrokerLook {
  std::string where;    // a URL without credentials
  std::string problem;  // why it does not answer
  struct Queue {
    std::string name;
    uint64_t ready = 0, consumers = 0;
    std::optional<uint64_t> unacked;  // nothing: its management API was not asked
  };
  std::vector<Queue> queues;  // those that exist
  const Queue* find(const std::string& name) const;
};

struct Facts {
  Task task;
  std::vector<Attempt> attempts;
  std::optional<QueueStats> queue;
  std::optional<CatalogueEntry> actor;   // of what is not running yet
  int64_t actor_running = 0;             // tasks of it, when it has a limit
  std::vector<Session> sessions;         // that have not ended, and the task's own whatever it is
  std::optional<TimePoint> unled_since;  // no process does maintenance
  // Of a task that Python runs: when RabbitMQ took its message, and who began it.
  std::optional<TimePoint> handed_over_at;
  std::string picked_up_by;
  std::optional<BrokerLook> broker;
  TimePoint now{};
  bool server_down = false;  // read from the file, without a server
};

// Stable words: each is documented in docs/troubleshooting.md and has a test that creates it.
enum class Verdict : uint8_t {
  completed,
  failed,
  cancelled,
  due_later,          // scheduled by its submitter
  waiting_for_retry,  // an attempt failed; the next is due later
  snoozed,            // its actor asked to be run later
  waiting,            // for other tasks or a person
  queue_paused,
  server_down,    // nothing is running that could take it
  no_worker,      // no live session serves its queue
  no_actor,       // sessions serve the queue, but none can run the type
  limit_reached,  // of its queue or its actor
  slots_busy,
  suspect_waiting,  // it may have crashed a worker and runs alone
  about_to_start,
  not_started,  // claimed, waiting for its slot
  stopping,     // a cancel was asked for
  lease_lost,   // its session is gone; rescue will give it back
  running,
  not_handed_over,     // Python runs it, and RabbitMQ has not taken its message
  handed_to_dramatiq,  // RabbitMQ has; nobody has reported yet
  unheard,             // a Python worker began it, and has not been heard since
  unconsumed,          // RabbitMQ has its message, and nobody consumes its queue
  held,                // a consumer holds its message, and nobody has reported
};
inline constexpr Verdict kLastVerdict = Verdict::held;

struct Diagnosis {
  Verdict verdict = Verdict::running;
  std::string sentence;  // one, for people
  // Which link of record, broker, queue, session, slot, attempt broke; nothing when none did.
  std::optional<std::string> broken_hop;
};

std::string_view to_string(Verdict verdict);
Diagnosis diagnose(const Facts& facts);

// Under which name a session that leads reports when it last did maintenance.
inline constexpr char kMaintenanceLoop[] = "maintenance";
// Since when nobody does maintenance, as sessions tell; nothing while somebody does, and as long as
// that cannot be known. What ended sessions did counts, too.
std::optional<TimePoint> unled_since(const std::vector<Session>& sessions, TimePoint now);
// The same for people.
std::string unled_words(TimePoint since);

// A session that has not renewed for longer than its TTL counts as lost.
bool is_live(const Session& session, TimePoint now);
// Does the session consume this queue; can it run this type.
bool serves(const Session& session, const std::string& queue);
bool runs(const Session& session, const std::string& type);

}  // namespace opscore
