#pragma once
// The messages that Dramatiq's middleware makes of another one when an attempt at it has ended.
// Each function is what one middleware does; the queue of a callback is for the caller to know.
// Pure: ids and times come in.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/broker/dramatiq/message.h"

namespace opscore {

// Of a message that is made anew.
struct FreshMessage {
  std::string message_id;  // a UUID
  int64_t timestamp_ms = 0;
};

// Where a callback goes: its actor, and the queue of that.
struct CallbackTarget {
  std::string actor_name;
  std::string queue_name;
};

// As a worker has it when the actor is entered: on its own queue, without the eta that it waited
// for.
DramatiqMessage without_delay(DramatiqMessage message);
// Put off until then: on Q.DQ.
DramatiqMessage with_delay(DramatiqMessage message, int64_t eta_ms);

// Retries: after an attempt that failed. `retries` is how many had failed before it.
DramatiqMessage after_failure(DramatiqMessage message, int64_t retries, std::string_view traceback,
                              int64_t now_ms);

// Callbacks. `result` is JSON. What the messages quote is the message as of that attempt's end.
DramatiqMessage on_success_message(const DramatiqMessage& message, const CallbackTarget& target,
                                   std::string_view result, const FreshMessage& fresh);
struct PythonFailure {
  std::string type;  // the name of the exception's class
  std::string message;
};
DramatiqMessage on_failure_message(const DramatiqMessage& message, const CallbackTarget& target,
                                   const PythonFailure& failure, const FreshMessage& fresh);
DramatiqMessage on_retry_exhausted_message(const DramatiqMessage& message,
                                           const CallbackTarget& target, int64_t retries,
                                           std::optional<int64_t> max_retries,
                                           const FreshMessage& fresh);

// Pipelines: the next stage with the result behind its arguments, put off when it asks for that.
// Nothing without a pipe_target; an error when it is not a message. `ignores_result`: what the
// finished actor's own pipe_ignore says.
std::expected<std::optional<DramatiqMessage>, Error> next_stage(const DramatiqMessage& message,
                                                                std::string_view result,
                                                                int64_t now_ms,
                                                                bool ignores_result = false);

// GroupCallbacks: what is sent when the group's barrier is cleared. Empty without callbacks.
std::expected<std::vector<DramatiqMessage>, Error> group_callbacks(const DramatiqMessage& message);

}  // namespace opscore
