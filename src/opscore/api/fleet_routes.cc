// Queues, workers, actors, and the state of the server itself.

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "opscore/api/json_object.h"
#include "opscore/api/query.h"
#include "opscore/api/routes.h"
#include "opscore/api/views.h"
#include "opscore/base/json_reader.h"
#include "opscore/base/mutex.h"

namespace opscore {
namespace {

// A number, null for no limit, or "default" for what the configuration says.
LimitValue read_limit(JsonReader& in) {
  if (in.null_or_skip_null()) return kUnlimited;
  if (in.peek() == JsonReader::Type::number) {
    int64_t value = in.integer();
    if (value < 0) in.fail(Errc::invalid, "must not be negative");
    return value;
  }
  if (in.peek() != JsonReader::Type::string || in.string() != "default")
    in.fail(Errc::invalid, "expected a number, null for no limit, or \"default\"");
  return std::nullopt;
}

// An object of limits, each put where `place(name)` says; null for a name that is not one.
void read_limits(std::string_view body, const char* names,
                 const std::function<std::optional<LimitValue>*(std::string_view)>& place) {
  JsonReader in(body);
  in.object([&](std::string_view name) {
    std::optional<LimitValue>* value = place(name);
    if (!value) in.fail(Errc::invalid, fmt::format("unknown field; known: {}", names));
    *value = read_limit(in);
  });
  in.end();
}

QueueLimitsChange read_queue_limits(std::string_view body, QueueLimitsChange change = {}) {
  read_limits(body, "max_pending, concurrency, max_input_bytes", [&](std::string_view name) {
    return name == "max_pending"       ? &change.max_pending
           : name == "concurrency"     ? &change.concurrency
           : name == "max_input_bytes" ? &change.max_input_bytes
                                       : nullptr;
  });
  return change;
}

// A purge is of all that has not run: who sends conditions means something else.
void refuse_conditions(std::string_view body) {
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos) return;
  JsonReader in(body);
  in.object([&](std::string_view) {
    in.fail(Errc::invalid,
            "unknown field; a purge takes no conditions, POST /jobs with the "
            "action delete does");
  });
  in.end();
}

}  // namespace

Reply Routes::list_queues(const Call& call) {
  Query query(call.request.query, {});
  const auto warnings = service_.warnings();
  return list_response("queues", service_.queues(), append_queue, &warnings);
}

// After a change, which may have taken away all that there was of a queue without tasks.
Response Routes::queue_response(const std::string& name) {
  Response response;
  append_queue(response.body, service_.queue_or_empty(name));
  return response;
}

Reply Routes::get_queue(const Call& call) {
  Query query(call.request.query, {});
  Response response;
  append_queue(response.body, service_.queue(call.args[0]));
  return response;
}

Reply Routes::change_queue(const Call& call) {
  Query query(call.request.query, {});
  service_.set_limits(call.args[0], read_queue_limits(call.request.body));
  return queue_response(call.args[0]);
}

// What the body does not name goes back to the configuration.
Reply Routes::replace_queue(const Call& call) {
  Query query(call.request.query, {});
  QueueLimitsChange nothing_chosen{LimitValue(), LimitValue(), LimitValue()};
  service_.set_limits(call.args[0], read_queue_limits(call.request.body, nothing_chosen));
  return queue_response(call.args[0]);
}

Reply Routes::pause_queue(const Call& call) {
  Query query(call.request.query, {});
  service_.set_paused(call.args[0], true);
  return queue_response(call.args[0]);
}

Reply Routes::resume_queue(const Call& call) {
  Query query(call.request.query, {});
  service_.queue(call.args[0]);  // refuses one that does not exist
  service_.set_paused(call.args[0], false);
  return queue_response(call.args[0]);
}

Reply Routes::purge_queue(const Call& call) {
  Query query(call.request.query, {});
  refuse_conditions(call.request.body);
  Job job = service_.purge(call.args[0]);
  Response response;
  JsonObject object(response.body);
  object.number("purged", job.counts.done);
  object.word("job_id", BulkJobs::id_of(job.id));
  object.word("state", to_string(job.state));
  object.close();
  return response;
}

