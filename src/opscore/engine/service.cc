#include "opscore/engine/service.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "opscore/base/json.h"
#include "opscore/base/mutex.h"
#include "opscore/engine/adoption.h"
#include "opscore/engine/facts.h"
#include "opscore/engine/history.h"
#include "opscore/engine/submission.h"
#include "opscore/model/decide.h"
#include "opscore/model/names.h"

namespace opscore {
namespace {

// A change that loses its race is decided again from what is there now.
constexpr int kTries = 8;
constexpr int64_t kFirstCursorMs = 1'000'000'000'000;  // of the year 2001
constexpr size_t kNameShown = 128;
constexpr Duration kPurgeWait = std::chrono::seconds(1);
constexpr Duration kWorkersKnown = std::chrono::hours(24);  // after their end

Error conflict_error(Store& store, const InsertItem& item, const InsertResult& result) {
  // What is not there was to be inserted together with the item, and was not either.
  std::string holder = "another task of this request";
  if (auto task = store.reader().find(result.key)) holder = "task " + store.id_of(*task);
  bool own_id = result.conflicting.kind == UniqueKey::Kind::task_id;
  return Error(Errc::conflict,
               fmt::format("submit '{}': {} '{}' belongs to {}, which was submitted with "
                           "another input or other options; use another {}",
                           item.spec.type, own_id ? "task_id" : "idempotency_key",
                           result.conflicting.key, holder, own_id ? "id" : "key"))
      .at(own_id ? "task_id" : "idempotency_key");
}

Error too_large_error(const std::string& queue, int64_t limit) {
  return Error(Errc::too_large,
               fmt::format("input_data: queue '{}' takes inputs of at most {} bytes "
                           "(max_input_bytes)",
                           queue, limit))
      .at("input_data");
}

// Why an item was not inserted.
Error refusal(Store& store, const InsertItem& item, const InsertResult& result) {
  if (result.error) return *result.error;
  if (result.kind == InsertResult::Kind::conflict) return conflict_error(store, item, result);
  if (result.kind == InsertResult::Kind::input_too_large)
    return too_large_error(item.spec.queue, result.limit);
  return Error(Errc::queue_full,
               fmt::format("queue '{}' is full: at most {} of its tasks may wait to be started "
                           "(max_pending); submit again later",
                           item.spec.queue, result.limit))
      .at("queue");
}

std::string known_names_hint(const Catalogue::Snapshot& catalogue, std::string_view name) {
  auto nearest = nearest_names(name, catalogue.names());
  if (nearest.empty()) return "run 'opscore actors' to see what there is";
  return fmt::format("did you mean {}?", fmt::join(nearest, ", "));
}

void check_limit(const std::optional<LimitValue>& change, int64_t min, int64_t max,
                 const char* field) {
  if (!change || !*change || **change == kUnlimited) return;
  if (**change < min || **change > max)
    throw Error(Errc::invalid,
                fmt::format("{}: {} is not from {} to {}", field, **change, min, max))
        .at(field);
}

Error in_item(const Error& error, size_t index, bool many) {
  if (!many) return error;
  Error placed(error.code(), fmt::format("tasks[{}]: {}", index, error.what()), error.retryable());
  return placed.at(error.field().empty() ? fmt::format("tasks[{}]", index)
                                         : fmt::format("tasks[{}].{}", index, error.field()));
}

QueueView view_of(QueueStats stats, const std::vector<Session>& sessions, TimePoint now) {
  QueueView view;
  if (stats.oldest_pending_at)
    view.oldest_pending_age = std::max(now - *stats.oldest_pending_at, Duration(0));
  for (const Session& session : sessions) {
    if (!is_live(session, now) || !serves(session, stats.name)) continue;
    ++view.sessions;
    view.slots += session.report.slots;
  }
  view.stats = std::move(stats);
  return view;
}

// None of them keeps tasks from being run.
void add_broker_problems(const Session& session, std::vector<std::string>& reasons) {
  if (!session.report.adoption_problem.empty() && !session.ended_at)
    reasons.push_back(fmt::format("{} takes no messages of Dramatiq: {}",
                                  Service::worker_name(session.id),
                                  session.report.adoption_problem));
  if (!session.report.broker || session.ended_at) return;
  const SessionReport::Broker& broker = *session.report.broker;
  const std::string worker = Service::worker_name(session.id);
  if (!broker.problem.empty())
    reasons.push_back(
        fmt::format("{} looks for work without RabbitMQ: {}", worker, broker.problem));
  if (!broker.blocked.empty())
    reasons.push_back(
        fmt::format("RabbitMQ at {} takes no messages: {}", broker.where, broker.blocked));
  for (const auto& [queue, why] : broker.refused)
    reasons.push_back(
        fmt::format("{} looks for work without RabbitMQ, which refuses {}", worker, why));
}

}  // namespace

struct Service::Counters {
  explicit Counters(Metrics& of)
      : metrics(of),
        replayed(metrics.counter("opscore_tasks_replayed_total",
                                 "Submits answered with an earlier task.")),
        refused(metrics.counter("opscore_tasks_refused_total", "Tasks refused at submit.")) {}

