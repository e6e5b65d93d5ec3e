#include "opscore/store/postgres/task_images.h"

#include <algorithm>

#include "opscore/model/adoption.h"
#include "opscore/model/decide.h"
#include "opscore/model/handover.h"
#include "opscore/model/webhook.h"

namespace opscore::postgres {
namespace {

// In the order of keys, so that two transactions wait for each other in one order.
constexpr Statement kLock{"lock_live", "SELECT " OPSCORE_LIVE_COLUMNS
                                       " FROM live l WHERE l.key = ANY($1::bigint[]) "
                                       "ORDER BY l.key FOR UPDATE"};
constexpr Statement kLockOutcomes{
    "lock_outcomes", "SELECT " OPSCORE_OUTCOME_COLUMNS
                     " FROM outcomes o WHERE o.key = ANY($1::bigint[]) ORDER BY o.key FOR UPDATE"};
constexpr Statement kTasks{"task_heads",
                           "SELECT key, lane, priority, options, max_attempts FROM tasks "
                           "WHERE key = ANY($1::bigint[])"};
constexpr Statement kEnded{
    "ended_attempts", "SELECT key, attempt, ended FROM attempts WHERE key = ANY($1::bigint[])"};
constexpr Statement kUpdate{
    "update_live",
    "UPDATE live SET place = $2::bigint, run_at = $3::bigint, attempt = $4::bigint, "
    "charged = $5::bigint, budget = $6::bigint, snoozes = $7::bigint, losses = $8::bigint, "
    "deaths = $9::bigint, edits = $10::bigint, state = $11::bigint, suspect = $12::bigint <> 0, "
    "cancel_requested = $13::bigint <> 0, later = $11::bigint = 0, session = $14::bigint, "
    "claimed = $15::bigint, started = $16::bigint, progress = $17::text, external = $18::bigint "
    "WHERE key = $1::bigint"};
constexpr Statement kDeleteLive{"delete_live", "DELETE FROM live WHERE key = ANY($1::bigint[])"};
constexpr Statement kDeleteOutcomes{"delete_outcomes",
                                    "DELETE FROM outcomes WHERE key = ANY($1::bigint[])"};
constexpr Statement kErase[] = {
    {"erase_tasks", "DELETE FROM tasks WHERE key = ANY($1::bigint[])"},
    {"erase_attempts", "DELETE FROM attempts WHERE key = ANY($1::bigint[])"},
    {"erase_events", "DELETE FROM events WHERE key = ANY($1::bigint[])"},
    {"erase_steps", "DELETE FROM steps WHERE key = ANY($1::bigint[])"},
    {"erase_inputs", "DELETE FROM inputs WHERE key = ANY($1::bigint[])"},
    {"erase_origins", "DELETE FROM origins WHERE key = ANY($1::bigint[])"},
    {"erase_keys", "DELETE FROM keys WHERE task = ANY($1::bigint[])"},
};
constexpr Statement kInsertInput{"insert_input",
                                 "INSERT INTO inputs VALUES($1::bigint, $2::bigint, $3::text)"};
constexpr Statement kInsertEvents{
    "insert_events",
    "INSERT INTO events(key, number, at, kind, attempt, data) SELECT x.key, x.number + "
    "coalesce((SELECT max(e.number) FROM events e WHERE e.key = x.key), 0), x.at, x.kind, "
    "x.attempt, x.data FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], "
    "$5::bigint[], $6::text[]) x(key, number, at, kind, attempt, data)"};

bool guard_holds(const Plan& plan, State state, int attempt, int edits) {
  return state == plan.expected && attempt == plan.attempt && edits == plan.edits_before();
}

Attempt ended_attempt(const Plan& plan) {
  return {plan.attempt, plan.ended,      plan.charged,
          plan.worker,  plan.claimed_at, or_null(plan.started_at),
          plan.at,      plan.error};
}

}  // namespace

void note_room(Transaction& transaction, const KnownSettings& settings, const std::string& queue) {
  if (settings.limits_concurrency(queue)) transaction.note_room(queue);
}

void post_rows(Transaction& transaction, const Plan& plan) {
  for (const OutboxRow& row : plan.outbox) transaction.post(row);
  if (auto row = webhook_row(plan)) transaction.post(*std::move(row));
  if (auto row = adopted_row(plan)) transaction.post(*std::move(row));
}

void TaskImages::load(const std::vector<TaskKey>& keys) {
  load_live(keys);
  std::vector<TaskKey> finished;
  for (TaskKey key : keys)
    if (!images_.contains(key)) finished.push_back(key);
  if (!finished.empty()) load_outcomes(finished);
}

void TaskImages::load_live(const std::vector<TaskKey>& keys) {
  size_t settings = transaction_.send(settings_statement());
  Rows rows = transaction_.query(kLock, Parameters::of(Array::keys(keys)));
  settings_ = decode_settings(transaction_.rows(settings));
  for (int i = 0; i < rows.size(); ++i) {
    LiveRow row = decode_live(rows, i);
    Image& image = images_[row.key];
    image.lane = row.lane;
    image.priority = row.priority;
    image.was_live = true;
    image.live = std::move(row);
  }
}

void TaskImages::load_outcomes(const std::vector<TaskKey>& keys) {
  size_t outcomes = transaction_.send(kLockOutcomes, Parameters::of(Array::keys(keys)));
  size_t tasks = transaction_.send(kTasks, Parameters::of(Array::keys(keys)));
  transaction_.flush();
  const Rows& found = transaction_.rows(outcomes);
  for (int i = 0; i < found.size(); ++i) {
    OutcomeRow row = decode_outcome(found, i);
    Image& image = images_[row.key];
    image.was_outcome = true;
    if (row.ended) image.ended.emplace_back(row.attempt, *row.ended);
    image.outcome = std::move(row);
  }
  const Rows& heads = transaction_.rows(tasks);
  for (int i = 0; i < heads.size(); ++i) {
    TaskKey key{heads.integer(i, 0)};
    auto image = images_.find(key);
    if (image == images_.end()) continue;
    image->second.lane = heads.integer(i, 1);
    image->second.priority = static_cast<int>(heads.integer(i, 2));
    image->second.max_attempts = static_cast<int>(heads.integer(i, 4));
    note_options(key, heads.text(i, 3));
  }
}

const LiveRow* TaskImages::live(TaskKey key) const {
  auto image = images_.find(key);
  return image != images_.end() && image->second.live ? &*image->second.live : nullptr;
}

std::optional<Task> TaskImages::task(TaskKey key) const {
  auto found = images_.find(key);
  if (found == images_.end() || found->second.erased) return std::nullopt;
  const Image& image = found->second;
  Task task;
  task.key = key;
  task.max_attempts = image.max_attempts;
  if (image.live) {
    task.live = image.live->live;
  } else {
    task.live.state = image.outcome->state;
    task.live.attempt = image.outcome->attempt;
    task.live.charged = image.outcome->charged;
    task.live.edits = image.outcome->edits;
    task.options = options_.at(key);
  }
  return task;
}

// What becomes of a task must not depend on what its submitter asked for.
void TaskImages::note_options(TaskKey key, std::string_view text) {
  std::string problem;
  options_[key] = usable_options(text, problem);
  if (!problem.empty()) parts_.log.error("task {} is damaged: {}", key.value, problem);
}

const TaskOptions& TaskImages::options(TaskKey key) {
  if (!options_.contains(key)) {
    std::vector<TaskKey> keys;
    for (const auto& [each, image] : images_)
      if (!options_.contains(each)) keys.push_back(each);
    Rows heads = transaction_.query(kTasks, Parameters::of(Array::keys(keys)));
    for (int i = 0; i < heads.size(); ++i)
      note_options(TaskKey{heads.integer(i, 0)}, heads.text(i, 3));
  }
  return options_[key];
}

const std::string& TaskImages::queue_of(const Image& image) {
  auto found = lanes_.find(image.lane);
  if (found == lanes_.end())
    found = lanes_.emplace(image.lane, parts_.lanes.lane(transaction_, image.lane)).first;
  return found->second.queue;
}

Applied TaskImages::apply(const Plan& plan) {
  auto found = images_.find(plan.key);
  if (found == images_.end() || found->second.erased) return Applied::lease_lost;
  Image& image = found->second;
  if (image.live) {
    const Live& live = image.live->live;
    if (!guard_holds(plan, live.state, live.attempt, live.edits)) return refuse(plan, image);
    apply_to_live(plan.yields_to_cancel && live.cancel_requested ? yield_to_cancel(plan) : plan,
                  image);
    return Applied::applied;
  }
  const OutcomeRow& outcome = *image.outcome;
  if (!guard_holds(plan, outcome.state, outcome.attempt, outcome.edits)) return refuse(plan, image);
  OPSCORE_ASSERT(!is_terminal(plan.next), "a finished task can only be run again");
  transaction_.count(queue_of(image), outcome.state, -1);
  // Its last attempt becomes history.
  if (outcome.ended) attempts_.add(plan.key, outcome.final_attempt());
  image.outcome.reset();
  image.live = LiveRow{plan.key, image.lane, image.priority, {}, expiry_of(options(plan.key)), {}};
  run_again(plan, image);
  return Applied::applied;
}

// The guard did not hold. A caller whose first try had committed finds its own finish on record.
Applied TaskImages::refuse(const Plan& plan, const Image& image) {
  if (!plan.ended) return Applied::lease_lost;
  for (const auto& [attempt, end] : image.ended)
    if (attempt == plan.attempt && end == *plan.ended) return Applied::already_applied;
  Rows rows = transaction_.query(kEnded, Parameters::of(Array::keys({plan.key})));
  for (int i = 0; i < rows.size(); ++i)
    if (rows.integer(i, 1) == plan.attempt &&
        rows.integer(i, 2) == static_cast<int64_t>(*plan.ended))
      return Applied::already_applied;
  return Applied::lease_lost;
}

void TaskImages::apply_to_live(const Plan& plan, Image& image) {
  Live& live = image.live->live;
  if (plan.next == State::running && plan.expected == State::running) {
    // A cancel is asked for; the rest of the row may be newer.
    transaction_.note_session(live.session);
    if (live.cancel_requested) return;
    live.cancel_requested = image.changed = true;
    add_events(plan);
    return;
  }
  if (!is_terminal(plan.next)) return run_again(plan, image);
  image.live.reset();
  image.outcome = OutcomeRow::of(plan);
  image.changed = true;
  if (plan.ended) image.ended.emplace_back(plan.attempt, *plan.ended);
  transaction_.count(queue_of(image), plan.next, 1);
  note_room(transaction_, settings_, queue_of(image));
  add_events(plan);
}

void TaskImages::run_again(const Plan& plan, Image& image) {
  image.live->live = plan.live;
  image.live->progress.clear();
  image.changed = true;
  if (plan.ended) {
    attempts_.add(plan.key, ended_attempt(plan));
    image.ended.emplace_back(plan.attempt, *plan.ended);
  }
  if (plan.edited_input)
    transaction_.send(kInsertInput,
                      Parameters::of(plan.key, int64_t{plan.live.edits}, *plan.edited_input));
  transaction_.note_queue(queue_of(image), plan.live,
                          order_of(plan.live.run_at, image.live->priority));
  if (plan.hands_over)
    transaction_.post(handover_row(plan.key, queue_of(image), plan.attempt, plan.at));
  add_events(plan);
}

void TaskImages::append_events(const Plan& plan) {
  auto& events = events_[plan.key];
  events.insert(events.end(), plan.events.begin(), plan.events.end());
}

void TaskImages::append_event(TaskKey key, const TaskEvent& event) {
  auto image = images_.find(key);
  if (image == images_.end() || image->second.erased) return;
  events_[key].push_back(event);
  transaction_.note_task(key);
}

void TaskImages::add_events(const Plan& plan) {
  append_events(plan);
  post_rows(transaction_, plan);
  if (!plan.events.empty() || plan.ended || is_terminal(plan.next))
    transaction_.note_task(plan.key);
}

bool TaskImages::erase(TaskKey key) {
  auto found = images_.find(key);
  if (found == images_.end() || found->second.erased) return false;
  Image& image = found->second;
  if (image.live && (image.live->live.state == State::running || !image.live->live.claimable()))
    return false;
  if (image.outcome) transaction_.count(queue_of(image), image.outcome->state, -1);
  image.erased = image.changed = true;
  image.live.reset();
  image.outcome.reset();
  events_.erase(key);
  transaction_.note_task(key);
  return true;
}

void TaskImages::write() {
  delete_rows();
  LiveInsert live;
  OutcomeInsert outcomes;
  for (const auto& [key, image] : images_) {
    if (!image.changed) continue;
    if (image.live && image.was_live) update_live(*image.live);
    if (image.live && !image.was_live) live.add(*image.live);
    if (image.outcome) outcomes.add(*image.outcome);
  }
  if (live.size() > 0) transaction_.send(LiveInsert::statement(), live.parameters());
  if (outcomes.size() > 0) transaction_.send(OutcomeInsert::statement(), outcomes.parameters());
  if (attempts_.size() > 0) transaction_.send(AttemptInsert::statement(), attempts_.parameters());
  write_events();
}

void TaskImages::delete_rows() {
  std::vector<TaskKey> live, outcomes, erased;
  for (const auto& [key, image] : images_) {
    if (!image.changed) continue;
    if (image.was_live && !image.live) live.push_back(key);
    if (image.was_outcome) outcomes.push_back(key);
    if (image.erased) erased.push_back(key);
  }
  if (!live.empty()) transaction_.send(kDeleteLive, Parameters::of(Array::keys(live)));
  if (!outcomes.empty()) transaction_.send(kDeleteOutcomes, Parameters::of(Array::keys(outcomes)));
  if (erased.empty()) return;
  for (const Statement& statement : kErase)
    transaction_.send(statement, Parameters::of(Array::keys(erased)));
}

void TaskImages::update_live(const LiveRow& row) {
  const Live& live = row.live;
  transaction_.send(
      kUpdate, Parameters::of(
                   row.key, order_of(live.run_at, row.priority), live.run_at, int64_t{live.attempt},
                   int64_t{live.charged}, int64_t{live.budget}, int64_t{live.snoozes},
                   int64_t{live.losses}, int64_t{live.deaths}, int64_t{live.edits},
                   static_cast<int64_t>(live.state), int64_t{live.suspect},
                   int64_t{live.cancel_requested}, or_null(live.session), or_null(live.claimed_at),
                   or_null(live.started_at), or_null(row.progress), live.external_until));
}

void TaskImages::write_events() {
  Array keys = Array::numbers(), numbers = Array::numbers(), times = Array::numbers(),
        kinds = Array::texts(), attempts = Array::numbers(), data = Array::texts();
  for (const auto& [key, events] : events_) {
    int64_t number = 0;
    for (const TaskEvent& event : events) {
      keys.add(key);
      numbers.add(++number);
      times.add(event.at);
      kinds.add(event.kind);
      attempts.add(int64_t{event.attempt});
      data.add(or_null(event.data));
    }
  }
  if (keys.size() > 0)
    transaction_.send(kInsertEvents, Parameters::of(keys, numbers, times, kinds, attempts, data));
}

}  // namespace opscore::postgres
