#pragma once
// A decided change of one task. decide() makes it, TaskStore::apply writes it, guarded: it applies
// only while the task is still in `expected` state at attempt number `attempt`, with the input that
// the decision was made for, so a lost race changes nothing.

#include <optional>
#include <string>
#include <vector>

#include "opscore/model/task.h"

namespace opscore {

// One row that the relay delivers after the commit that wrote it.
struct OutboxRow {
  enum class Kind : uint8_t { token = 0, amqp = 1, effect = 2 };
  int64_t id = 0;
  Kind kind = Kind::token;
  std::string destination;  // token: the queue
  std::string body;         // token: how many tasks became due, as decimal text
  std::string properties;   // JSON, or empty
  TimePoint not_before{};

  // Rows of the kind that are not to be sent before a later time are not due at `now`. Tokens wait
  // for no time, so a clock that has stepped back since holds none of them up.
  static TimePoint due_until(Kind kind, TimePoint now) {
    return kind == Kind::token ? TimePoint::max() : now;
  }
};

// One try at delivering a row on behalf of a task: what becomes of the row, and the line of the
// task's history that says so.
struct OutboxTry {
  int64_t row = 0;
  std::optional<Duration> again;  // the row waits for so long; nothing: it is settled
  std::string properties;         // of the row that waits
  TaskKey task;
  TaskEvent event;
};

struct Plan {
  TaskKey key;
  State expected = State::running;
  int attempt = 0;

  State next = State::completed;
  Live live;  // the new row, when `next` is not terminal; else charged and edits are kept from it

  // When a cancel was requested meanwhile, this plan ends the task cancelled instead of `next`.
  bool yields_to_cancel = false;

  std::string result;                       // JSON, when completed
  ErrorInfo error;                          // why, when failed or cancelled
  std::optional<std::string> edited_input;  // retry with another input

  // The attempt that ends with this plan, if one does. When `next` is terminal it is kept in the
  // outcome, else as a row of the history.
  std::optional<AttemptEnd> ended;
  bool charged = false;
  SessionId worker;
  TimePoint claimed_at{};
  TimePoint started_at{};  // zero: never entered
  TimePoint at{};          // of the decision

  // Its message is to be published: handover_row() belongs to the plan then.
  bool hands_over = false;

  // Who is to be told when this ends the task: webhook_row() belongs to the plan then. And
  // adopted_row(), of a task that was adopted.
  std::string receiver;
  std::optional<Adopted> adopted;
  std::vector<TaskEvent> events;  // only the unusual; numbered by the store
  std::vector<OutboxRow> outbox;

  // How often the input had been edited when this was decided: part of the guard, since neither an
  // edit nor a cancel before the next claim moves the attempt number.
  int edits_before() const { return live.edits - (edited_input ? 1 : 0); }
};

// The plan that changes nothing yet, guarded by what `live` is.
Plan plan_for(TaskKey key, const Live& live, TimePoint now);
// What runs is to run again after that.
void run_again(Plan& plan, Duration delay);

enum class Applied : uint8_t {
  applied,
  already_applied,  // this very finish is on record: the caller's first try had committed
  lease_lost,       // the guard did not hold: somebody else was first
};

}  // namespace opscore
