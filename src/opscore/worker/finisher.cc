#include "opscore/worker/finisher.h"

#include <algorithm>

#include "opscore/model/canary.h"
#include "opscore/model/decide.h"
#include "opscore/model/limits.h"

namespace opscore {
namespace {

constexpr size_t kKeptMax = 20'000;
constexpr auto kRefusedAgain = std::chrono::seconds(10);

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

bool failed(AttemptEnd end) {
  return end == AttemptEnd::error || end == AttemptEnd::fatal || end == AttemptEnd::timeout ||
         end == AttemptEnd::lost || end == AttemptEnd::crashed;
}

}  // namespace

// What is counted of the tasks of one type in one queue.
struct Finisher::TaskMetrics {
  TaskMetrics(Metrics& metrics, Labels of)
      : labels(std::move(of)),
        run(metrics.duration("opscore_attempt_duration_seconds", "How long attempts ran.", labels)),
        wait(metrics.duration("opscore_task_wait_seconds",
                              "From due (submitted, unless delayed) to the first start.", labels)) {
  }
  const Labels labels;
  Histogram& run;
  Histogram& wait;
  std::map<AttemptEnd, Counter*> ends;
  std::map<State, Counter*> states;
};

Finisher::Finisher(Store& store, const Clock& clock, Random& random, Log& log, Metrics& metrics)
    : store_(store),
      clock_(clock),
      random_(random),
      log_(log),
      metrics_(metrics),
      commit_(metrics.duration("opscore_finish_commit_duration_seconds",
                               "From the end of an actor to its outcome being on disk.")),
      loop_("finisher", log, [this](std::stop_token stop) { return tick(stop); }) {}

Finisher::~Finisher() {
  loop_.stop();
}

void Finisher::post(std::vector<Finished> finished) {
  MutexLock lock(mutex_);
  changed_.wait(lock, [this]() OPSCORE_REQUIRES(mutex_) { return posted_.size() < kKeptMax; });
  bool was_empty = posted_.empty();
  posted_.insert(posted_.end(), std::make_move_iterator(finished.begin()),
                 std::make_move_iterator(finished.end()));
  lock.unlock();
  if (was_empty) changed_.notify_all();
}

void Finisher::forget(SessionId session) {
  MutexLock lock(mutex_);
  for (auto* kept : {&posted_, &refused_})
    std::erase_if(*kept, [&](const Finished& f) { return f.task.live.session == session; });
}

bool Finisher::empty() const {
  MutexLock lock(mutex_);
  return posted_.empty() && !applying_ && refused_.empty();
}

void Finisher::take_batch() {
  if (!refused_.empty() && clock_.steady() >= again_at_) {
    batch_ = std::exchange(refused_, {});
  } else if (posted_.size() <= limits::kClaimBatch) {
    batch_.swap(posted_);
  } else {
    auto end = posted_.begin() + limits::kClaimBatch;
    batch_.assign(std::make_move_iterator(posted_.begin()), std::make_move_iterator(end));
    posted_.erase(posted_.begin(), end);
  }
  applying_ = !batch_.empty();
}

bool Finisher::step() {
  if (batch_.empty()) {
    MutexLock lock(mutex_);
    take_batch();
    if (batch_.empty()) return false;
  }
  try {
    apply(batch_);
  } catch (const Error& error) {
    if (error.retryable()) throw;
    apply_apart();
  }
  batch_.clear();
  {
    MutexLock lock(mutex_);
    applying_ = false;
  }
  changed_.notify_all();
  return true;
}

// One of the batch is at fault, and the others must not pay for it.
void Finisher::apply_apart() {
  while (!batch_.empty()) {
    const Finished& finished = batch_.back();
    try {
      apply({&finished, 1});
    } catch (const Error& error) {
      if (error.retryable()) throw;  // what is left stays in the batch
      log_.error("{} #{}: its outcome cannot be stored, and is kept to be tried again: {}",
                 store_.id_of(finished.task), finished.task.live.attempt, error.what());
      MutexLock lock(mutex_);
      again_at_ = clock_.steady() + kRefusedAgain;
      refused_.push_back(finished);
    }
    batch_.pop_back();
  }
}

void Finisher::apply(std::span<const Finished> batch) {
  std::vector<Plan> plans;
  std::vector<Decided> decided;
  plans.reserve(batch.size());
  decided.reserve(batch.size());
  for (const Finished& finished : batch) {
    plans.push_back(decide_finish(finished.task, finished.outcome, finished.started_at,
                                  finished.ended_at, random_));
    decided.push_back({*plans.back().ended, plans.back().next});
  }
  auto results = store_.tasks().apply(std::move(plans));
  for (size_t i = 0; i < results.size(); ++i)
    if (batch[i].task.type == kCanaryType)
      on_canary_(batch[i], results[i]);
    else if (results[i] != Applied::lease_lost)
      count(batch[i], decided[i]);
    else
      log_.warn("{} #{}: its lease was lost meanwhile; the outcome is dropped",
                store_.id_of(batch[i].task), batch[i].task.live.attempt);
}

// Looked up once for each label value; afterwards counting takes no lock that others take.
void Finisher::count(const Finished& finished, const Decided& decided) {
  const ClaimedTask& task = finished.task;
  auto& known = by_task_[{task.type, task.queue}];
  if (!known)
    known =
        std::make_unique<TaskMetrics>(metrics_, Labels{{"type", task.type}, {"queue", task.queue}});
  auto count_in = [&](auto& counters, auto value, const char* name, const char* help,
                      const char* label) {
    Counter*& counter = counters[value];
    if (!counter) {
      Labels labels = known->labels;
      labels[label] = to_string(value);
      counter = &metrics_.counter(name, help, labels);
    }
    counter->add();
  };
  count_in(known->ends, decided.end, "opscore_attempts_total", "Attempts that ended, by how.",
           "end");
  if (is_terminal(decided.next))
    count_in(known->states, decided.next, "opscore_worker_tasks_finished_total",
             "Tasks that a worker ran and brought to their end.", "state");
  if (const std::string& kind = finished.outcome.error.kind; failed(decided.end))
    metrics_
        .counter("opscore_attempt_failures_total", "Attempts that failed, by kind of error.",
                 {{"kind", kind.empty() ? "unknown" : kind}})
        .add();
  if (finished.started_at == TimePoint{}) return;
  known->run.observe(seconds(finished.left - finished.began));
  commit_.observe(seconds(clock_.steady() - finished.left));
  if (task.live.attempt == 1)
    known->wait.observe(std::max(0.0, seconds(finished.started_at - task.live.run_at)));
  if (log_.enabled(LogLevel::debug))
    log_.debug("{} #{} {}: {} in {} ms", store_.id_of(task), task.live.attempt, task.type,
               to_string(decided.end), (finished.ended_at - finished.started_at).count());
}

Duration Finisher::tick(std::stop_token stop) {
  if (step()) return Duration(0);
  MutexLock lock(mutex_);
  auto is_posted = [this]() OPSCORE_REQUIRES(mutex_) { return !posted_.empty(); };
  if (refused_.empty())
    changed_.wait(lock, stop, is_posted);
  else
    changed_.wait_until(lock, stop, again_at_, is_posted);
  return Duration(0);
}

bool Finisher::stop(Deadline deadline) {
  bool done;
  {
    MutexLock lock(mutex_);
    done = changed_.wait_until(lock, deadline.when(), [this]() OPSCORE_REQUIRES(mutex_) {
      return posted_.empty() && !applying_;
    }) && refused_.empty();
  }
  loop_.stop();
  return done;
}

}  // namespace opscore
