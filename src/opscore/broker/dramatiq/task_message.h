#pragma once
// The message of a task that Python runs: the bytes that `actor.send_with_options()` would send
// there. Pure.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "opscore/base/error.h"
#include "opscore/broker/dramatiq/message.h"
#include "opscore/broker/foreign_broker.h"
#include "opscore/model/submit.h"

namespace opscore {

// How often the task had been tried when its message was sent: only in those that are sent again,
// so that the attempts that Python counts from nought become the task's.
inline constexpr std::string_view kAttemptsOption = "opscore_attempts";

// How an input becomes an actor's arguments:
//
//   {"args": [...], "kwargs": {...}}   both, or one of them and nothing else: those
//   any other object                   its members are the keyword arguments
//   an array                           its elements are the arguments
//   null                               no arguments
struct ActorArguments {
  std::string args = "[]";
  std::string kwargs = "{}";
};
// Errc::invalid: it is a text, a number or a boolean.
std::expected<ActorArguments, Error> arguments_of(std::string_view input);

// The options of a new task's message: what the actor's declaration says, then what the task says
// of retries, time limit, age and priority, in Dramatiq's words. `asked`: the number of attempts
// that somebody asked for, kUnlimitedAttempts for no limit.
std::string message_options(std::string_view declared, const TaskSpec& spec,
                            std::optional<int> asked, TimePoint now);

// The message of a task, as it is to be published at `now`: on its queue, or on Q.DQ with an eta.
// The same every time, until it is due. `attempt`: the number of its last one before this.
ForeignMessage message_of_task(const Task& task, std::string_view task_id, int attempt,
                               TimePoint now);

}  // namespace opscore
