#include "opscore/api/views.h"

#include "opscore/api/json_object.h"

namespace opscore {
namespace {

void append_texts(std::string& out, const std::vector<std::string>& texts) {
  append_array(out, texts, append_quoted);
}

void append_error(std::string& out, const ErrorInfo& error) {
  JsonObject object(out);
  object.text("kind", error.kind);
  object.text("message", error.message);
  object.text_or_null("detail", error.detail);
  object.close();
}

void add_error(JsonObject& object, std::string& out, const ErrorInfo& error) {
  if (error.kind.empty()) return object.null("error");
  object.raw("error", {});
  append_error(out, error);
}

void append_number(std::string& out, double number) {
  out += Json(number).dump();
}

void append_backoff(std::string& out, const RetryPolicy& policy) {
  JsonObject object(out);
  object.word("min", to_text(policy.min));
  object.word("max", to_text(policy.max));
  object.raw("factor", {});
  append_number(out, policy.factor);
  object.raw("jitter", "[");
  append_number(out, policy.jitter_low);
  out += ',';
  append_number(out, policy.jitter_high);
  out += ']';
  object.close();
}

// Values of headers and the secret are nobody's business once they are stored.
void append_webhook(std::string& out, const Webhook& webhook) {
  JsonObject object(out);
  object.text("url", webhook.url);
  object.raw("headers", {});
  append_array(out, webhook.headers,
               [](std::string& to, const auto& header) { append_quoted(to, header.first); });
  object.boolean("own_secret", !webhook.secret.empty());
  object.close();
}

void add_options(JsonObject& object, std::string& out, const TaskOptions& options) {
  object.raw_or_null("metadata", options.metadata);
  object.raw("labels", {});
  JsonObject labels(out);
  for (const auto& [name, value] : options.labels) labels.text(name, value);
  labels.close();
  if (options.timeout) object.word("timeout", to_text(*options.timeout));
  if (options.deadline) object.time("deadline", *options.deadline);
  if (options.retry) {
    object.raw("backoff", {});
    append_backoff(out, *options.retry);
  }
  if (!options.idempotency_key.empty()) object.text("idempotency_key", options.idempotency_key);
  if (options.webhook) {
    object.raw("webhook", {});
    append_webhook(out, *options.webhook);
  }
}

bool is_set(TimePoint at) {
  return at != TimePoint{};
}

void append_running(std::string& out, const SessionReport& report,
                    const std::function<std::string(TaskKey)>& id_of) {
  append_array(out, report.running, [&](std::string& to, const SessionReport::Running& running) {
    JsonObject object(to);
    object.word("task_id", id_of(running.key));
    object.number("attempt", running.attempt);
    object.number("slot", running.slot);
    object.time("started_at", running.started_at);
    object.close();
  });
}

void append_sandbox(JsonObject& actor, std::string& out, const CatalogueEntry& entry) {
  if (entry.sandbox.empty()) return actor.null("sandbox");
  actor.raw("sandbox", {});
  JsonObject sandbox(out);
  sandbox.text("mode", entry.sandbox);
  sandbox.boolean("active", entry.sandbox != "off" && entry.unsandboxed.empty());
  sandbox.text_or_null("reason", entry.unsandboxed);
  sandbox.close();
}

}  // namespace

void append_task(std::string& out, const TaskView& view) {
  const Task& task = view.task;
  const bool done = is_terminal(task.state());
  JsonObject object(out);
  object.word("task_id", view.id);
  object.word("task_type", task.type);
  object.word("status", to_string(task.state()));
  object.text_or_null("name", task.options.name);
  object.word("queue", task.queue);
  object.number("priority", task.priority);
  object.raw("input_data", task.input);
  object.raw_or_null("result", task.result);
  if (view.with_output_data) object.raw_or_null("output_data", task.result);
  add_error(object, out, task.error);
  object.text_or_null("error_message", task.error.message);
  object.number("attempts", task.live.charged);
  object.number("attempt", task.live.attempt);
  object.number("max_attempts", task.max_attempts);
  object.time("created_at", task.created_at());
  object.time("updated_at", task.updated_at);
  if (!done && is_set(task.live.run_at))
    object.time("scheduled_at", task.live.run_at);
  else
    object.null("scheduled_at");
  object.time("started_at", task.started_at);
  object.time("completed_at", task.finished_at);
  add_options(object, out, task.options);
  object.raw_or_null("progress", task.progress);
  if (view.worker.empty())
    object.null("worker");
  else
    object.word("worker", view.worker);
  if (task.live.cancel_requested) object.boolean("cancel_requested", true);
  if (!view.reason.empty()) object.text("reason", view.reason);
  if (view.warnings && !view.warnings->empty()) {
    object.raw("warnings", {});
    append_texts(out, *view.warnings);
  }
  object.close();
}

void append_submitted(std::string& out, const Submitted& submitted) {
  JsonObject object(out);
  object.word("task_id", submitted.id);
  object.word("status", to_string(submitted.state));
  object.word("task_type", submitted.type);
  object.word("queue", submitted.queue);
  object.time("created_at", submitted.key.created_at());
  if (!submitted.warnings.empty()) {
    object.raw("warnings", {});
    append_texts(out, submitted.warnings);
  }
  object.close();
}

void append_event(std::string& out, const TaskEvent& event) {
  JsonObject object(out);
  object.number("number", event.number);
  object.time("at", event.at);
  object.text("kind", event.kind);
  if (event.attempt != 0)
    object.number("attempt", event.attempt);
  else
    object.null("attempt");
  object.raw_or_null("data", event.data);
  object.close();
}

void append_step(std::string& out, const Step& step) {
  JsonObject object(out);
  object.number("number", step.number);
  object.text("kind", step.kind);
  object.text("name", step.name);
  object.raw_or_null("request", step.request);
  object.raw_or_null("response", step.response);
  object.number("attempt", step.attempt);
  object.time("at", step.at);
  object.number("took_ms", step.took.count());
  object.close();
}

void append_attempt(std::string& out, const Attempt& attempt, const std::string& worker) {
  JsonObject object(out);
  object.number("attempt", attempt.number);
  object.word("outcome", attempt.end ? to_string(*attempt.end) : "running");
  object.boolean("charged", attempt.charged);
  object.text_or_null("worker", worker);
  if (is_set(attempt.claimed_at))
    object.time("claimed_at", attempt.claimed_at);
  else
    object.null("claimed_at");
  object.time("started_at", attempt.started_at);
  object.time("ended_at", attempt.ended_at);
  add_error(object, out, attempt.error);
  object.close();
}

namespace {

void add_limit(JsonObject& object, const char* name, int64_t limit) {
  limit == kUnlimited ? object.null(name) : object.number(name, limit);
}

const char* origin_of(const LimitValue& chosen, const LimitValue& configured) {
  return chosen ? "runtime" : configured ? "configuration" : "default";
}

void add_limits(JsonObject& object, std::string& out, const LayeredLimits& limits) {
  constexpr std::pair<const char*, LimitValue QueueLimits::*> kLimits[] = {
      {"max_pending", &QueueLimits::max_pending},
      {"concurrency", &QueueLimits::concurrency},
      {"max_input_bytes", &QueueLimits::max_input_bytes}};
  for (const auto& [name, limit] : kLimits) add_limit(object, name, limits.in_force(limit));
  object.raw("limit_origins", {});
  JsonObject origins(out);
  for (const auto& [name, limit] : kLimits)
    origins.word(name, origin_of(limits.chosen.*limit, limits.configured.*limit));
  origins.close();
}

}  // namespace

void append_queue(std::string& out, const QueueView& queue) {
  const QueueStats& stats = queue.stats;
  JsonObject object(out);
  object.text("name", stats.name);
  object.number("pending", stats.pending);
  object.number("scheduled", stats.scheduled);
  object.number("running", stats.running);
  object.number("waiting", stats.waiting);
  object.number("dead", stats.dead);
  object.number("completed", stats.completed);
  object.number("cancelled", stats.cancelled);
  if (queue.oldest_pending_age) {
    object.raw("oldest_pending_age_s", {});
    append_number(out, static_cast<double>(queue.oldest_pending_age->count()) / 1000);
  } else {
    object.null("oldest_pending_age_s");
  }
  object.boolean("paused", stats.paused);
  add_limits(object, out, stats.limits);
  object.number("sessions", queue.sessions);
  object.number("slots", queue.slots);
  object.close();
}

void append_broker(std::string& out, const SessionReport::Broker& broker) {
  JsonObject object(out);
  object.text("url", broker.where);
  object.text_or_null("problem", broker.problem);
  object.text_or_null("blocked", broker.blocked);
  object.raw("refused", {});
  JsonObject refused(out);
  for (const auto& [queue, why] : broker.refused) refused.text(queue, why);
  refused.close();
  object.close();
}

void append_worker(std::string& out, const Session& session, const std::string& name,
                   const std::function<std::string(TaskKey)>& id_of) {
  const SessionReport& report = session.report;
  JsonObject object(out);
  object.word("worker", name);
  object.text("name", session.name);
  object.text("state", session.ended_at ? "stopped" : report.state);
  object.raw("queues", {});
  append_texts(out, report.queues);
  object.raw("types", {});
  append_texts(out, report.types);
  object.number("slots", report.slots);
  object.number("busy", report.busy);
  object.number("unstarted", report.unstarted);
  object.number("abandoned", report.abandoned);
  object.raw("running", {});
  append_running(out, report, id_of);
  object.time("oldest_unstarted_at", report.oldest_unstarted_at);
  object.raw("loops", {});
  JsonObject loops(out);
  for (const auto& [loop, progress_at] : report.loops) loops.time(loop, progress_at);
  loops.close();
  if (report.canary.state.empty()) {
    object.null("canary");
  } else {
    object.raw("canary", {});
    JsonObject canary(out);
    canary.word("state", report.canary.state);
    canary.text("words", report.canary.words);
    canary.time("at", report.canary.at);
    canary.close();
  }
  if (report.broker) {
    object.raw("broker", {});
    append_broker(out, *report.broker);
  } else {
    object.null("broker");
  }
  if (report.dramatiq) {
    object.raw("dramatiq", {});
    append_broker(out, *report.dramatiq);
  } else {
    object.null("dramatiq");
  }
  object.raw("adopts", {});
  append_texts(out, report.adopts);
  object.text_or_null("adoption_problem", report.adoption_problem);
  object.time("started_at", session.started_at);
  object.time("renewed_at", session.renewed_at);
  object.time("ended_at", session.ended_at);
  object.text_or_null("last_words", session.last_words);
  object.raw_or_null("context", session.context);
  object.close();
}

void append_actor(std::string& out, const CatalogueEntry& entry) {
  JsonObject object(out);
  object.text("task_type", entry.type);
  object.text("kind", entry.kind);
  object.text("queue", entry.queue);
  object.text_or_null("version", entry.version);
  object.text_or_null("description", entry.description);
  object.raw_or_null("input_schema", entry.input_schema);
  if (entry.timeout)
    object.word("timeout", to_text(*entry.timeout));
  else
    object.null("timeout");
  if (entry.max_attempts)
    object.number("max_attempts", *entry.max_attempts);
  else
    object.null("max_attempts");
  if (entry.retry) {
    object.raw("backoff", {});
    append_backoff(out, *entry.retry);
  }
  add_limit(object, "concurrency", entry.concurrency_in_force());
  object.word("concurrency_origin", origin_of(entry.chosen_concurrency, entry.concurrency));
  object.raw("aliases", {});
  append_texts(out, entry.aliases);
  if (!entry.dramatiq.empty()) object.raw("options", entry.dramatiq);
  append_sandbox(object, out, entry);
  if (is_set(entry.seen_at))
    object.time("seen_at", entry.seen_at);
  else
    object.null("seen_at");
  object.close();
}

}  // namespace opscore
