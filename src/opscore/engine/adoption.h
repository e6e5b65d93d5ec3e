#pragma once
// What becomes of a message of Dramatiq that was delivered to opscore: a task, if somebody here
// runs its actor; parked, when its actor is somebody else's; refused, when nobody could run it. And
// what is told of the ends of such a task. Pure.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "opscore/broker/dramatiq/message.h"
#include "opscore/broker/foreign_broker.h"
#include "opscore/broker/results_backend.h"
#include "opscore/model/adoption.h"
#include "opscore/model/fleet.h"
#include "opscore/model/submit.h"

namespace opscore {

// Under which name Python sends agent tasks, with task_id, goal and input_data.
inline constexpr char kAgentActorName[] = "execute_agent_task_actor";
inline constexpr char kAgentType[] = "agent_task";
// Kinds of actors whose tasks Python runs: by workers of Dramatiq, and hosted.
inline constexpr char kDramatiqKind[] = "dramatiq";
inline constexpr char kPythonKind[] = "python";

// What is known of a type or alias; null when nobody here runs it. The answer lives until the next
// question.
using FindActor = std::function<const CatalogueEntry*(const std::string& name)>;

struct AdoptionContext {
  FindActor find_actor;
  TimePoint now{};
  std::string fresh_id;  // a UUID, for a message that has none; empty: such a message is refused
  size_t input_bytes_max = 0;
  // Whether there is a results backend, and of which actors it gets the results when the message
  // does not say. The latter are those whose `store_results` Python knows from its decorator.
  bool has_results = false;
  std::function<bool(const std::string& actor)> stores_results = [](const std::string&) {
    return false;
  };
  // It came over HTTP. Its sender asks for the task by the message's id, so it needs no backend for
  // a result, and messages of actors that Python runs are tasks, too: there is no queue to leave
  // them on.
  bool over_http = false;
};
// Whether a name is among these; "*" is any.
std::function<bool(const std::string&)> is_one_of(std::vector<std::string> names);

struct Adoption {
  enum class Kind : uint8_t {
    adopt,   // `item` is to be inserted
    park,    // `message` is for an actor that is not ours, or not known
    refuse,  // it is dead; `reason` says why
  } kind = Kind::refuse;
  InsertItem item;
  DramatiqMessage message;
  std::string reason;
};
Adoption decide_adoption(const ForeignDelivery& delivery, const AdoptionContext& context);

// What becomes of a message whose actor is somebody else's: it goes back to its queue after a
// while, again and again while there is anybody who may take it, and is dead when in 10 min nobody
// was seen. Its options count.
struct ForeignHop {
  DramatiqMessage message;  // as it goes on
  Duration wait{0};         // before it does
  std::string reason;       // why it is dead; empty: it is not
};
ForeignHop decide_hop(DramatiqMessage message, bool others_consume, TimePoint now);

// The name under which the store knows a message: its id, in a form that every store can keep.
std::string message_key(std::string_view message_id);

inline constexpr Duration kKeepResults = std::chrono::minutes(10);  // Dramatiq's default

// What the installation knows of its tasks and actors when an end is told.
struct EndFacts {
  const MessageOrigin& origin;
  const Task& task;
  std::string task_id;  // public
  std::vector<Attempt> attempts;
  FindActor find_actor;
  Duration keep_results = kKeepResults;  // unless the message says
};

// What is published because of an end, what the results backend is told before that, and what the
// task's history says of it.
struct FollowUps {
  std::vector<ForeignMessage> messages;
  std::vector<std::string> warnings;
  std::optional<StoredResult> result;
  std::optional<GroupMember> member;            // counts
  std::vector<ForeignMessage> group_callbacks;  // are published when it was the last one
};
// `at` is when it ended: told again, it is the same messages with the same ids.
FollowUps decide_follow_ups(const AdoptedEnd& end, const EndFacts& facts, TimePoint at);

}  // namespace opscore
