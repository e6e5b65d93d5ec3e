#pragma once
// What producers of Dramatiq ask for after a message has ended: its result, which
// message.get_result() reads, and the barrier that counts the messages of a group. Both are kept
// where Dramatiq keeps them, and as it does, since Python reads and counts there, too.
//
// redis/ is Dramatiq's RedisBackend, memory/ is one in this process; conformance/ holds both to the
// same behaviour.

#include <span>
#include <string>
#include <vector>

#include "opscore/base/time.h"

namespace opscore {

struct StoredResult {
  std::string queue;  // canonical
  std::string actor;
  std::string message_id;
  std::string value;  // JSON, as Dramatiq encodes results and failures
  Duration keep{0};
  bool operator==(const StoredResult&) const = default;
};

// A message of a group has completed.
struct GroupMember {
  std::string group;  // group_completion_uuid: the barrier's key
  std::string message_id;
  bool operator==(const GroupMember&) const = default;
};

enum class Barrier : uint8_t {
  waiting,  // for other members
  cleared,  // this was the last one
  gone,     // there is no such barrier: it has expired, or was made somewhere else
};

// For one thread. Every call throws Error{unavailable} when the backend is away or takes nothing,
// and takes no longer than its deadline and a few seconds. What was asked for may have happened
// nevertheless: asking again does no harm.
class ResultsBackend {
 public:
  virtual ~ResultsBackend() = default;
  // Keeps them, each for its time, in the place of what was kept before.
  virtual void store(std::span<const StoredResult> results) = 0;
  // Counts each member in its group's barrier, once: told again, the answer is the one that it got.
  virtual std::vector<Barrier> count(std::span<const GroupMember> members) = 0;
};

}  // namespace opscore
