#include "opscore/broker/dramatiq/task_message.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/broker/dramatiq/follow_ups.h"
#include "opscore/model/handover.h"

namespace opscore {
namespace {

constexpr char kPriorityOption[] = "broker_priority";

std::string number(int64_t value) {
  return std::to_string(value);
}

// Whether these are an actor's arguments by name, and nothing else.
bool are_arguments(const PythonMembers& members) {
  return !members.members.empty() &&
         std::ranges::all_of(members.members, [](const PythonMembers::Member& member) {
           return (member.name == "args" && member.value[0] == '[') ||
                  (member.name == "kwargs" && member.value[0] == '{');
         });
}

std::optional<uint8_t> priority_of(const PythonMembers& options) {
  auto priority = integer_option(options, kPriorityOption);
  if (!priority || *priority < 0) return std::nullopt;
  return static_cast<uint8_t>(std::min<int64_t>(*priority, 255));
}

}  // namespace

std::expected<ActorArguments, Error> arguments_of(std::string_view input) {
  auto compact = compact_python(input);
  if (!compact) return std::unexpected(compact.error());
  ActorArguments arguments;
  if (*compact == "null") return arguments;
  if (compact->front() == '[') {
    arguments.args = *compact;
    return arguments;
  }
  if (compact->front() != '{')
    return std::unexpected(
        Error(Errc::invalid,
              "an actor of Dramatiq takes an object, its keyword arguments; or an array, its "
              "arguments; or {\"args\": [...], \"kwargs\": {...}}; or null"));
  const PythonMembers members = PythonMembers::of_object(*compact);
  if (!are_arguments(members)) {
    arguments.kwargs = *compact;
    return arguments;
  }
  if (const std::string* args = members.find("args")) arguments.args = *args;
  if (const std::string* kwargs = members.find("kwargs")) arguments.kwargs = *kwargs;
  return arguments;
}

std::string message_options(std::string_view declared, const TaskSpec& spec,
                            std::optional<int> asked, TimePoint now) {
  PythonMembers options = PythonMembers::of_object(declared);
  if (asked) options.set("max_retries", *asked == kUnlimitedAttempts ? "null" : number(*asked - 1));
  if (spec.options.retry) {
    options.set("min_backoff", number(spec.options.retry->min.count()));
    options.set("max_backoff", number(spec.options.retry->max.count()));
  }
  if (spec.options.timeout) options.set("time_limit", number(spec.options.timeout->count()));
  if (spec.options.deadline) options.set("max_age", number((*spec.options.deadline - now).count()));
  // What is not more urgent than others has none, which is the lowest that RabbitMQ knows.
  if (spec.priority > 0) options.set(kPriorityOption, number(spec.priority));
  return options.encode();
}

ForeignMessage message_of_task(const Task& task, std::string_view task_id, int attempt,
                               TimePoint now) {
  const ActorArguments arguments = arguments_of(task.input).value_or(ActorArguments{});
  DramatiqMessage message;
  message.queue_name = task.queue;
  message.actor_name = task.type;
  message.args = arguments.args;
  message.kwargs = arguments.kwargs;
  auto options = compact_python(task.options.dramatiq);
  if (options) message.options = PythonMembers::of_object(*options);
  if (attempt > 0) message.options.set(kAttemptsOption, number(attempt));
  message.message_id = message_id_of(task_id);
  // max_age counts from here, also of a task that is run again long after it was made.
  message.message_timestamp = number(to_ms(attempt > 0 ? task.live.run_at : task.created_at()));
  if (task.live.run_at > now) message = with_delay(std::move(message), to_ms(task.live.run_at));
  return {message.queue_name, encode_dramatiq(message), priority_of(message.options), {}};
}

}  // namespace opscore
