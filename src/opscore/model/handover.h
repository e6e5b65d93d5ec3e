#pragma once
// Handing a task to Python's Dramatiq: that its message is to be published is a row of the outbox,
// written in the transaction that submits the task, or has it run again. The row names the task;
// the message is made when it is published, always the same one. Pure.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/model/plan.h"

namespace opscore {

namespace event_kind {
// RabbitMQ has confirmed the message. Data: queue.
inline constexpr char kHandedToDramatiq[] = "handed_to_dramatiq";
// A Python worker has it. Data: worker.
inline constexpr char kPickedUp[] = "picked_up";
// The message came again after the task had ended: somebody sent a dead one back.
inline constexpr char kSentBack[] = "sent_back";
}  // namespace event_kind

// What a row is about: the task, and the number of its last attempt before it is handed over.
struct Handover {
  TaskKey task;
  int attempt = 0;
  bool operator==(const Handover&) const = default;
};

OutboxRow handover_row(TaskKey task, const std::string& queue, int attempt, TimePoint now);
// Nothing for other rows of the same kind. Throws Error{corrupt}.
std::optional<Handover> decode_handover(const OutboxRow& row);
// The destination of these rows is no queue of RabbitMQ's, so that a pause holds back nothing else.
std::string handover_destination(std::string_view queue);

// The id of a task's message: the task's own, so that what Python logs is what people look up here.
// One that looks like the ids of Python's own messages, a UUID, gets a prefix.
std::string message_id_of(std::string_view task_id);
// Which ids the task of a message can have, the likelier first; none for a message of Python's own.
std::vector<std::string> task_ids_of(std::string_view message_id);

}  // namespace opscore
