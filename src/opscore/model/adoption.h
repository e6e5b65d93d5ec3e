#pragma once
// What is told of the ends of tasks that were adopted from messages of Dramatiq: callbacks, the
// next stage of a pipeline, the dead message. That something is to be told is a row of the outbox,
// written in the transaction that ends the attempt; which messages that makes is found out when it
// is delivered, from the message that the store keeps. Pure.

#include <optional>

#include "opscore/model/plan.h"

namespace opscore {

namespace event_kind {
// Its message asked for an id that another task has. Data: wanted.
inline constexpr char kTaskIdTaken[] = "task_id_taken";
// A callback cannot be made as it was meant. Data: reason.
inline constexpr char kCallbackWarning[] = "callback_warning";
}  // namespace event_kind

// Which end of which attempt a row is about.
struct AdoptedEnd {
  TaskKey task;
  int attempt = 0;
  int charged = 0;             // attempts that count, with this one
  State next = State::failed;  // what became of the task
  bool failed = false;         // the attempt failed, and counts
  bool exhausted = false;      // no attempt is left
  bool operator==(const AdoptedEnd&) const = default;
};

// Ends of which the results backend is told, too, have a destination of their own, with a character
// that no queue has: they can wait for it without holding up others. So have those of tasks whose
// message came over HTTP, which do not wait for RabbitMQ.
inline constexpr char kWithResults[] = "#results";
inline constexpr char kOverHttp[] = "#http";

// What a store has to write with a plan: nothing unless somebody is to hear of it.
std::optional<OutboxRow> adopted_row(const Plan& plan);
bool is_adopted_row(const OutboxRow& row);
// Throws Error{corrupt}.
AdoptedEnd decode_adopted_row(const OutboxRow& row);

}  // namespace opscore
