#include "opscore/model/webhook.h"

#include <algorithm>

#include "opscore/model/decide.h"
#include "opscore/model/stored_json.h"

namespace opscore {
namespace {

State read_state(JsonReader& in) {
  const std::string word = in.string();
  const auto state = state_from(word);
  if (!state) in.fail(Errc::corrupt, fmt::format("'{}' is no state", word));
  return *state;
}

int tries_before(const OutboxRow& row) {
  int tries = 0;
  read_stored("webhook row", row.properties, [&](JsonReader& in, std::string_view name) {
    name == "tries" ? (void)(tries = read_int(in)) : (void)in.raw();
  });
  return tries;
}

OutboxTry try_of(const OutboxRow& row, const TaskEnd& end, const char* kind, TimePoint now,
                 std::string data) {
  OutboxTry tried;
  tried.row = row.id;
  tried.task = end.task;
  tried.event = {0, now, kind, end.attempt, std::move(data)};
  return tried;
}

}  // namespace

std::string receiver_of(const TaskOptions& options) {
  if (!options.webhook) return {};
  const std::string& url = options.webhook->url;
  const size_t host = url.find("://");
  return url.substr(0, url.find_first_of("/?#", host == std::string::npos ? 0 : host + 3));
}

std::optional<OutboxRow> webhook_row(const Plan& plan) {
  if (plan.receiver.empty() || !is_terminal(plan.next)) return std::nullopt;
  ObjectWriter body;
  body.number("task", plan.key.value);
  body.number("attempt", plan.attempt);
  body.text("state", to_string(plan.next));
  return OutboxRow{0, OutboxRow::Kind::effect, plan.receiver, body.take(), {}, plan.at};
}

TaskEnd decode_webhook_row(const OutboxRow& row) {
  TaskEnd end;
  read_stored("webhook row", row.body, [&](JsonReader& in, std::string_view name) {
    if (name == "task")
      end.task = TaskKey{in.integer()};
    else if (name == "attempt")
      end.attempt = read_int(in);
    else if (name == "state")
      end.state = read_state(in);
    else
      in.raw();
  });
  return end;
}

OutboxTry decide_delivery(const OutboxRow& row, const TaskEnd& end, const WebhookAnswer& answer,
                          const WebhookPolicy& policy, TimePoint now, Random& random) {
  using Kind = WebhookAnswer::Kind;
  const int tries = tries_before(row) + 1;
  const bool last = answer.kind == Kind::refused || tries >= policy.tries;
  ObjectWriter data;
  data.number("try", tries);
  data.text("answer", answer.words);
  if (answer.kind == Kind::delivered)
    return try_of(row, end, event_kind::kWebhookDelivered, now, data.take());
  if (last) return try_of(row, end, event_kind::kWebhookGivenUp, now, data.take());
  // A receiver may ask for patience, but not for more than the longest pause.
  const Duration wait =
      std::max(backoff(policy.backoff, tries, random),
               std::min(answer.retry_after.value_or(Duration(0)), policy.backoff.max));
  data.text("again_at", to_rfc3339(now + wait));
  OutboxTry tried = try_of(row, end, event_kind::kWebhookFailed, now, data.take());
  tried.again = wait;
  ObjectWriter properties;
  properties.number("tries", tries);
  tried.properties = properties.take();
  return tried;
}

OutboxTry decide_superseded(const OutboxRow& row, const TaskEnd& end, TimePoint now) {
  return try_of(row, end, event_kind::kWebhookSuperseded, now, {});
}

}  // namespace opscore
