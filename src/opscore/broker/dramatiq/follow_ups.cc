#include "opscore/broker/dramatiq/follow_ups.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/broker/dramatiq/results.h"

namespace opscore {
namespace {

DramatiqMessage callback(const CallbackTarget& target, std::string args,
                         const FreshMessage& fresh) {
  DramatiqMessage message;
  message.queue_name = target.queue_name;
  message.actor_name = target.actor_name;
  message.args = std::move(args);
  message.message_id = fresh.message_id;
  message.message_timestamp = std::to_string(fresh.timestamp_ms);
  return message;
}

std::string with_argument(std::string_view args, std::string_view more) {
  return fmt::format("{}{}{}]", args.substr(0, args.size() - 1), args.size() > 2 ? "," : "", more);
}

std::expected<DramatiqMessage, Error> nested(std::string_view option, std::string_view value) {
  auto message = decode_dramatiq(value);
  if (message) return message;
  return std::unexpected(
      Error(Errc::malformed, fmt::format("options.{}: {}", option, message.error().message())));
}

}  // namespace

DramatiqMessage without_delay(DramatiqMessage message) {
  message.queue_name = canonical_queue(message.queue_name);
  message.options.erase("eta");
  return message;
}

DramatiqMessage with_delay(DramatiqMessage message, int64_t eta_ms) {
  message.queue_name = fmt::format("{}{}", canonical_queue(message.queue_name), kDelayedSuffix);
  message.options.set("eta", std::to_string(eta_ms));
  return message;
}

DramatiqMessage after_failure(DramatiqMessage message, int64_t retries, std::string_view traceback,
                              int64_t now_ms) {
  message.options.set("retries", std::to_string(retries + 1));
  message.options.set("traceback", quote_python(traceback));
  message.options.set("requeue_timestamp", std::to_string(now_ms));
  return message;
}

DramatiqMessage on_success_message(const DramatiqMessage& message, const CallbackTarget& target,
                                   std::string_view result, const FreshMessage& fresh) {
  return callback(target, fmt::format("[{},{}]", encode_dramatiq(message), result_value(result)),
                  fresh);
}

DramatiqMessage on_failure_message(const DramatiqMessage& message, const CallbackTarget& target,
                                   const PythonFailure& failure, const FreshMessage& fresh) {
  return callback(target,
                  fmt::format(R"([{},{{"type":{},"message":{}}}])", encode_dramatiq(message),
                              quote_python(failure.type), quote_python(failure.message)),
                  fresh);
}

DramatiqMessage on_retry_exhausted_message(const DramatiqMessage& message,
                                           const CallbackTarget& target, int64_t retries,
                                           std::optional<int64_t> max_retries,
                                           const FreshMessage& fresh) {
  return callback(target,
                  fmt::format(R"([{},{{"retries":{},"max_retries":{}}}])", encode_dramatiq(message),
                              retries, max_retries ? std::to_string(*max_retries) : "null"),
                  fresh);
}

std::expected<std::optional<DramatiqMessage>, Error> next_stage(const DramatiqMessage& message,
                                                                std::string_view result,
                                                                int64_t now_ms,
                                                                bool ignores_result) {
  const std::string* target = message.options.find("pipe_target");
  if (!target || *target == "null") return std::nullopt;
  auto next = nested("pipe_target", *target);
  if (!next) return std::unexpected(next.error());
  if (!is_true(next->options, "pipe_ignore") && !ignores_result)
    next->args = with_argument(next->args, result_value(result));
  if (auto delay = number_option(next->options, "delay"))
    return with_delay(*std::move(next),
                      now_ms + static_cast<int64_t>(std::clamp(*delay, 0.0, 9e15)));
  return *std::move(next);
}

std::expected<std::vector<DramatiqMessage>, Error> group_callbacks(const DramatiqMessage& message) {
  std::vector<DramatiqMessage> callbacks;
  const std::string* option = message.options.find("group_completion_callbacks");
  if (!option || option->front() != '[') return callbacks;
  for (std::string_view item : PythonMembers::of_array(*option)) {
    auto read = nested("group_completion_callbacks", item);
    if (!read) return std::unexpected(read.error());
    callbacks.push_back(*std::move(read));
  }
  return callbacks;
}

}  // namespace opscore
