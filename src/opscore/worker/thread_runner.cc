#include "opscore/worker/thread_runner.h"

#include <algorithm>

#include "opscore/model/canary.h"
#include "opscore/model/decide.h"
#include "opscore/model/error_kind.h"

namespace opscore {
namespace {

// How often timeouts are looked at while something runs, and while nothing does.
constexpr Duration kWatchBusy{50};
constexpr Duration kWatchIdle{500};

ErrorInfo words_of(const std::exception& error) {
  return {error_kind::kActorError, error.what(), {}};
}

class CanaryActor final : public Actor {
 public:
  Outcome run(TaskContext&) override { return Outcome::complete("null"); }
};

std::shared_ptr<const RegisteredActor> canary_actor() {
  auto canary = std::make_shared<RegisteredActor>();
  canary->entry.type = kCanaryType;
  canary->actor = std::make_unique<CanaryActor>();
  return canary;
}

}  // namespace

ThreadRunner::ThreadRunner(std::shared_ptr<const Registry> actors, Store& store, const Clock& clock,
                           Log& log, ThreadRunnerOptions options, Post post)
    : store_(store),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      post_(std::move(post)),
      canary_(canary_actor()),
      watch_("watch", log, [this](std::stop_token) { return watch(); }) {
  OPSCORE_ASSERT(options_.slots > 0 && options_.slots <= CrashPage::kSlots, "slots out of range");
  for (size_t i = 0; i < options_.slots; ++i) slots_.push_back(std::make_unique<Slot>());
  replace(std::move(actors));
}

ThreadRunner::~ThreadRunner() {
  stop_threads(Deadline::never());
}

void ThreadRunner::replace(std::shared_ptr<const Registry> actors) {
  auto types = std::make_shared<std::vector<std::string>>();
  std::vector<const RegisteredActor*> own;
  for (const RegisteredActor* actor : actors->all()) {
    if (actor->is_hosted() || actor->is_external()) continue;
    own.push_back(actor);
    auto names = names_of(actor->entry);
    types->insert(types->end(), names.begin(), names.end());
  }
  MutexLock lock(mutex_);
  actors_ = std::move(actors);
  types_ = std::move(types);
  limits_.set_actors(std::move(own));
}

void ThreadRunner::set_concurrency(std::map<std::string, int64_t> chosen) {
  MutexLock lock(mutex_);
  limits_.choose(std::move(chosen));
}

void ThreadRunner::start_threads() {
  for (size_t i = 0; i < slots_.size(); ++i)
    if (!slots_[i]->thread.joinable()) slots_[i]->thread = std::jthread([this, i] { run_slot(i); });
  watch_.start();
}

bool ThreadRunner::stop_threads(Deadline deadline) {
  {
    MutexLock lock(mutex_);
    ending_ = true;
    work_.notify_all();
    if (!idle_.wait_until(lock, deadline.when(),
                          [this]() OPSCORE_REQUIRES(mutex_) { return busy_ == 0; }))
      return false;
  }
  for (auto& slot : slots_)
    if (slot->thread.joinable()) slot->thread.join();
  watch_.stop();
  return true;
}

void ThreadRunner::start(std::vector<ClaimedTask> tasks) {
  SteadyPoint now = clock_.steady();
  std::vector<Finished> unwanted;
  size_t wake = 0;
  {
    MutexLock lock(mutex_);
    for (ClaimedTask& task : tasks) {
      if (draining_) {
        Outcome outcome = stopped_outcome(task, Stopping::drain, {});
        unwanted.push_back({std::move(task), std::move(outcome), {}, clock_.now()});
        continue;
      }
      if (task.type == kCanaryType) {
        queue_.push_back({std::move(task), canary_, now});
        continue;
      }
      const RegisteredActor* actor = actors_->find(task.type);
      if (!actor || actor->is_hosted()) {  // it was claimed just before its actor was removed
        Outcome outcome = no_actor_outcome(task.type);
        unwanted.push_back({std::move(task), std::move(outcome), {}, clock_.now()});
        continue;
      }
      if (task.live.suspect) ++suspects_;
      queue_.push_back({std::move(task), {actors_, actor}, now});
    }
    wake = std::min(tasks.size(), slots_.size() - std::min(busy_, slots_.size()));
  }
  while (wake-- > 0) work_.notify_one();
  if (!unwanted.empty()) post_(std::move(unwanted));
}

void ThreadRunner::drain() {
  MutexLock lock(mutex_);
  draining_ = true;
}

// Into the slot before the queue's lock is given up: at no time is a claimed task in neither.
bool ThreadRunner::take(Slot& slot) {
  MutexLock lock(mutex_);
  work_.wait(lock, [this]() OPSCORE_REQUIRES(mutex_) { return ending_ || !queue_.empty(); });
  if (ending_) return false;
  slot.current = std::move(queue_.front());
  queue_.pop_front();
  ++busy_;
  const ClaimedTask& task = slot.current->task;
  MutexLock slot_lock(slot.mutex);
  if (slot.stop.stop_requested()) slot.stop = std::stop_source();
  slot.lease = task.lease();
  slot.stopping = Stopping::no;
  slot.abandoned = false;
  slot.stop_grace = slot.current->actor->stop_grace;
  slot.started_at = clock_.now();
  slot.timeout = attempt_timeout(task.options, slot.started_at);
  slot.began = clock_.steady();
  slot.stop_at = slot.began + slot.timeout;
  return true;
}

void ThreadRunner::run_slot(size_t index) {
  name_thread(fmt::format("slot-{}", index));
  if (options_.on_slot_thread) options_.on_slot_thread(index);
  while (take(*slots_[index])) run_one(index);
}

void ThreadRunner::run_one(size_t index) {
  Slot& slot = *slots_[index];
  Waiting& waiting = *slot.current;
  const ClaimedTask& task = waiting.task;
  const Duration timeout = slot.timeout;
  TimePoint started_at;
  SteadyPoint began;
  std::stop_token stop;
  {
    MutexLock lock(slot.mutex);
    started_at = slot.started_at;
    began = slot.began;
    stop = slot.stop.get_token();
  }
  if (timeout < kWatchIdle) watch_.wake();
  if (options_.page)
    options_.page->enter({.key = task.key.value,
                          .attempt = task.live.attempt,
                          .slot = static_cast<int32_t>(index),
                          .started_at = started_at});
  SlotContext context({task, store_, clock_, log_, stop, Deadline::at(began + timeout),
                       slot.progress, [this] { progress_wake_(); }});
  Outcome outcome = call(waiting, context);
  if (options_.page) options_.page->leave(index);

  Stopping why;
  bool was_abandoned;
  {
    MutexLock lock(slot.mutex);
    why = slot.stopping;
    was_abandoned = slot.abandoned;
    slot.lease.reset();
    slot.progress.take();
  }
  TimePoint ended_at = clock_.now();
  // Before left(): one abandoned slot too many would make idle() overlook a busy one.
  if (was_abandoned) abandoned_.fetch_sub(1);
  const SteadyPoint ended = clock_.steady();
  left(waiting, ended - began);
  waiting.actor.reset();  // it may be the last that holds on to actors that were replaced
  if (was_abandoned) {
    log_.warn("slot {}: the actor of {} returned after its slot was abandoned", index,
              store_.id_of(task));
  } else if (why != Stopping::session_lost) {
    outcome = settle(task, std::move(outcome), why, options_.result_bytes_max);
    outcome.notices = context.take_notices();
    std::vector<Finished> finished;
    finished.push_back(
        {std::move(waiting.task), std::move(outcome), started_at, ended_at, began, ended});
    post_(std::move(finished));
  }
  if (options_.on_room) options_.on_room();
}

Outcome ThreadRunner::call(const Waiting& waiting, SlotContext& context) {
  try {
    if (auto refused = input_refused(waiting.task, waiting.actor->entry)) return *refused;
    return waiting.actor->actor->run(context);
  } catch (const JournalMismatch& mismatch) {
    return Outcome::fail({error_kind::kJournalMismatch, mismatch.what(), {}}, false);
  } catch (const Error& error) {
    return Outcome::fail(words_of(error), error.retryable());
  } catch (const std::exception& error) {
    return Outcome::fail(words_of(error));
  } catch (...) {
    return Outcome::fail({error_kind::kActorError, "threw something that is not an exception", {}});
  }
}

void ThreadRunner::left(const Waiting& waiting, std::chrono::nanoseconds took) {
  if (waiting.task.type != kCanaryType) pace_.took(took);  // which says nothing about actors
  MutexLock lock(mutex_);
  --busy_;
  if (waiting.task.live.suspect) --suspects_;
  if (ending_ && busy_ == 0) idle_.notify_all();
}

void ThreadRunner::ask_to_stop(Slot& slot, Stopping why) {
  slot.stopping = why;
  slot.stop_at = clock_.steady() + slot.stop_grace;
  slot.stop.request_stop();
}

void ThreadRunner::stop(const Lease& lease, StopReason reason) {
  const Stopping why = stopping_for(reason);
  std::vector<Finished> unstarted;
  {
    MutexLock lock(mutex_);
    auto found = std::find_if(queue_.begin(), queue_.end(),
                              [&](const Waiting& w) { return w.task.lease() == lease; });
    if (found != queue_.end()) {
      if (found->task.live.suspect) --suspects_;
      if (why != Stopping::session_lost) {
        Outcome outcome = stopped_outcome(found->task, why, {});
        unstarted.push_back({std::move(found->task), std::move(outcome), {}, clock_.now()});
      }
      queue_.erase(found);
    }
  }
  if (!unstarted.empty()) return post_(std::move(unstarted));
  for (auto& slot : slots_) {
    MutexLock lock(slot->mutex);
    if (slot->lease == lease && slot->stopping == Stopping::no) ask_to_stop(*slot, why);
  }
}

void ThreadRunner::stop_all(StopReason reason) {
  std::vector<Lease> leases;
  {
    MutexLock lock(mutex_);
    for (const Waiting& waiting : queue_) leases.push_back(waiting.task.lease());
  }
  for (auto& slot : slots_) {
    MutexLock lock(slot->mutex);
    if (slot->lease) leases.push_back(*slot->lease);
  }
  for (const Lease& lease : leases) stop(lease, reason);
}

size_t ThreadRunner::hand_back_unstarted(Duration age) {
  std::vector<Lease> leases;
  {
    MutexLock lock(mutex_);
    SteadyPoint now = clock_.steady();
    for (const Waiting& waiting : queue_)
      if (now - waiting.since >= age) leases.push_back(waiting.task.lease());
  }
  for (const Lease& lease : leases) stop(lease, StopReason::drain);
  return leases.size();
}

std::shared_ptr<const std::vector<std::string>> ThreadRunner::types() const {
  MutexLock lock(mutex_);
  return types_;
}

// Counted when it is asked for: only actors with a limit pay for it.
std::vector<ClaimRequest::Room> ThreadRunner::room() const {
  MutexLock lock(mutex_);
  if (limits_.when_idle().empty()) return {};
  TypeLimits::Left left(limits_.when_idle());
  for (const Waiting& waiting : queue_) left.take(waiting.actor->entry.type);
  for (const auto& slot : slots_) {
    MutexLock slot_lock(slot->mutex);
    if (slot->lease) left.take(slot->current->actor->entry.type);
  }
  return std::move(left.rooms);
}

bool ThreadRunner::holds(const Lease& lease) const {
  {
    MutexLock lock(mutex_);
    for (const Waiting& waiting : queue_)
      if (waiting.task.lease() == lease) return true;
  }
  for (const auto& slot : slots_) {
    MutexLock lock(slot->mutex);
    if (slot->lease == lease) return true;
  }
  return false;
}

size_t ThreadRunner::free() const {
  MutexLock lock(mutex_);
  size_t taken = busy_ + queue_.size();
  return slots_.size() - std::min(slots_.size(), taken);
}

// Each slot by itself: its neighbours may be fast.
size_t ThreadRunner::appetite(Duration ahead) const {
  double in_time = 0;
  if (pace_.is_known()) {
    SteadyPoint now = clock_.steady();
    for (const auto& slot : slots_) {
      MutexLock lock(slot->mutex);
      in_time += pace_.in_time(ahead, slot->lease ? now - slot->began : SteadyPoint::duration(0));
    }
  }
  size_t wanted = std::min(static_cast<size_t>(in_time), Pace::kAheadMax);
  size_t waiting;
  {
    MutexLock lock(mutex_);
    waiting = queue_.size();
  }
  return std::max(free(), wanted - std::min(wanted, waiting));
}

bool ThreadRunner::idle() const {
  MutexLock lock(mutex_);
  return busy_ <= abandoned_.load() && queue_.empty();
}

size_t ThreadRunner::suspects() const {
  MutexLock lock(mutex_);
  return suspects_;
}

size_t ThreadRunner::abandoned() const {
  return abandoned_.load();
}

std::vector<ProgressUpdate> ThreadRunner::take_progress() {
  std::vector<ProgressUpdate> updates;
  for (auto& slot : slots_) {
    MutexLock lock(slot->mutex);
    if (!slot->lease) continue;
    if (auto progress = slot->progress.take()) updates.push_back({*slot->lease, *progress});
  }
  return updates;
}

void ThreadRunner::fill(SessionReport& report) const {
  TimePoint now = clock_.now();
  SteadyPoint steady = clock_.steady();
  {
    MutexLock lock(mutex_);
    report.slots = static_cast<int>(slots_.size());
    report.busy = static_cast<int>(busy_);
    report.unstarted = static_cast<int>(queue_.size());
    if (!queue_.empty())
      report.oldest_unstarted_at =
          now - std::chrono::duration_cast<Duration>(steady - queue_.front().since);
  }
  report.abandoned = static_cast<int>(abandoned_.load());
  for (size_t i = 0; i < slots_.size(); ++i) {
    MutexLock lock(slots_[i]->mutex);
    if (slots_[i]->lease)
      report.running.push_back({slots_[i]->lease->key, slots_[i]->lease->attempt,
                                static_cast<int>(i), slots_[i]->started_at});
  }
}

void ThreadRunner::check_slot(Slot& slot, size_t index, SteadyPoint now,
                              std::vector<Finished>& lost) {
  MutexLock lock(slot.mutex);
  if (!slot.lease || slot.abandoned || now < slot.stop_at) return;
  if (slot.stopping == Stopping::no) return ask_to_stop(slot, Stopping::timeout);
  slot.abandoned = true;
  abandoned_.fetch_add(1);
  log_.error("slot {}: the actor of {} did not stop within {}; the slot is abandoned", index,
             store_.id_of(slot.current->task), to_text(slot.stop_grace));
  if (slot.stopping == Stopping::session_lost) return;
  Outcome outcome =
      stopped_outcome(slot.current->task, slot.stopping,
                      "the actor did not heed its stop token; its slot is lost until it returns");
  lost.push_back({slot.current->task, std::move(outcome), slot.started_at, clock_.now(), slot.began,
                  clock_.steady()});
}

Duration ThreadRunner::watch() {
  SteadyPoint now = clock_.steady();
  std::vector<Finished> lost;
  for (size_t i = 0; i < slots_.size(); ++i) check_slot(*slots_[i], i, now, lost);
  if (!lost.empty()) post_(std::move(lost));
  MutexLock lock(mutex_);
  return busy_ > 0 ? kWatchBusy : kWatchIdle;
}

}  // namespace opscore
