#include <algorithm>
#include <set>

#include "opscore/model/decide.h"
#include "opscore/store/memory/memory_state.h"

namespace opscore {
namespace {

// One claim: what has been taken so far, and what may still be.
class Claiming {
 public:
  Claiming(const ClaimRequest& request, TimePoint now) : request_(request), now_(now) {
    if (request.types) types_.insert(request.types->begin(), request.types->end());
    for (const auto& room : request.room) {
      room_.push_back(room.max);
      for (const std::string& type : room.types) room_of_[type] = room_.size() - 1;
    }
    suspects_ = request.suspects;
  }

  bool wants(const TaskRow& row) {
    if (!row.due(now_) || row.past_deadline(now_)) return false;
    if (!types_.contains(row.spec.type)) {
      skipped_.insert(row.spec.type);
      return false;
    }
    auto room = room_of_.find(row.spec.type);
    return (room == room_of_.end() || room_[room->second] > 0) &&
           (!row.live.suspect || suspects_ > 0);
  }

  void take(TaskTable& table, TaskRow& row) {
    if (auto room = room_of_.find(row.spec.type); room != room_of_.end()) --room_[room->second];
    if (row.live.suspect) --suspects_;
    table.claim(row, request_.session, now_);
    result.tasks.push_back({.key = row.key,
                            .type = row.spec.type,
                            .queue = row.spec.queue,
                            .input = row.inputs.back(),
                            .priority = row.spec.priority,
                            .options = row.spec.options,
                            .live = row.live});
  }

  std::vector<std::string> skipped() const { return {skipped_.begin(), skipped_.end()}; }

  ClaimResult result;