Reply Routes::list_workers(const Call& call) {
  Query query(call.request.query, {"ended_within"});
  Duration ended_within(0);
  if (auto text = query.one("ended_within")) {
    auto duration = parse_duration(*text);
    if (!duration)
      throw Error(Errc::invalid, "ended_within: " + duration.error().message()).at("ended_within");
    ended_within = *duration;
  }
  auto workers = service_.workers(ended_within);
  const auto warnings = service_.warnings();
  auto write = [&](std::string& out, const Session& session) {
    append_worker(out, session, service_.worker_name(session.id),
                  [this](TaskKey key) { return id_of(key); });
  };
  return list_response("workers", workers, write, &warnings);
}

Reply Routes::explain_queue(const Call& call) {
  Query query(call.request.query, {});
  return explained(opscore::explain_queue(service_.store(), service_.clock(), call.args[0],
                                          {.look_at_queues = options_.look_at_queues}));
}

Reply Routes::explain_worker(const Call& call) {
  Query query(call.request.query, {});
  return explained(opscore::explain_worker(service_.store(), service_.clock(), call.args[0]));
}

Reply Routes::drain_worker(const Call& call) {
  return end_worker(call, "drain");
}

Reply Routes::stop_worker(const Call& call) {
  return end_worker(call, "stop");
}

Reply Routes::end_worker(const Call& call, const char* command) {
  Query query(call.request.query, {});
  const Session session = service_.end_worker(call.args[0], command);
  Response response;
  response.status = 202;
  JsonObject object(response.body);
  object.word("worker", service_.worker_name(session.id));
  object.text("name", session.name);
  object.word("asked", command);
  object.close();
  return response;
}

std::string Routes::id_of(TaskKey key) {
  auto task = service_.store().reader().find(key);
  return task ? service_.id_of(*task) : service_.store().ids().encode(key);
}

// With all that is known of where it runs, which is too much for a list.
Reply Routes::get_worker(const Call& call) {
  Query query(call.request.query, {});
  Session session = service_.worker(call.args[0]);
  if (std::string context = service_.worker_context(session.id); !context.empty())
    session.context = std::move(context);
  Response response;
  append_worker(response.body, session, service_.worker_name(session.id),
                [this](TaskKey key) { return id_of(key); });
  return response;
}

Reply Routes::list_actors(const Call& call) {
  Query query(call.request.query, {});
  return list_response("actors", service_.actors(), append_actor);
}

Response Routes::actor_response(const std::string& type) {
  Response response;
  append_actor(response.body, service_.actor(type));
  return response;
}

Reply Routes::get_actor(const Call& call) {
  Query query(call.request.query, {});
  return actor_response(call.args[0]);
}

Reply Routes::change_actor(const Call& call) {
  Query query(call.request.query, {});
  std::optional<LimitValue> concurrency;
  read_limits(call.request.body, "concurrency", [&](std::string_view name) {
    return name == "concurrency" ? &concurrency : nullptr;
  });
  if (concurrency) service_.set_concurrency(call.args[0], *concurrency);
  return actor_response(call.args[0]);
}

Reply Routes::reload_config(const Call& call) {
  Query query(call.request.query, {});
  if (!options_.reload)
    throw Error(Errc::unavailable, "this server has no configuration to read again", false);
  ReloadReport report = options_.reload();
  Response response;
  JsonObject object(response.body);
  object.raw("changed", {});
  append_array(response.body, report.changed, append_quoted);
  object.raw("needs_restart", {});
  append_array(response.body, report.needs_restart, append_quoted);
  object.raw("notes", {});
  append_array(response.body, report.notes, append_quoted);
  object.close();
  return response;
}

Reply Routes::health(const Call&) {
  Response response;
  JsonObject object(response.body);
  object.word("status", "ok");
  object.text("version", options_.version);
  object.close();
  return response;
}

Reply Routes::ready(const Call&) {
  Readiness readiness = service_.readiness();
  Response response;
  response.status = readiness.ready ? 200 : 503;
  if (!readiness.ready) response.headers.emplace_back("Retry-After", "1");
  JsonObject object(response.body);
  object.boolean("ready", readiness.ready);
  object.raw("reasons", {});
  append_array(response.body, readiness.reasons, append_quoted);
  object.close();
  return response;
}

