// What is published of the ends of adopted tasks; decide_follow_ups() of adoption.h.

#include "opscore/broker/dramatiq/follow_ups.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/base/hash.h"
#include "opscore/base/json.h"
#include "opscore/broker/dramatiq/results.h"
#include "opscore/engine/adoption.h"
#include "opscore/model/error_kind.h"

namespace opscore {
namespace {

// Headers should stay small: RabbitMQ keeps them in its index.
constexpr size_t kReasonMax = 1000;
// How long a message may have its result kept.
constexpr double kKeepMaxMs = 10.0 * 365 * 86'400'000;

// A UUID that is the same whenever this end is told, so that who has heard it can know.
FreshMessage fresh_message(const AdoptedEnd& end, const EndFacts& facts, std::string_view what,
                           TimePoint at) {
  std::string hash = to_hex(sha256(
      fmt::format("{}/{}/{}/{}", facts.origin.message_id, end.task.value, end.attempt, what)));
  hash[12] = '8';  // version: made by nobody's rule but ours
  hash[16] = "89ab"[hash[16] % 4];
  return {fmt::format("{}-{}-{}-{}-{}", hash.substr(0, 8), hash.substr(8, 4), hash.substr(12, 4),
                      hash.substr(16, 4), hash.substr(20, 12)),
          to_ms(at)};
}

struct Telling {
  const AdoptedEnd& end;
  const EndFacts& facts;
  TimePoint at;
  DramatiqMessage message;  // as of the end
  FollowUps out;

  static ForeignMessage to_publish(const DramatiqMessage& message) {
    ForeignMessage publish{message.queue_name, encode_dramatiq(message), {}, {}};
    if (auto priority = integer_option(message.options, "broker_priority"))
      publish.priority = static_cast<uint8_t>(std::clamp<int64_t>(*priority, 0, 255));
    return publish;
  }
  void publish(const DramatiqMessage& message) { out.messages.push_back(to_publish(message)); }

  void keep(std::string value) {
    const auto ttl = number_option(message.options, "result_ttl");
    const Duration keep = ttl ? Duration(static_cast<int64_t>(std::clamp(*ttl, 1.0, kKeepMaxMs)))
                              : facts.keep_results;
    out.result = {message.queue_name, message.actor_name, id(), std::move(value), keep};
  }
  // Dramatiq's name of the message, as Python knows it.
  std::string id() const {
    return message.message_id.empty() ? facts.origin.message_id : message.message_id;
  }