 private:
  const ClaimRequest& request_;
  const TimePoint now_;
  std::set<std::string> types_;
  std::set<std::string> skipped_;
  std::vector<size_t> room_;
  std::map<std::string, size_t> room_of_;  // type -> place in room_
  size_t suspects_ = 0;
};

// How many of a queue the session may be given on top of what it runs of it.
size_t room_in(MemoryState& state, const std::string& queue, SessionId session)
    OPSCORE_REQUIRES(state.mutex) {
  auto limit = static_cast<size_t>(state.concurrency_of(queue));
  size_t running = 0;
  for (TaskKey key : state.tasks.held_by(session))
    running += state.tasks.find(key)->spec.queue == queue;
  return limit - std::min(limit, running);
}

void claim_from(TaskTable& table, const ClaimRequest::FromQueue& from, Claiming& claiming) {
  size_t taken = 0;
  const auto& open = table.open(from.queue);
  for (auto place = open.begin(); place != open.end();) {
    TaskRow& row = *table.find((place++)->key);  // taking the row ends its place
    if (!claiming.wants(row)) continue;
    if (taken == from.max) {
      claiming.result.more = true;
      return;
    }
    claiming.take(table, row);
    ++taken;
  }
}

}  // namespace

std::vector<InsertResult> MemoryTasks::insert(std::vector<InsertItem> items, InsertMode mode) {
  MutexLock lock(state_.mutex);
  Effects effects;
  std::vector<InsertResult> results;
  std::set<TaskKey> inserted;
  bool refused = false;
  for (InsertItem& item : items) {
    LayeredLimits limits = state_.settings.of_queue(item.spec.queue).limits;
    results.push_back(state_.tasks.insert(std::move(item), limits, state_.clock.now(), effects));
    if (results.back().kind == InsertResult::Kind::inserted) inserted.insert(results.back().key);
    refused |= results.back().refused();
  }
  if (refused && mode == InsertMode::all_or_nothing) {
    Effects nobody_saw;
    for (TaskKey key : inserted) state_.tasks.erase(key, nobody_saw);
    for (InsertResult& result : results)
      if (inserted.contains(result.key)) result.key = TaskKey{};
    return results;
  }
  for (TaskKey key : inserted) state_.seen_queues.insert(state_.tasks.find(key)->spec.queue);
  state_.commit(std::move(effects));
  return results;
}

ClaimResult MemoryTasks::claim(const ClaimRequest& request) {
  MutexLock lock(state_.mutex);
  // An ended session must not get work: nobody would rescue it from there.
  if (!state_.sessions.alive(request.session)) return {};
  TimePoint now = state_.clock.now();
  Claiming claiming(request, now);
  std::set<std::string> served;
  for (const auto& from : request.queues) {
    if (state_.settings.of_queue(from.queue).paused) continue;
    size_t room = room_in(state_, from.queue, request.session);
    claim_from(state_.tasks, {from.queue, std::min(from.max, room)}, claiming);
    served.insert(from.queue);
  }
  for (const auto& [run_at, key] : state_.tasks.scheduled()) {
    const TaskRow& row = *state_.tasks.find(key);
    if (run_at <= now || !row.live.claimable() || !served.contains(row.spec.queue)) continue;
    claiming.result.next_due_at = run_at;
    break;
  }
  claiming.result.skipped_types = claiming.skipped();
  return std::move(claiming.result);
}

std::vector<Applied> MemoryTasks::apply(std::vector<Plan> plans) {
  MutexLock lock(state_.mutex);
  Effects effects;
  std::vector<Applied> results;
  for (Plan& plan : plans) results.push_back(state_.tasks.apply(std::move(plan), effects));
  state_.commit(std::move(effects));
  return results;
}

Promoted MemoryTasks::promote(size_t limit) {
  MutexLock lock(state_.mutex);
  TimePoint now = state_.clock.now();
  Effects effects;
  Promoted promoted;
  const auto& scheduled = state_.tasks.scheduled();
  while (promoted.tasks < limit && !scheduled.empty() && scheduled.begin()->run_at <= now) {
    const TaskRow& row = *state_.tasks.find(scheduled.begin()->key);
    state_.tasks.apply(decide_promote(row.key, row.live, now), effects);
    ++promoted.tasks;
  }
  if (!scheduled.empty()) promoted.next_due_at = scheduled.begin()->run_at;
  state_.commit(std::move(effects));
  return promoted;
}

size_t MemoryTasks::expire(size_t limit) {
  MutexLock lock(state_.mutex);
  TimePoint now = state_.clock.now();
  Effects effects;
  size_t expired = 0;
  for (auto& [key, row] : state_.tasks.rows()) {
    if (expired == limit) break;
    if (!row.past_deadline(now) || successors(row.live.state, Event::expire).empty()) continue;
    state_.tasks.apply(decide_expire(key, row.live, row.spec.options, now), effects);
    ++expired;
  }
  state_.commit(std::move(effects));
  return expired;
}

size_t MemoryTasks::rescue(const LostSession& lost) {
  MutexLock lock(state_.mutex);
  TimePoint now = state_.clock.now();
  Effects effects;
  if (state_.sessions.end(lost.session, lost.words, now))
    effects.change.sessions.push_back(lost.session);
  std::set<TaskKey> held = state_.tasks.held_by(lost.session);
  for (TaskKey key : held) {
    const TaskRow& row = *state_.tasks.find(key);
    state_.tasks.apply(decide_rescue(key, row.live, row.spec.options, lost, now, state_.random),
                       effects);
  }
  state_.commit(std::move(effects));
  return held.size();
}

size_t MemoryTasks::prune(const Retention& retention, size_t limit) {
  MutexLock lock(state_.mutex);
  TimePoint now = state_.clock.now();
  Effects effects;
  auto& rows = state_.tasks.rows();
  size_t pruned = 0;
  for (size_t looks = std::min(limit, rows.size()); looks > 0; --looks) {
    auto next = rows.upper_bound(state_.pruned_up_to);
    if (next == rows.end()) next = rows.begin();  // a new round
    const TaskRow& row = next->second;
    state_.pruned_up_to = row.key;
    if (!row.finished_at || now - *row.finished_at < retention.of(row.live.state, row.spec.type))
      continue;
    state_.tasks.erase(row.key, effects);
    ++pruned;
  }
  state_.commit(std::move(effects));
  return pruned;
}

void MemoryTasks::record_progress(std::vector<ProgressUpdate> updates) {
  MutexLock lock(state_.mutex);
  Effects effects;
  for (ProgressUpdate& update : updates) {
    TaskRow* row = state_.tasks.find_running(update.lease);
    if (!row) continue;
    row->progress = std::move(update.progress);
    effects.change.tasks.push_back(row->key);
  }
  state_.commit(std::move(effects));
}

Applied MemoryTasks::append_step(const Lease& lease, const Step& step) {
  MutexLock lock(state_.mutex);
  TaskRow* row = state_.tasks.find_running(lease);
  if (!row) return Applied::lease_lost;
  for (const Step& taken : row->steps)
    if (taken.number == step.number)
      return taken.attempt == lease.attempt ? Applied::already_applied : Applied::lease_lost;
  Step recorded = step;
  recorded.attempt = lease.attempt;
  auto after =
      std::upper_bound(row->steps.begin(), row->steps.end(), step.number,
                       [](int number, const Step& other) { return number < other.number; });
  row->steps.insert(after, std::move(recorded));
  return Applied::applied;
}

size_t MemoryTasks::remove(std::span<const TaskKey> keys) {
  MutexLock lock(state_.mutex);
  Effects effects;
  size_t removed = 0;
  for (TaskKey key : keys) {
    const TaskRow* row = state_.tasks.find(key);
    if (!row || !row->live.claimable() || successors(row->live.state, Event::remove).empty())
      continue;
    state_.tasks.erase(key, effects);
    ++removed;
  }
  state_.commit(std::move(effects));
  return removed;
}

void MemoryTasks::change_settings(const std::function<void(Settings&)>& change) {
  MutexLock lock(state_.mutex);
  Settings next = state_.settings;
  change(next);
  next.forget_defaults();
  Effects effects;
  TimePoint now = state_.clock.now();
  for (const std::string& queue : next.changed_queues(state_.settings)) {
    if (next.of_queue(queue).paused) continue;
    for (const auto& place : state_.tasks.open(queue))
      if (state_.tasks.find(place.key)->due(now)) ++effects.due[queue];
    effects.change.queues.push_back(queue);
  }
  if (next.actor_concurrency != state_.settings.actor_concurrency)
    for (const Session& session : state_.sessions.list(Duration(0), now))
      effects.change.sessions.push_back(session.id);
  state_.settings = std::move(next);
  state_.commit(std::move(effects));
}

}  // namespace opscore
