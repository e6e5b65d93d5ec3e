#pragma once
// Submitting: items, uniqueness keys, results.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/error.h"
#include "opscore/model/settings.h"
#include "opscore/model/task.h"

namespace opscore {

// One claim to a unique name. A row of the `keys` table; only tasks that have one pay for it.
struct UniqueKey {
  enum class Kind : uint8_t { task_id = 0, idempotency = 1, message_id = 2 };
  Kind kind = Kind::task_id;
  std::string scope;  // idempotency: the type
  std::string key;
};

struct InsertItem {
  TaskSpec spec;
  std::vector<UniqueKey> keys;
  std::string request_hash;  // of type, queue, input and options; compared on a replay
  enum class OnConflict : uint8_t {
    replay,     // same hash: answer the first task; another hash: conflict
    refuse,     // any existing key is a conflict
    derive_id,  // adoption: a taken task_id yields to one derived from the message id
  } on_conflict = OnConflict::replay;
  std::string message_id;  // of the foreign message this came from, or empty
  std::string origin;      // that message's raw bytes, or empty
};

// The foreign message that a task came from.
struct MessageOrigin {
  std::string message_id;
  std::string body;
  bool operator==(const MessageOrigin&) const = default;
};

// The id of an adopted message whose own id is taken; always a valid task id, the same every time.
std::string derived_task_id(std::string_view message_id);
// Gives a task that id in place of the one that it wanted, which its metadata keeps.
void take_derived_id(TaskOptions& options, std::string_view message_id);

struct InsertResult {
  enum class Kind : uint8_t {
    inserted,
    replayed,
    conflict,
    queue_full,       // the queue's max_pending
    input_too_large,  // the queue's max_input_bytes
    failed,           // the store could not write it, and its neighbours it could
  } kind = Kind::inserted;
  TaskKey key;  // of the new task, or of the one in the way
  State state = State::pending;
  UniqueKey conflicting;       // when conflict
  int64_t limit = 0;           // that forbids it, when it is one of the queue's
  std::optional<Error> error;  // when failed

  bool refused() const { return kind != Kind::inserted && kind != Kind::replayed; }
};

// Who has a unique name.
struct TakenKey {
  TaskKey by;
  std::string hash;  // of that task's request
  State state = State::pending;
};
InsertResult replay_of(const TakenKey& taken);
// What an item is told whose `key` is taken: its task was submitted before, or the key is
// another's.
InsertResult answer_taken(const InsertItem& item, const UniqueKey& key, const TakenKey& taken);

// Whether a queue takes one more task, when `waiting` wait to be started in it: the refusal, else
// nothing. Pure.
std::optional<InsertResult> refuse_by_limits(const LayeredLimits& limits, int64_t waiting,
                                             size_t input_bytes);

}  // namespace opscore
