#pragma once
// A task's webhook: called after its end, by the relay, until the receiver has answered 2xx or it
// is given up. That a call is due is a row of the outbox, written in the transaction that ends the
// task, so it survives what the task survives; every try is an event of the task. Pure.

#include <optional>
#include <string>

#include "opscore/base/random.h"
#include "opscore/model/plan.h"

namespace opscore {

namespace event_kind {
inline constexpr char kWebhookDelivered[] = "webhook_delivered";
inline constexpr char kWebhookFailed[] = "webhook_failed";  // and tried again
inline constexpr char kWebhookGivenUp[] = "webhook_given_up";
inline constexpr char kWebhookSuperseded[] = "webhook_superseded";  // the task runs again
}  // namespace event_kind

// Which end of which task a row is about.
struct TaskEnd {
  TaskKey task;
  int attempt = 0;
  State state = State::completed;
  bool operator==(const TaskEnd&) const = default;
};

// Who is called: the scheme and authority of the webhook's URL, empty without one. Rows carry it as
// their destination, so that a receiver that does not answer keeps nobody else waiting.
std::string receiver_of(const TaskOptions& options);

// What a store has to write with a plan: nothing when it does not end a task that has a webhook.
std::optional<OutboxRow> webhook_row(const Plan& plan);
// Throws Error{corrupt}.
TaskEnd decode_webhook_row(const OutboxRow& row);

struct WebhookPolicy {
  int tries = 24;
  // About 13 hours in all: 1 s, 2 s, 4 s, ... up to an hour.
  RetryPolicy backoff{std::chrono::seconds(1), std::chrono::hours(1), 2, 0.8, 1.2};
};

// What one call came to.
struct WebhookAnswer {
  enum class Kind : uint8_t {
    delivered,
    failed,   // another try may do better
    refused,  // it will not
  } kind = Kind::failed;
  std::string words;                    // "answered 500", "connection refused"
  std::optional<Duration> retry_after;  // the receiver's own wish
};

// What becomes of the row after that answer.
OutboxTry decide_delivery(const OutboxRow& row, const TaskEnd& end, const WebhookAnswer& answer,
                          const WebhookPolicy& policy, TimePoint now, Random& random);
// The task was run again before its receiver heard of that end: the next end will be told.
OutboxTry decide_superseded(const OutboxRow& row, const TaskEnd& end, TimePoint now);

}  // namespace opscore
