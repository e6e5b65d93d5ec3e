#include "opscore/engine/submission.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/base/hash.h"
#include "opscore/base/json.h"
#include "opscore/broker/dramatiq/task_message.h"
#include "opscore/model/names.h"

namespace opscore {
namespace {

constexpr size_t kLabelsMax = 32;
constexpr size_t kTextMax = 256;  // name, label values, idempotency keys
constexpr size_t kUrlMax = 2048;  // and header values
constexpr size_t kHeadersMax = 32;
constexpr size_t kMetadataMax = 64 << 10;

[[noreturn]] void refuse(const std::string& field, const std::string& message) {
  throw Error(Errc::invalid, field + ": " + message).at(field);
}

void check_name(const std::string& field, const std::optional<std::string>& problem,
                std::string_view value) {
  if (!problem) return;
  std::string shown(value.substr(0, 140));
  std::ranges::replace(shown, '\0', ' ');  // the words of an error end at it
  refuse(field, fmt::format("'{}' {}", shown, *problem));
}

void check_text(const std::string& field, const std::string& text) {
  if (text.size() > kTextMax)
    refuse(field, fmt::format("is {} bytes long; at most {}", text.size(), kTextMax));
}

void check_times(const SubmitRequest& request, TimePoint now) {
  if (request.run_at && request.delay)
    refuse("delay", "is given together with run_at; give one of them");
  if (request.delay && *request.delay < Duration(0)) refuse("delay", "is negative");
  if (request.timeout &&
      (*request.timeout <= Duration(0) || *request.timeout > limits::kTimeoutMax))
    refuse("timeout", fmt::format("is {}; it must be more than 0 and at most {}",
                                  to_text(*request.timeout), to_text(limits::kTimeoutMax)));
  if (request.deadline_in && request.deadline)
    refuse("deadline", "is given twice, as a time and as a duration");
  if (request.deadline && *request.deadline <= now)
    refuse("deadline", fmt::format("{} has passed already (it is {})",
                                   to_rfc3339(*request.deadline), to_rfc3339(now)));
  if (request.deadline_in && *request.deadline_in <= Duration(0))
    refuse("deadline", "must be later than now");
}

void check_retry(const SubmitRequest& request) {
  if (request.max_attempts &&
      (*request.max_attempts < 0 || *request.max_attempts > limits::kAttemptsMax))
    refuse("max_attempts", fmt::format("is {}; it must be 1..{}, or 0 for no limit",
                                       *request.max_attempts, limits::kAttemptsMax));
  if (!request.retry) return;
  const RetryPolicy& policy = *request.retry;
  if (policy.min < Duration(0) || policy.max < policy.min)
    refuse("backoff", "needs 0 <= min <= max");
  if (!(policy.factor >= 1 && policy.factor <= limits::kBackoffFactorMax))
    refuse("backoff.factor", fmt::format("must be between 1 and {}", limits::kBackoffFactorMax));
  if (!(policy.jitter_low >= 0 && policy.jitter_high >= policy.jitter_low &&
        policy.jitter_high <= limits::kBackoffJitterMax))
    refuse("backoff.jitter",
           fmt::format("needs 0 <= low <= high <= {}", limits::kBackoffJitterMax));
}

void check_labels(const SubmitRequest& request) {
  if (request.labels.size() > kLabelsMax)
    refuse("labels", fmt::format("has {} entries; at most {}", request.labels.size(), kLabelsMax));
  for (const auto& [name, value] : request.labels) {
    check_name("labels", name_problem(name), name);
    check_text("labels." + name, value);
  }
}

void check_webhook(const SubmitRequest& request, const ServiceOptions& options) {
  if (!request.webhook) return;
  const Webhook& webhook = *request.webhook;
  if (webhook.url.size() > kUrlMax)
    refuse("webhook.url", fmt::format("is {} bytes long; at most {}", webhook.url.size(), kUrlMax));
  if (auto problem = options.url_problem(webhook.url)) refuse("webhook.url", *problem);
  if (webhook.headers.size() > kHeadersMax)
    refuse("webhook.headers",
           fmt::format("has {} entries; at most {}", webhook.headers.size(), kHeadersMax));
  for (const auto& [name, value] : webhook.headers) {
    const std::string field = "webhook.headers." + name.substr(0, kTextMax);
    if (auto problem = header_problem(name, value)) refuse(field, *problem);
    if (name.size() > kTextMax || value.size() > kUrlMax)
      refuse(field, fmt::format("is too long; a name has at most {} bytes and a value {}", kTextMax,
                                kUrlMax));
  }
  check_text("webhook.secret", webhook.secret);
}

// Length-prefixed, so that no two different requests give the same bytes.
void add(std::string& bytes, std::string_view part) {
  bytes += fmt::format("{}:", part.size());
  bytes += part;
}

// Python owns its attempts: what nobody says here is for the actor's declaration there to say.
void hand_over(InsertItem& item, const SubmitRequest& request, const CatalogueEntry& entry,
               TimePoint now) {
  auto arguments = arguments_of(item.spec.input);
  if (!arguments) refuse("input_data", arguments.error().message());
  const std::optional<int> asked = request.max_attempts ? request.max_attempts : entry.max_attempts;
  item.spec.max_attempts = asked.value_or(kUnlimitedAttempts);
  item.spec.options.dramatiq = message_options(entry.dramatiq, item.spec, asked, now);
}

std::string hash_of(const SubmitRequest& request, const InsertItem& item) {
  TaskOptions options = item.spec.options;
  options.deadline = request.deadline;  // a relative one moves with the clock
  std::string bytes;
  add(bytes, item.spec.type);
  add(bytes, item.spec.queue);
  add(bytes, item.spec.input);
  add(bytes, encode_options(options));
  add(bytes, fmt::format("{} {} {} {} {}", item.spec.priority, item.spec.max_attempts,
                         request.delay ? request.delay->count() : -1,
                         request.run_at ? to_ms(*request.run_at) : -1,
                         request.deadline_in ? request.deadline_in->count() : -1));
  return sha256(bytes).substr(0, 16);
}

}  // namespace

void check_request(const SubmitRequest& request, const ServiceOptions& options, TimePoint now) {
  check_name("task_type", name_problem(request.type), request.type);
  if (request.queue) check_name("queue", queue_name_problem(*request.queue), *request.queue);
  if (request.input.size() > options.input_bytes_max)
    throw Error(Errc::too_large,
                fmt::format("input_data: is {} bytes; at most {}. Store large data elsewhere and "
                            "submit a reference",
                            request.input.size(), options.input_bytes_max))
        .at("input_data");
  if (request.priority < -limits::kPriorityMax || request.priority > limits::kPriorityMax)
    refuse("priority", fmt::format("is {}; it must be -{}..{}", request.priority,
                                   limits::kPriorityMax, limits::kPriorityMax));
  check_times(request, now);
  check_retry(request);
  check_labels(request);
  check_webhook(request, options);
  check_text("name", request.name);
  check_text("idempotency_key", request.idempotency_key);
  // Keys are looked up as texts, and not every store's texts have room for it.
  if (request.idempotency_key.find('\0') != std::string::npos)
    refuse("idempotency_key", "has a NUL character in it");
  if (!request.task_id.empty())
    check_name("task_id", task_id_problem(request.task_id), request.task_id);
  if (request.metadata.size() > kMetadataMax)
    refuse("metadata",
           fmt::format("is {} bytes; at most {}", request.metadata.size(), kMetadataMax));
}

InsertItem to_item(SubmitRequest request, const CatalogueEntry* entry, TimePoint now) {
  InsertItem item;
  TaskSpec& spec = item.spec;
  spec.type = request.type;
  spec.queue = request.queue.value_or(entry ? entry->queue : "default");
  spec.input = std::move(request.input);
  spec.priority = request.priority;
  spec.max_attempts = request.max_attempts.value_or(
      entry && entry->max_attempts ? *entry->max_attempts : limits::kMaxAttempts);
  spec.run_at = request.run_at;
  if (request.delay) spec.run_at = now + *request.delay;
  TaskOptions& options = spec.options;
  options.id = request.task_id;
  options.name = std::move(request.name);
  options.labels = std::move(request.labels);
  std::sort(options.labels.begin(), options.labels.end());
  options.metadata = std::move(request.metadata);
  options.retry = request.retry;
  if (!options.retry && entry) options.retry = entry->retry;
  options.timeout = request.timeout;
  if (!options.timeout && entry) options.timeout = entry->timeout;
  options.deadline = request.deadline;
  if (request.deadline_in) options.deadline = now + *request.deadline_in;
  options.idempotency_key = request.idempotency_key;
  options.webhook = std::move(request.webhook);
  if (!request.task_id.empty())
    item.keys.push_back({UniqueKey::Kind::task_id, "", request.task_id});
  if (!request.idempotency_key.empty())
    item.keys.push_back({UniqueKey::Kind::idempotency, request.type, request.idempotency_key});
  if (!item.keys.empty()) item.request_hash = hash_of(request, item);
  if (entry && !entry->dramatiq.empty()) hand_over(item, request, *entry, now);
  return item;
}

}  // namespace opscore