  Counter& submitted(const std::string& type, const std::string& queue) {
    MutexLock lock(mutex);
    Counter*& counter = by_task[{type, queue}];
    if (!counter)
      counter = &metrics.counter("opscore_tasks_submitted_total", "Tasks accepted.",
                                 {{"type", type}, {"queue", queue}});
    return *counter;
  }

  Metrics& metrics;
  Mutex mutex;
  std::map<std::pair<std::string, std::string>, Counter*> by_task OPSCORE_GUARDED_BY(mutex);
  Counter& replayed;
  Counter& refused;
};

Service::Service(Store& store, const Clock& clock, Log& log, Metrics& metrics,
                 ServiceOptions options)
    : store_(store),
      clock_(clock),
      log_(log),
      metrics_(metrics),
      options_(std::move(options)),
      catalogue_(store, clock, options_.declared),
      bulk_(store, clock, log, options_.bulk),
      mirror_(store, clock, metrics),
      counters_(std::make_unique<Counters>(metrics)) {}

Service::~Service() = default;

InsertItem Service::prepare(SubmitRequest request, std::vector<std::string>& warnings) {
  TimePoint now = clock_.now();
  check_request(request, options_, now);
  auto catalogue = catalogue_.view();
  const Catalogue::Known* known = catalogue->find(request.type);
  if (!known) {
    catalogue = catalogue_.fresh_view();
    known = catalogue->find(request.type);
  }
  if (!known) {
    throw Error(Errc::invalid, fmt::format("task_type: no actor '{}' is known; {}", request.type,
                                           known_names_hint(*catalogue, request.type)))
        .at("task_type");
  }
  if (!known->schema_problem.empty())
    throw Error(Errc::invalid,
                fmt::format("task_type: inputs of '{}' cannot be checked, its input_schema is {}; "
                            "correct it where the actor is declared",
                            request.type, known->schema_problem))
        .at("task_type");
  if (known->schema) {
    if (auto problem = known->schema->check(request.input)) {
      std::string field = "input_data" + (problem->path.empty() ? "" : "." + problem->path);
      throw Error(Errc::invalid, field + ": " + problem->message).at(field);
    }
  }
  InsertItem item = to_item(std::move(request), &known->entry, now);
  if (item.spec.options.is_external()) return item;  // whether somebody runs it, Python knows
  // A worker that has just come up need not be in an older view.
  if (!catalogue->is_served(item.spec.type, item.spec.queue) &&
      !catalogue_.fresh_view()->is_served(item.spec.type, item.spec.queue))
    warnings.push_back(
        fmt::format("no live worker runs '{}' from queue '{}'; the task waits for one",
                    item.spec.type, item.spec.queue));
  return item;
}

Submitted Service::submit(SubmitRequest request) {
  std::vector<SubmitRequest> one;
  one.push_back(std::move(request));
  return std::move(submit_many(std::move(one), InsertMode::all_or_nothing)[0]);
}

std::vector<Submitted> Service::submit_many(std::vector<SubmitRequest> requests, InsertMode mode) {
  if (requests.size() > options_.batch_tasks_max)
    throw Error(Errc::too_large, fmt::format("submit: {} tasks in one request; at most {}",
                                             requests.size(), options_.batch_tasks_max));
  const bool many = requests.size() > 1;
  std::vector<Submitted> answers(requests.size());
  std::vector<InsertItem> items;
  std::vector<size_t> places;  // of each item in `answers`
  items.reserve(requests.size());
  places.reserve(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    try {
      items.push_back(prepare(std::move(requests[i]), answers[i].warnings));
      places.push_back(i);
    } catch (const Error& error) {
      counters_->refused.add();
      if (mode == InsertMode::all_or_nothing) throw in_item(error, i, many);
      answers[i].refused = error;
    }
  }
  std::vector<TaskSpec> specs;  // what the answers say of each; inputs are moved to the store
  specs.reserve(items.size());
  for (const InsertItem& item : items) {
    TaskSpec& spec = specs.emplace_back();
    spec.type = item.spec.type;
    spec.queue = item.spec.queue;
    spec.options.id = item.spec.options.id;
    spec.options.idempotency_key = item.spec.options.idempotency_key;
    spec.input.clear();
  }
  auto results = store_.tasks().insert(std::move(items), mode);
  for (size_t n = 0; n < results.size(); ++n) {
    if (!results[n].refused()) continue;
    InsertItem said;
    said.spec = specs[n];
    Error error = refusal(store_, said, results[n]);
    counters_->refused.add();
    if (mode == InsertMode::all_or_nothing) throw in_item(error, places[n], many);
    answers[places[n]].refused = error;
  }
  for (size_t n = 0; n < results.size(); ++n) {
    Submitted& answer = answers[places[n]];
    answer.key = results[n].key;
    answer.type = std::move(specs[n].type);
    answer.queue = std::move(specs[n].queue);
    answer.state = results[n].state;
    answer.replayed = results[n].kind == InsertResult::Kind::replayed;
    answer.id = specs[n].options.id.empty() ? store_.ids().encode(answer.key)
                                            : std::move(specs[n].options.id);
    if (results[n].kind == InsertResult::Kind::inserted)
      counters_->submitted(answer.type, answer.queue).add();
    if (!answer.replayed) continue;
    counters_->replayed.add();
    // The first task may carry an id of its own.
    if (auto task = store_.reader().find(answer.key)) answer.id = store_.id_of(*task);
  }
  return answers;
}

Submitted Service::take_message(const std::string& body) {
  AdoptionContext context;
  context.over_http = true;
  context.now = clock_.now();
  context.input_bytes_max = options_.input_bytes_max;
  context.has_results = options_.has_results;
  context.stores_results = is_one_of(options_.stores_results);
  context.find_actor = catalogue_.finder();
  Adoption adoption = decide_adoption({0, "", body, body.size(), {}, false}, context);
  if (adoption.kind == Adoption::Kind::refuse) {
    counters_->refused.add();
    throw Error(Errc::invalid, "the message cannot become a task: " + adoption.reason);
  }
  if (adoption.kind == Adoption::Kind::park) {
    counters_->refused.add();
    const std::string actor = to_valid_utf8(adoption.message.actor_name.substr(0, kNameShown));
    throw Error(Errc::not_found, fmt::format("no actor '{}' is known; {}", actor,
                                             known_names_hint(*catalogue_.view(), actor)))
        .at("actor_name");
  }
  InsertItem& item = adoption.item;
  InsertItem said;  // what the answer says of it
  said.spec.type = item.spec.type;
  said.spec.queue = item.spec.queue;
  std::vector<InsertItem> items;
  items.push_back(std::move(item));
  const InsertResult result = store_.tasks().insert(std::move(items), InsertMode::per_item).at(0);
  if (result.refused()) {
    counters_->refused.add();
    throw refusal(store_, said, result);
  }
  Submitted answer;
  answer.key = result.key;
  answer.type = std::move(said.spec.type);
  answer.queue = std::move(said.spec.queue);
  answer.state = result.state;
  answer.replayed = result.kind == InsertResult::Kind::replayed;
  if (answer.replayed)
    counters_->replayed.add();
  else
    counters_->submitted(answer.type, answer.queue).add();
  answer.id = store_.id_of(get(answer.key));  // perhaps not the one that it wanted
  return answer;
}

Task Service::get(std::string_view id) {
  auto key = store_.reader().resolve(id);
  auto task = key ? store_.reader().find(*key) : std::nullopt;
  if (!task)
    throw Error(Errc::not_found,
                fmt::format("no task '{}'; it may have been deleted, or its retention is over",
                            id.substr(0, 140)));
  return std::move(*task);
}

Task Service::get(TaskKey key) {
  auto task = store_.reader().find(key);
  if (!task) throw Error(Errc::not_found, "no such task; it was deleted");
  return std::move(*task);
}

TaskPage Service::list(const TaskFilter& filter, const std::string& cursor, size_t limit) {
  std::optional<TaskKey> before;
  if (!cursor.empty()) {
    int64_t value = 0;
    auto [end, code] = std::from_chars(cursor.data(), cursor.data() + cursor.size(), value, 36);
    before = TaskKey{value};
    // One that was cut short would be of a time before there were tasks, and the page empty.
    if (code != std::errc() || end != cursor.data() + cursor.size() ||
        to_ms(before->created_at()) < kFirstCursorMs)
      throw Error(Errc::invalid, "cursor: is not one that a list has returned").at("cursor");
  }
  return store_.reader().list(filter, before, limit);
}

std::string Service::cursor_of(TaskKey key) const {
  char text[16];
  auto [end, code] = std::to_chars(text, text + sizeof text, key.value, 36);
  return std::string(text, end);
}

Task Service::cancel(std::string_view id) {
  for (int tries = 0; tries < kTries; ++tries) {
    Task task = get(id);
    auto plan = decide_cancel(task, clock_.now());
    if (!plan) throw plan.error().with_context(fmt::format("task {}", id));
    if (store_.tasks().apply({*plan})[0] != Applied::lease_lost) return get(task.key);
  }
  throw Error(Errc::conflict, fmt::format("cancel task {}: it keeps changing; try again", id));
}

Task Service::retry(std::string_view id, std::optional<std::string> edited_input) {
  for (int tries = 0; tries < kTries; ++tries) {
    Task task = get(id);
    if (edited_input) {
      SubmitRequest edited;  // the same checks as a submit
      edited.type = task.type;
      edited.queue = task.queue;
      edited.input = *edited_input;
      std::vector<std::string> warnings;
      prepare(std::move(edited), warnings);
      check_edit(task.queue, *edited_input);
    }
    auto plan = decide_retry(task, edited_input, clock_.now());
    if (!plan) throw plan.error().with_context(fmt::format("task {}", id));
    if (store_.tasks().apply({*plan})[0] != Applied::lease_lost) return get(task.key);
  }
  throw Error(Errc::conflict, fmt::format("retry task {}: it keeps changing; try again", id));
}

void Service::check_edit(const std::string& queue, const std::string& input) {
  auto queues = store_.reader().queues();
  for (const QueueStats& stats : queues) {
    int64_t limit = stats.limits.in_force(&QueueLimits::max_input_bytes);
    if (stats.name == queue && static_cast<int64_t>(input.size()) > limit)
      throw too_large_error(queue, limit);
  }
}

void Service::remove(std::string_view id) {
  for (int tries = 0; tries < kTries; ++tries) {
    // Before it is read: what cannot be read can still be deleted.
    auto key = store_.reader().resolve(id);
    if (key && store_.tasks().remove(std::span(&*key, 1)) == 1) return;
    Task task = get(id);
    if (auto allowed = decide_remove(task); !allowed)
      throw allowed.error().with_context(fmt::format("task {}", id));
  }
  throw Error(Errc::conflict, fmt::format("delete task {}: it keeps changing; try again", id));
}

std::vector<Attempt> Service::attempts(const Task& task) {
  return store_.reader().attempts(task.key);
}

// Read again when the task moved on between the reads: they must speak of one moment.
std::vector<TaskEvent> Service::events(Task& task) {
  while (true) {
    auto attempts = store_.reader().attempts(task.key);
    auto stored = store_.reader().events(task.key);
    Task now = get(task.key);
    const bool still = now.live == task.live && now.finished_at == task.finished_at;
    task = std::move(now);
    if (still) return history(task, attempts, stored);
  }
}

std::vector<Step> Service::steps(const Task& task) {
  return store_.reader().steps(task.key);
}

std::vector<std::string> Service::inputs(const Task& task) {
  return store_.reader().inputs(task.key);
}

std::vector<QueueView> Service::queues() {
  TimePoint now = clock_.now();
  auto sessions = store_.fleet().sessions(Duration(0));
  std::vector<QueueView> views;
  for (QueueStats& stats : store_.reader().queues())
    views.push_back(view_of(std::move(stats), sessions, now));
  return views;
}

std::optional<QueueView> Service::find_queue(const std::string& name) {
  for (QueueView& view : queues())
    if (view.stats.name == name) return std::move(view);
  return std::nullopt;
}

QueueView Service::queue(const std::string& name) {
  if (auto view = find_queue(name)) return std::move(*view);
  throw Error(Errc::not_found,
              fmt::format("no queue '{}'; a queue appears with its first task", name));
}

QueueView Service::queue_or_empty(const std::string& name) {
  if (auto view = find_queue(name)) return std::move(*view);
  QueueStats none;
  none.name = name;
  return view_of(std::move(none), store_.fleet().sessions(Duration(0)), clock_.now());
}

void Service::set_paused(const std::string& queue, bool paused) {
  if (auto problem = queue_name_problem(queue))
    throw Error(Errc::invalid, fmt::format("queue: '{}' {}", queue, *problem)).at("queue");
  store_.tasks().set_paused(queue, paused);
}

Session Service::end_worker(std::string_view worker, const std::string& command) {
  Session session = find_worker(store_, worker, Duration(0));
  store_.fleet().command(session.id, command);
  log_.info("{} ({}) was asked to {}", worker_name(session.id), session.name, command);
  return session;
}

void Service::set_limits(const std::string& queue, const QueueLimitsChange& change) {
  if (auto problem = queue_name_problem(queue))
    throw Error(Errc::invalid, fmt::format("queue: '{}' {}", queue, *problem)).at("queue");
  check_limit(change.max_pending, 0, limits::kLimitMax, "max_pending");
  check_limit(change.concurrency, 1, limits::kLimitMax, "concurrency");
  check_limit(change.max_input_bytes, 1, static_cast<int64_t>(options_.input_bytes_max),
              "max_input_bytes");
  store_.tasks().change_settings([&](Settings& settings) {
    QueueLimits& chosen = settings.queues[queue].limits.chosen;
    chosen.max_pending = change.max_pending.value_or(chosen.max_pending);
    chosen.concurrency = change.concurrency.value_or(chosen.concurrency);
    chosen.max_input_bytes = change.max_input_bytes.value_or(chosen.max_input_bytes);
  });
}

void Service::set_concurrency(const std::string& type, LimitValue concurrency) {
  check_limit(concurrency, 1, limits::kLimitMax, "concurrency");
  std::string name = actor(type).type;
  store_.tasks().change_settings([&](Settings& settings) {
    if (concurrency)
      settings.actor_concurrency[name] = *concurrency;
    else
      settings.actor_concurrency.erase(name);
  });
  catalogue_.refresh();
}

Job Service::purge(const std::string& name) {
  queue(name);  // refuses an unknown one
  JobRequest request;
  request.action = JobAction::remove;
  request.filter.queue = name;
  request.filter.states = StateSet(State::scheduled, State::waiting, State::pending);
  return bulk_.work_on(bulk_.start(std::move(request)), Deadline::after(kPurgeWait));
}

std::vector<Session> Service::workers(Duration ended_within) {
  return store_.fleet().sessions(ended_within);
}

Session Service::worker(std::string_view name) {
  const std::string_view number = name.starts_with("worker-") ? name.substr(7) : name;
  for (Session& session : store_.fleet().sessions(kWorkersKnown))
    if (std::to_string(session.id.value) == number) return std::move(session);
  throw Error(Errc::not_found,
              fmt::format("no worker '{}'; 'opscore workers list --ended-within 24h' shows those "
                          "that there are and were",
                          name));
}

std::vector<CatalogueEntry> Service::actors() {
  std::vector<CatalogueEntry> entries;
  auto view = catalogue_.view();  // named: g++ 12 ends temporaries before the loop
  for (const auto& [name, known] : view->by_name)
    if (name == known.entry.type) entries.push_back(known.entry);
  return entries;
}

CatalogueEntry Service::actor(const std::string& type) {
  auto view = catalogue_.fresh_view();
  if (const Catalogue::Known* known = view->find(type)) return known->entry;
  throw Error(Errc::not_found,
              fmt::format("no actor '{}'; 'opscore actors' shows what there is", type));
}

namespace {

// Also while no canary can show it, since RabbitMQ is away: then it asks the store for work.
bool takes_tasks(const SessionReport& report) {
  const bool lacks_broker =
      (report.broker && !report.broker->problem.empty()) || !report.adoption_problem.empty();
  return report.state == "consuming" || (report.state == "connecting" && lacks_broker);
}

}  // namespace

Readiness Service::readiness() {
  Readiness readiness;
  try {
    TimePoint now = clock_.now();
    auto sessions = store_.fleet().sessions(Duration(0));
    bool consuming = std::any_of(sessions.begin(), sessions.end(), [&](const Session& session) {
      // A few renewals may be late; more, and it does not get through to the store.
      return !session.ended_at && now - session.renewed_at <= limits::kRenewEvery * 3 &&
             takes_tasks(session.report);
    });
    readiness.ready = consuming || !options_.needs_worker;
    if (!consuming) readiness.reasons.push_back("no worker session is consuming");
    if (const std::string why = options_.why_not_consuming(); !why.empty()) {
      readiness.ready = false;
      readiness.reasons.push_back("its worker is not consuming: " + why);
    }
    for (const Session& session : sessions) add_broker_problems(session, readiness.reasons);
    if (auto since = unled_since(store_, sessions, now))
      readiness.reasons.push_back(unled_words(*since));
    store_.tasks().check_room();
  } catch (const Error& error) {
    readiness.ready = false;
    readiness.reasons.push_back(fmt::format("store: {}", error.what()));
  }
  return readiness;
}

std::vector<std::string> Service::warnings() {
  auto since = unled_since(store_, store_.fleet().sessions(Duration(0)), clock_.now());
  return since ? std::vector{unled_words(*since)} : std::vector<std::string>();
}

std::string Service::reason(const Task& task) {
  return is_terminal(task.state())
             ? std::string()
             : diagnose(gather_facts(store_, clock_, task, Duration(0))).sentence;
}

std::string Service::worker_name(SessionId session) {
  return session ? fmt::format("worker-{}", session.value) : std::string();
}

}  // namespace opscore
