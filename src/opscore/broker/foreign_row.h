#pragma once
// Messages for the queues of Dramatiq as rows of the outbox, kind amqp: written with the commit
// that caused them, published by the leader afterwards. Pure.

#include "opscore/broker/foreign_broker.h"
#include "opscore/model/plan.h"

namespace opscore {

// The destination is the queue, the body the message's; properties hold priority and headers.
OutboxRow row_of_message(const ForeignMessage& message, TimePoint not_before);
// Throws Error{corrupt}.
ForeignMessage message_of_row(const OutboxRow& row);

}  // namespace opscore
