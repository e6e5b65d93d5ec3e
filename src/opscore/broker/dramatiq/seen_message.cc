#include "opscore/broker/dramatiq/seen_message.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/base/json.h"
#include "opscore/broker/dramatiq/follow_ups.h"
#include "opscore/broker/dramatiq/task_message.h"
#include "opscore/broker/foreign_broker.h"

namespace opscore {
namespace {

// What Python's exception said: the last line of the traceback that Retries leaves.
std::string last_failure(const DramatiqMessage& message) {
  std::string trace = text_option(message.options, "traceback").value_or("");
  while (!trace.empty() && (trace.back() == '\n' || trace.back() == ' ')) trace.pop_back();
  return to_valid_utf8(trace.substr(trace.rfind('\n') + 1));
}

// RabbitMQ's words, and what they mean of a message of Dramatiq.
std::string death_words(const MessageDeath& death, const SeenMessage& seen) {
  std::string words = fmt::format("{} from {}", death.reason, death.queue);
  if (death.reason != "rejected" || !seen.message) return words;
  const std::string failure = last_failure(*seen.message);
  if (seen.retries == 0 && failure.empty())
    return words + ": a worker gave it up at the first try (no retries, too old, or no such actor)";
  return words +
         fmt::format(": a worker gave it up after {} retr{}, the one before the last with {}",
                     seen.retries, seen.retries == 1 ? "y" : "ies", failure);
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return text;
}

}  // namespace

SeenMessage describe(const WalkedMessage& message) {
  SeenMessage seen;
  std::string problem;
  if (!message.is_whole()) {
    problem = fmt::format("it is {} bytes long", message.size);
  } else if (auto decoded = decode_dramatiq(message.body)) {
    seen.message = std::move(*decoded);
    if (auto made = made_at_ms(*seen.message)) seen.at = from_ms(*made);
    seen.retries = integer_option(seen.message->options, "retries").value_or(0);
    if (auto eta = integer_option(seen.message->options, "eta")) seen.eta = from_ms(*eta);
  } else {
    problem = decoded.error().message();
  }
  for (const auto& [name, value] : message.headers)
    if (name == kReasonHeader) seen.why = value;
  if (!message.deaths.empty()) {
    const MessageDeath& death = message.deaths.front();
    if (death.at != TimePoint{}) seen.at = death.at;
    if (seen.why.empty()) seen.why = death_words(death, seen);
  }
  if (!problem.empty()) seen.why += (seen.why.empty() ? "" : "; ") + problem;
  return seen;
}

bool MessageFilter::matches(const SeenMessage& seen) const {
  if (!actor.empty() && (!seen.message || seen.message->actor_name != actor)) return false;
  if (!reason.empty() && lower(seen.why).find(lower(reason)) == std::string::npos) return false;
  return !at_latest || (seen.at != TimePoint{} && seen.at <= *at_latest);
}

DramatiqMessage sent_back(DramatiqMessage message, TimePoint now) {
  const int64_t retries = integer_option(message.options, "retries").value_or(0);
  const int64_t before = integer_option(message.options, kAttemptsOption).value_or(0);
  message = without_delay(std::move(message));
  message.queue_name = canonical_queue(message.queue_name);
  for (const char* name : {"eta", "retries", "traceback", "requeue_timestamp"})
    message.options.erase(name);
  message.options.set(kAttemptsOption, std::to_string(before + retries + 1));
  // What dies of its age would die of it again.
  if (message.options.find("max_age")) message.message_timestamp = std::to_string(to_ms(now));
  return message;
}

}  // namespace opscore
