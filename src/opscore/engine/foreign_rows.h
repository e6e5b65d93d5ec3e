#pragma once
// Messages for Dramatiq's queues as rows of the outbox: published as they are, when they are due.
// Pure.

#include "opscore/broker/foreign_broker.h"
#include "opscore/model/plan.h"

namespace opscore {

OutboxRow to_row(const ForeignMessage& message, TimePoint not_before);
// Throws Error{corrupt}.
ForeignMessage to_message(const OutboxRow& row);

}  // namespace opscore
