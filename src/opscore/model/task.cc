#include "opscore/model/task.h"

#include <array>

#include "opscore/model/stored_json.h"

namespace opscore {
namespace {

constexpr std::array<std::string_view, 9> kAttemptEnds{"completed", "error",     "fatal",
                                                       "timeout",   "cancelled", "lost",
                                                       "crashed",   "snoozed",   "handed_back"};

using Texts = std::vector<std::pair<std::string, std::string>>;

std::string encode_texts(const Texts& texts) {
  ObjectWriter out;
  for (const auto& [name, value] : texts) out.json(name, quote_json(value));
  return out.take();
}

Texts read_texts(JsonReader& in) {
  Texts texts;
  in.object([&](std::string_view name) { texts.emplace_back(name, in.string()); });
  return texts;
}

std::string encode_webhook(const Webhook& webhook) {
  ObjectWriter out;
  out.text("url", webhook.url);
  out.json("headers", encode_texts(webhook.headers));
  out.text("secret", webhook.secret);
  return out.take();
}

Webhook read_webhook(JsonReader& in) {
  Webhook webhook;
  in.object([&](std::string_view name) {
    if (name == "url")
      webhook.url = in.string();
    else if (name == "headers")
      webhook.headers = read_texts(in);
    else if (name == "secret")
      webhook.secret = in.string();
    else
      in.fail(Errc::corrupt, "unknown member, perhaps written by a newer version");
  });
  return webhook;
}

std::string encode_adopted(const Adopted& adopted) {
  ObjectWriter out;
  out.text("queue", adopted.queue);
  if (adopted.on_success) out.json("on_success", "true");
  if (adopted.on_failure) out.json("on_failure", "true");
  out.text("wanted_id", adopted.wanted_id);
  if (adopted.result) out.json("result", "true");
  if (adopted.group) out.json("group", "true");
  if (adopted.over_http) out.json("over_http", "true");
  return out.take();
}

Adopted read_adopted(JsonReader& in) {
  Adopted adopted;
  in.object([&](std::string_view name) {
    if (name == "queue")
      adopted.queue = in.string();
    else if (name == "on_success")
      adopted.on_success = in.boolean();
    else if (name == "on_failure")
      adopted.on_failure = in.boolean();
    else if (name == "wanted_id")
      adopted.wanted_id = in.string();
    else if (name == "result")
      adopted.result = in.boolean();
    else if (name == "group")
      adopted.group = in.boolean();
    else if (name == "over_http")
      adopted.over_http = in.boolean();
    else
      in.raw();
  });
  return adopted;
}

}  // namespace

std::string_view to_string(AttemptEnd end) {
  return kAttemptEnds[static_cast<size_t>(end)];
}

std::optional<AttemptEnd> attempt_end_from(std::string_view word) {
  for (size_t i = 0; i < kAttemptEnds.size(); ++i)
    if (kAttemptEnds[i] == word) return static_cast<AttemptEnd>(i);
  return std::nullopt;
}

std::string encode_options(const TaskOptions& options) {
  if (options.empty()) return {};
  ObjectWriter out;
  out.text("id", options.id);
  out.text("name", options.name);
  out.json("labels", encode_texts(options.labels));
  out.json("metadata", options.metadata);
  if (options.retry) out.json("retry", encode_retry(*options.retry));
  out.duration("timeout_ms", options.timeout);
  out.time("deadline_ms", options.deadline);
  out.text("idempotency_key", options.idempotency_key);
  if (options.webhook) out.json("webhook", encode_webhook(*options.webhook));
  if (options.adopted) out.json("adopted", encode_adopted(*options.adopted));
  if (options.unchecked) out.json("unchecked", "true");
  out.json("dramatiq", options.dramatiq);
  return out.take();
}

TaskOptions decode_options(std::string_view text) {
  TaskOptions options;
  read_stored("task options", text, [&](JsonReader& in, std::string_view name) {
    if (name == "id")
      options.id = in.string();
    else if (name == "name")
      options.name = in.string();
    else if (name == "labels")
      options.labels = read_texts(in);
    else if (name == "metadata")
      options.metadata = in.raw();
    else if (name == "retry")
      options.retry = read_retry(in);
    else if (name == "timeout_ms")
      options.timeout = read_duration(in);
    else if (name == "deadline_ms")
      options.deadline = read_time(in);
    else if (name == "idempotency_key")
      options.idempotency_key = in.string();
    else if (name == "webhook")
      options.webhook = read_webhook(in);
    else if (name == "adopted")
      options.adopted = read_adopted(in);
    else if (name == "unchecked")
      options.unchecked = in.boolean();
    else if (name == "dramatiq")
      options.dramatiq = in.raw();
    else  // to ignore an option would be to run the task otherwise than was asked
      in.fail(Errc::corrupt, "unknown option, perhaps written by a newer version");
  });
  return options;
}

TaskOptions usable_options(std::string_view text, std::string& problem) {
  try {
    return decode_options(text);
  } catch (const Error& error) {
    problem = error.message();
    return {};
  }
}

std::string encode_error(const ErrorInfo& error) {
  ObjectWriter out;
  out.text("kind", error.kind);
  out.text("message", error.message);
  out.text("detail", error.detail);
  return out.take();
}

ErrorInfo decode_error(std::string_view text) {
  ErrorInfo error;
  read_stored("task error", text, [&](JsonReader& in, std::string_view name) {
    if (name == "kind")
      error.kind = in.string();
    else if (name == "message")
      error.message = in.string();
    else if (name == "detail")
      error.detail = in.string();
    else
      in.raw();
  });
  return error;
}

}  // namespace opscore
