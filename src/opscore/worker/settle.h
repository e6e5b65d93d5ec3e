#pragma once
// What an attempt comes to, given what its actor answered and why it was asked to stop. Pure; every
// runner has these rules.

#include <optional>
#include <string>

#include "opscore/model/fleet.h"
#include "opscore/model/outcome.h"
#include "opscore/worker/runner.h"

namespace opscore {

// Why an attempt was asked to stop, if it was.
enum class Stopping : uint8_t { no, timeout, cancel, drain, session_lost };
Stopping stopping_for(StopReason reason);

// Completing beats a stop that was asked for; anything else after it becomes what the stop was for.
// A result that is too large, or not JSON, is a failure for good.
Outcome settle(const ClaimedTask& task, Outcome outcome, Stopping why, size_t result_bytes_max);

// What a stop makes of an attempt that has no result.
Outcome stopped_outcome(const ClaimedTask& task, Stopping why, const std::string& detail);

// It was claimed just before its actor was removed from this worker.
Outcome no_actor_outcome(const std::string& type);

// What was submitted past the API is held against the actor's schema here; nothing when it fits.
std::optional<Outcome> input_refused(const ClaimedTask& task, const CatalogueEntry& entry);

}  // namespace opscore