// Queues beyond the bound on label values are one together: counts add up, the oldest task counts.
void Routes::set_queue_gauges() {
  constexpr char kTasks[] = "opscore_queue_tasks";
  constexpr char kOldest[] = "opscore_queue_oldest_pending_seconds";
  constexpr char kPaused[] = "opscore_queue_paused";
  constexpr char kSlots[] = "opscore_queue_slots";
  std::map<std::string, QueueView> shown;
  for (const QueueView& queue : service_.queues()) {
    QueueView& sum = shown[metrics_.bounded({{"queue", queue.stats.name}}).at("queue")];
    sum.stats.pending += queue.stats.pending;
    sum.stats.scheduled += queue.stats.scheduled;
    sum.stats.running += queue.stats.running;
    sum.stats.waiting += queue.stats.waiting;
    sum.stats.dead += queue.stats.dead;
    sum.stats.paused |= queue.stats.paused;
    sum.oldest_pending_age = std::max(sum.oldest_pending_age, queue.oldest_pending_age);
    sum.slots = std::max(sum.slots, queue.slots);
  }
  for (const char* name : {kTasks, kOldest, kPaused, kSlots}) metrics_.clear_gauge(name);
  for (const auto& [name, queue] : shown) {
    const QueueStats& stats = queue.stats;
    const std::pair<const char*, int64_t> counts[] = {{"pending", stats.pending},
                                                      {"scheduled", stats.scheduled},
                                                      {"running", stats.running},
                                                      {"waiting", stats.waiting},
                                                      {"failed", stats.dead}};
    for (const auto& [state, count] : counts)
      metrics_.set_gauge(kTasks, "Tasks by queue and state.", static_cast<double>(count),
                         {{"queue", name}, {"state", state}});
    auto age = queue.oldest_pending_age.value_or(Duration(0));
    metrics_.set_gauge(kOldest, "How long the oldest due task has been due.",
                       static_cast<double>(age.count()) / 1000, {{"queue", name}});
    metrics_.set_gauge(kPaused, "1 while the queue is paused.", stats.paused ? 1 : 0,
                       {{"queue", name}});
    metrics_.set_gauge(kSlots, "Slots of the live workers that consume the queue.", queue.slots,
                       {{"queue", name}});
  }
}

void Routes::set_worker_gauges() {
  constexpr char kWorkers[] = "opscore_workers";
  std::map<std::string, int> by_state;
  int slots = 0, busy = 0, abandoned = 0;
  for (const Session& session : service_.workers()) {
    ++by_state[session.report.state];
    slots += session.report.slots;
    busy += session.report.busy;
    abandoned += session.report.abandoned;
  }
  metrics_.clear_gauge(kWorkers);
  for (const auto& [state, count] : by_state)
    metrics_.set_gauge(kWorkers, "Worker sessions by state.", count, {{"state", state}});
  metrics_.set_gauge("opscore_maintenance_led", "0 while no process does maintenance.",
                     service_.warnings().empty() ? 1 : 0);
  metrics_.set_gauge("opscore_worker_slots", "Slots of all workers.", slots);
  metrics_.set_gauge("opscore_worker_slots_busy", "Slots that run a task.", busy);
  metrics_.set_gauge("opscore_worker_slots_abandoned", "Slots whose actor did not stop.",
                     abandoned);
}

Reply Routes::metrics(const Call&) {
  MutexLock lock(gauges_mutex_);
  bool reachable = true;
  try {
    set_queue_gauges();
    set_worker_gauges();
  } catch (const Error& error) {
    reachable = false;  // what this process knows by itself is still worth reading
    log_.warn("metrics: {}", error.what());
  }
  metrics_.set_gauge("opscore_store_up", "1 when the store answers.", reachable ? 1 : 0);
  Response response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = metrics_.expose();
  return response;
}

Reply Routes::openapi(const Call&) {
  Response response;
  response.body = options_.openapi;
  return response;
}

}  // namespace opscore