  std::optional<CallbackTarget> target_of(const char* option) {
    auto name = text_option(message.options, option);
    if (!name || name->empty()) return std::nullopt;
    const CatalogueEntry* actor = facts.find_actor(*name);
    if (actor) return CallbackTarget{*name, actor->queue};
    const std::string queue(canonical_queue(message.queue_name));
    out.warnings.push_back(
        fmt::format("{}: actor '{}' is not declared here, so its queue is not known; its message "
                    "went to queue '{}', the one of this task",
                    option, to_valid_utf8(*name), queue));
    return CallbackTarget{*name, queue};
  }
};

ErrorInfo error_of(const AdoptedEnd& end, const EndFacts& facts) {
  for (const Attempt& attempt : facts.attempts)
    if (attempt.number == end.attempt && !attempt.error.kind.empty()) return attempt.error;
  return facts.task.error;
}

std::string traceback_of(const ErrorInfo& error) {
  if (!error.detail.empty()) return to_valid_utf8(error.detail);
  return to_valid_utf8(fmt::format("{}: {}", error.kind, error.message));
}

// An exception that a hosted actor raised is told as Python tells it. Its message is the last line
// of its traceback: "ValueError: boom".
PythonFailure failure_of(const ErrorInfo& error) {
  const std::string_view words = error.message;
  const size_t colon = words.find(": ");
  if (error.kind == error_kind::kActorError && colon != std::string_view::npos) {
    const std::string_view type = words.substr(0, colon), text = words.substr(colon + 2);
    std::string_view trace = error.detail;
    while (trace.ends_with('\n')) trace.remove_suffix(1);
    if (trace.starts_with("Traceback (") && trace.ends_with(text.empty() ? type : words))
      return {to_valid_utf8(type), to_valid_utf8(text)};
  }
  return {to_valid_utf8(error.kind), to_valid_utf8(error.message)};
}

void count_in_group(Telling& telling) {
  const DramatiqMessage& message = telling.message;
  telling.out.member = {text_option(message.options, "group_completion_uuid").value_or(""),
                        telling.id()};
  auto callbacks = group_callbacks(message);
  if (!callbacks)
    return telling.out.warnings.push_back("the group's callbacks cannot be sent: " +
                                          callbacks.error().message());
  for (const DramatiqMessage& callback : *callbacks)
    telling.out.group_callbacks.push_back(Telling::to_publish(callback));
}

void tell_success(Telling& telling, const Adopted& adopted) {
  const std::string& result = telling.facts.task.result;
  if (adopted.result) telling.keep(result_value(result));
  if (adopted.group) count_in_group(telling);
  if (auto target = telling.target_of("on_success"))
    telling.publish(
        on_success_message(telling.message, *target, result,
                           fresh_message(telling.end, telling.facts, "on_success", telling.at)));
  auto next = next_stage(telling.message, result, to_ms(telling.at));
  if (!next)
    telling.out.warnings.push_back("the pipeline ends here: " + next.error().message());
  else if (*next)
    telling.publish(**next);
}

void tell_failure(Telling& telling, const ErrorInfo& error) {
  const AdoptedEnd& end = telling.end;
  const int64_t before =
      integer_option(telling.message.options, "retries").value_or(0) + end.charged - 1;
  telling.message = after_failure(std::move(telling.message), std::max<int64_t>(before, 0),
                                  traceback_of(error), to_ms(telling.at));
  if (auto target = telling.target_of("on_failure"))
    telling.publish(
        on_failure_message(telling.message, *target, failure_of(error),
                           fresh_message(end, telling.facts, "on_failure", telling.at)));
  if (!end.exhausted) return;
  if (auto target = telling.target_of("on_retry_exhausted"))
    telling.publish(on_retry_exhausted_message(
        telling.message, *target, before, before,
        fresh_message(end, telling.facts, "on_retry_exhausted", telling.at)));
}

void tell_death(Telling& telling, const ErrorInfo& error) {
  std::string reason = to_valid_utf8(fmt::format("{}: {}", error.kind, error.message));
  if (reason.size() > kReasonMax) reason = to_valid_utf8(reason.substr(0, kReasonMax)) + "...";
  telling.out.messages.push_back(
      {std::string(canonical_queue(telling.message.queue_name)) + std::string(kDeadSuffix),
       telling.facts.origin.body,
       {},
       {{kReasonHeader, std::move(reason)}, {"x-opscore-task", telling.facts.task_id}}});
}

}  // namespace

FollowUps decide_follow_ups(const AdoptedEnd& end, const EndFacts& facts, TimePoint at) {
  auto message = decode_dramatiq(facts.origin.body);
  if (!message)
    throw Error(Errc::corrupt, fmt::format("the message that task {} was adopted from: {}",
                                           facts.task_id, message.error().message()));
  Telling telling{end, facts, at, without_delay(*std::move(message)), {}};
  const Adopted adopted = facts.task.options.adopted.value_or(Adopted{});
  const bool is_current = facts.task.live.attempt == end.attempt && facts.task.state() == end.next;
  if (end.next == State::completed) {
    if (is_current)
      tell_success(telling, adopted);
    else
      telling.out.warnings.push_back(
          "it was run again before its callbacks could be sent; the next end will be told");
  }
  if (!end.failed && end.next != State::failed) return std::move(telling.out);
  const ErrorInfo error = error_of(end, facts);
  if (end.failed) tell_failure(telling, error);
  if (end.next != State::failed || !is_current) return std::move(telling.out);
  if (adopted.result) telling.keep(failure_value(failure_of(error)));
  if (!adopted.over_http) tell_death(telling, error);
  return std::move(telling.out);
}

}  // namespace opscore
