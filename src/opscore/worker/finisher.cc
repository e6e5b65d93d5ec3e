#include "opscore/worker/finisher.h"

#include <algorithm>

#include "opscore/model/decide.h"
#include "opscore/model/limits.h"

namespace opscore {
namespace {

constexpr size_t kKeptMax = 20'000;

double seconds(Duration duration) {
  return static_cast<double>(duration.count()) / 1000;
}

}  // namespace

struct Finisher::TypeMetrics {
  TypeMetrics(Metrics& metrics, const std::string& type)
      : run(metrics.duration("opscore_attempt_seconds", "How long attempts ran.",
                             {{"type", type}})),
        wait(metrics.duration("opscore_start_delay_seconds",
                              "From due to the start of the first attempt.", {{"type", type}})) {}
  Histogram& run;
  Histogram& wait;
  std::map<std::string, Counter*> ends;
};

Finisher::Finisher(Store& store, const Clock& clock, Random& random, Log& log, Metrics& metrics)
    : store_(store),
      clock_(clock),
      random_(random),
      log_(log),
      metrics_(metrics),
      loop_("finisher", log, [this](std::stop_token stop) { return tick(stop); }) {}

Finisher::~Finisher() {
  loop_.stop();
}

void Finisher::post(std::vector<Finished> finished) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return posted_.size() < kKeptMax; });
  bool was_empty = posted_.empty();
  posted_.insert(posted_.end(), std::make_move_iterator(finished.begin()),
                 std::make_move_iterator(finished.end()));
  lock.unlock();
  if (was_empty) changed_.notify_all();
}

void Finisher::forget(SessionId session) {
  std::lock_guard lock(mutex_);
  std::erase_if(posted_, [&](const Finished& f) { return f.task.live.session == session; });
}

bool Finisher::empty() const {
  std::lock_guard lock(mutex_);
  return posted_.empty() && !applying_;
}

bool Finisher::step() {
  if (batch_.empty()) {
    std::lock_guard lock(mutex_);
    if (posted_.empty()) return false;
    if (posted_.size() <= limits::kClaimBatch) {
      batch_.swap(posted_);
    } else {
      auto end = posted_.begin() + limits::kClaimBatch;
      batch_.assign(std::make_move_iterator(posted_.begin()), std::make_move_iterator(end));
      posted_.erase(posted_.begin(), end);
    }
    applying_ = true;
  }
  apply(batch_);
  batch_.clear();
  {
    std::lock_guard lock(mutex_);
    applying_ = false;
  }
  changed_.notify_all();
  return true;
}

void Finisher::apply(std::vector<Finished>& batch) {
  std::vector<Plan> plans;
  std::vector<std::optional<AttemptEnd>> ends;
  plans.reserve(batch.size());
  ends.reserve(batch.size());
  for (const Finished& finished : batch) {
    plans.push_back(decide_finish(finished.task, finished.outcome, finished.started_at,
                                  finished.ended_at, random_));
    ends.push_back(plans.back().ended);
  }
  auto results = store_.tasks().apply(std::move(plans));
  for (size_t i = 0; i < results.size(); ++i)
    if (results[i] != Applied::lease_lost)
      count(batch[i], *ends[i]);
    else
      log_.warn("{} #{}: its lease was lost meanwhile; the outcome is dropped",
                store_.id_of(batch[i].task), batch[i].task.live.attempt);
}

void Finisher::count(const Finished& finished, AttemptEnd how) {
  auto& slot = by_type_[finished.task.type];
  if (!slot) slot = std::make_unique<TypeMetrics>(metrics_, finished.task.type);
  std::string end(to_string(how));
  Counter*& counter = slot->ends[end];
  if (!counter)
    counter = &metrics_.counter("opscore_attempts_total", "Attempts that ended, by how.",
                                {{"type", finished.task.type}, {"end", end}});
  counter->add();
  if (finished.started_at == TimePoint{}) return;
  slot->run.observe(seconds(finished.ended_at - finished.started_at));
  if (finished.task.live.attempt == 1)
    slot->wait.observe(std::max(0.0, seconds(finished.started_at - finished.task.live.run_at)));
  if (log_.enabled(LogLevel::debug))
    log_.debug("{} #{} {}: {} in {} ms", store_.id_of(finished.task), finished.task.live.attempt,
               finished.task.type, end, (finished.ended_at - finished.started_at).count());
}

Duration Finisher::tick(std::stop_token stop) {
  if (step()) return Duration(0);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, stop, [this] { return !posted_.empty(); });
  return Duration(0);
}

bool Finisher::stop(Deadline deadline) {
  bool done;
  {
    std::unique_lock lock(mutex_);
    done = changed_.wait_until(lock, deadline.when(),
                               [this] { return posted_.empty() && !applying_; });
  }
  loop_.stop();
  return done;
}

}  // namespace opscore
