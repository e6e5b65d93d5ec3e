#include "opscore/store/memory/task_table.h"

#include <algorithm>

#include "opscore/model/adoption.h"
#include "opscore/model/decide.h"
#include "opscore/model/handover.h"
#include "opscore/model/webhook.h"

namespace opscore {
namespace {

std::optional<TimePoint> if_set(TimePoint at) {
  return at == TimePoint{} ? std::nullopt : std::optional(at);
}

bool guard_holds(const TaskRow& row, const Plan& plan) {
  return row.live.state == plan.expected && row.live.attempt == plan.attempt &&
         row.live.edits == plan.edits_before();
}

// Whether the finish that `plan` wants is the one that happened: a retry of a call whose first try
// had committed.
bool on_record(const TaskRow& row, const Plan& plan) {
  return plan.ended && std::any_of(row.ended.begin(), row.ended.end(), [&](const Attempt& attempt) {
           return attempt.number == plan.attempt && attempt.end == plan.ended;
         });
}

void end_attempt(TaskRow& row, const Plan& plan) {
  if (!plan.ended) return;
  row.ended.push_back({plan.attempt, plan.ended, plan.charged, plan.worker, plan.claimed_at,
                       if_set(plan.started_at), plan.at, plan.error});
}

void finish(TaskRow& row, Plan& plan) {
  Live live;
  live.state = plan.next;
  live.run_at = row.spec.run_at.value_or(row.key.created_at());
  live.attempt = row.live.attempt;
  live.charged = plan.live.charged;
  live.edits = plan.live.edits;
  row.live = live;
  row.result = std::move(plan.result);
  row.error = std::move(plan.error);
  row.finished_at = plan.at;
}

void run_again(TaskRow& row, Plan& plan) {
  row.live = plan.live;
  row.result.clear();
  row.error = {};
  row.finished_at.reset();
  if (plan.edited_input) row.inputs.push_back(std::move(*plan.edited_input));
}

}  // namespace

std::vector<Attempt> TaskRow::attempts() const {
  std::vector<Attempt> all = ended;
  if (live.state == State::running)
    all.push_back(
        {live.attempt, {}, false, live.session, live.claimed_at, if_set(live.started_at), {}, {}});
  return all;
}

Task TaskRow::task() const {
  Task task;
  task.key = key;
  task.type = spec.type;
  task.queue = spec.queue;
  task.input = inputs.back();
  task.priority = spec.priority;
  task.max_attempts = spec.max_attempts;
  task.options = spec.options;
  task.live = live;
  task.progress = progress;
  task.result = result;
  task.finished_at = finished_at;
  task.error = finished_at || ended.empty() ? error : ended.back().error;
  task.updated_at = key.created_at();
  if (auto all = attempts(); !all.empty()) {
    const Attempt& last = all.back();
    task.worker = last.worker;
    task.started_at = last.started_at;
    task.updated_at = last.ended_at.value_or(last.started_at.value_or(last.claimed_at));
  }
  if (finished_at) task.updated_at = *finished_at;
  return task;
}

bool TaskRow::due(TimePoint now) const {
  return live.claimable() &&
         (live.state == State::pending || (live.state == State::scheduled && live.run_at <= now));
}

bool TaskRow::past_deadline(TimePoint now) const {
  auto expiry = expiry_of(spec.options);
  return expiry && *expiry <= now;
}

bool TaskRow::matches(const TaskFilter& filter) const {
  return (filter.states.empty() || filter.states.has(live.state)) &&
         (filter.type.empty() || filter.type == spec.type) &&
         (filter.queue.empty() || filter.queue == spec.queue) && has_labels(filter, spec.options);
}

TakenKey TaskTable::taken(const KeyOwner& owner) const {
  return {owner.by, owner.hash, rows_.at(owner.by).live.state};
}

std::optional<InsertResult> TaskTable::find_adopted(const InsertItem& item) const {
  for (const UniqueKey& key : item.keys)
    if (key.kind == UniqueKey::Kind::message_id)
      if (auto found = keys_.find(name_of(key)); found != keys_.end())
        return replay_of(taken(found->second));
  return std::nullopt;
}

void TaskTable::derive_id_if_taken(InsertItem& item) const {
  for (UniqueKey& key : item.keys)
    if (key.kind == UniqueKey::Kind::task_id && keys_.contains(name_of(key))) {
      take_derived_id(item.spec.options, item.message_id);
      key.key = item.spec.options.id;
    }
}

std::optional<InsertResult> TaskTable::find_taken(const InsertItem& item) const {
  for (const UniqueKey& key : item.keys) {
    if (auto found = keys_.find(name_of(key)); found != keys_.end())
      return answer_taken(item, key, taken(found->second));
  }
  return std::nullopt;
}

InsertResult TaskTable::insert(InsertItem item, const LayeredLimits& limits, TimePoint now,
                               Effects& effects) {
  if (item.on_conflict == InsertItem::OnConflict::derive_id) {
    // A message that was adopted before is the same task, under whichever id it got.
    if (auto adopted = find_adopted(item)) return *adopted;
    derive_id_if_taken(item);
  }
  if (auto taken = find_taken(item)) return *taken;
  auto waiting = static_cast<int64_t>(open_[item.spec.queue].size());
  if (auto refused = refuse_by_limits(limits, waiting, item.spec.input.size())) return *refused;
  TaskRow row;
  row.key = maker_.next(now);
  row.live = decide_submit(item.spec, now);
  row.inputs.push_back(std::move(item.spec.input));
  row.spec = std::move(item.spec);
  row.keys = std::move(item.keys);
  row.origin = {std::move(item.message_id), std::move(item.origin)};
  for (const UniqueKey& key : row.keys) keys_[name_of(key)] = {row.key, item.request_hash};
  effects.note_queue(row.spec.queue, row.live);
  if (!row.live.claimable())
    effects.outbox.push_back(handover_row(row.key, row.spec.queue, row.live.attempt, now));
  TaskRow& placed = rows_.emplace(row.key, std::move(row)).first->second;
  enter(placed);
  return {InsertResult::Kind::inserted, placed.key, placed.live.state, {}};
}

Applied TaskTable::apply(Plan plan, Effects& effects) {
  TaskRow* row = find(plan.key);
  if (!row) return Applied::lease_lost;
  if (!guard_holds(*row, plan))
    return on_record(*row, plan) ? Applied::already_applied : Applied::lease_lost;
  if (plan.yields_to_cancel && row->live.cancel_requested) plan = yield_to_cancel(std::move(plan));
  if (plan.next == State::running &&
      plan.expected == State::running) {  // a cancel is asked for; the rest of the row may be newer
    if (row->live.cancel_requested) plan.events.clear();
    row->live.cancel_requested = plan.live.cancel_requested;
    effects.change.sessions.push_back(row->live.session);
  } else {
    leave(*row);
    end_attempt(*row, plan);
    row->progress.clear();
    is_terminal(plan.next) ? finish(*row, plan) : run_again(*row, plan);
    enter(*row);
  }
  note(*row, plan, effects);
  return Applied::applied;
}

void TaskTable::note(TaskRow& row, Plan& plan, Effects& effects) {
  for (TaskEvent& event : plan.events) add_event(row, std::move(event), effects);
  if (plan.ended || is_terminal(plan.next)) effects.change.tasks.push_back(row.key);
  if (!is_terminal(plan.next)) effects.note_queue(row.spec.queue, row.live);
  if (plan.hands_over)
    effects.outbox.push_back(handover_row(row.key, row.spec.queue, plan.attempt, plan.at));
  std::move(plan.outbox.begin(), plan.outbox.end(), std::back_inserter(effects.outbox));
  if (auto row_of_webhook = webhook_row(plan)) effects.outbox.push_back(*row_of_webhook);
  if (auto row_of_message = adopted_row(plan)) effects.outbox.push_back(*row_of_message);
}

void TaskTable::add_event(TaskRow& row, TaskEvent event, Effects& effects) {
  event.number = static_cast<int>(row.events.size()) + 1;
  row.events.push_back(std::move(event));
  effects.change.tasks.push_back(row.key);
}

void TaskTable::claim(TaskRow& row, SessionId session, TimePoint now) {
  leave(row);
  row.live = decide_claim(row.live, session, now);
  row.progress.clear();
  enter(row);
}

void TaskTable::erase(TaskKey key, Effects& effects) {
  TaskRow& row = rows_.at(key);
  leave(row);
  for (const UniqueKey& name : row.keys) keys_.erase(name_of(name));
  rows_.erase(key);
  effects.change.tasks.push_back(key);
}

TaskRow* TaskTable::find(TaskKey key) {
  auto found = rows_.find(key);
  return found == rows_.end() ? nullptr : &found->second;
}

TaskRow* TaskTable::find_running(const Lease& lease) {
  TaskRow* row = find(lease.key);
  bool held = row && row->live.state == State::running && row->live.attempt == lease.attempt;
  return held ? row : nullptr;
}

std::optional<TaskKey> TaskTable::find_id(const std::string& id) const {
  auto found = keys_.find({UniqueKey::Kind::task_id, "", id});
  if (found == keys_.end()) return std::nullopt;
  return found->second.by;
}

void TaskTable::enter(TaskRow& row) {
  State state = row.live.state;
  if (state == State::pending || state == State::scheduled)
    open_[row.spec.queue].insert({order_of(row.live.run_at, row.spec.priority), row.key});
  if (state == State::scheduled) scheduled_.insert({row.live.run_at, row.key});
  if (state == State::running && row.live.session) held_[row.live.session].insert(row.key);
}

void TaskTable::leave(TaskRow& row) {
  open_[row.spec.queue].erase({order_of(row.live.run_at, row.spec.priority), row.key});
  scheduled_.erase({row.live.run_at, row.key});
  if (row.live.state == State::running && row.live.session) held_[row.live.session].erase(row.key);
}

}  // namespace opscore
