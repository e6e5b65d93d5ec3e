#pragma once
// The links of the way of a task, each with its evidence. Pure but for what their names say.

#include "opscore/doctor/explain.h"

namespace opscore {

// What a walk knows beside the facts that the verdict is decided from.
struct Walk {
  const Facts& facts;
  std::vector<OutboxRow> unsent;        // due tokens for the queue of the task
  std::optional<MessageOrigin> origin;  // of an adopted one
  std::vector<Step> steps;
};

// All of them, in their order; each is ok.
std::vector<Hop> hops_of(const Walk& walk);
// Up to and including the broken one, when there is one.
void cut_at(std::vector<Hop>& hops, const std::optional<std::string>& broken);

Hop broker_hop(const Facts& facts);
Hop queue_hop(const Facts& facts);
Hop session_hop(const Facts& facts);
Hop intake_hop(const Facts& facts);
Hop slot_hop(const Facts& facts);

}  // namespace opscore
