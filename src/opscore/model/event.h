#pragma once
// Lines of a task's history that more than one place writes or reads.

#include <string>

#include "opscore/model/task.h"

namespace opscore {

namespace event_kind {
inline constexpr char kCancelRequested[] = "cancel_requested";
// A person wants it run again. The event before it says how it had ended.
inline constexpr char kRetried[] = "retried";
}  // namespace event_kind

// What an event says about an error: kind and message, as a JSON object; empty without a kind.
std::string event_data(const ErrorInfo& error);

// A task's end: its state, and why.
TaskEvent end_event(State state, TimePoint at, int attempt, const ErrorInfo& error);

}  // namespace opscore
