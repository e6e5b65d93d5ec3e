#include "sim_world.h"

#include <algorithm>

#include "opscore/base/json.h"
#include "opscore/model/error_kind.h"

namespace opscore::sim {

void SimRunner::start(std::vector<ClaimedTask> tasks) {
  for (ClaimedTask& task : tasks) waiting_.push_back({std::move(task), clock_.steady()});
}

SimRunner::Running SimRunner::enter(ClaimedTask task) {
  Running running{std::move(task), clock_.now(), {}, {}, false};
  const std::string& type = running.task.type;
  Duration length(random_.below(type == "slow" ? 4000 : 80));
  running.ends_at = clock_.steady() + length;
  std::string result = fmt::format("{}", running.task.live.attempt);
  if (type == "fatal")
    running.outcome = Outcome::fail({"boom", "fatal by design", {}}, false);
  else if (type == "flaky" && random_.below(3) != 0)
    running.outcome = Outcome::fail({"boom", "flaky by design", {}});
  else if (type == "snoozer" && random_.below(2) != 0)
    running.outcome = Outcome::snooze(Duration(1 + random_.below(500)));
  else
    running.outcome = Outcome::complete(result);
  running.crashes = type == "crasher" && random_.below(2) == 0;
  return running;
}

void SimRunner::post(ClaimedTask task, Outcome outcome, TimePoint started_at) {
  done.push_back({std::move(task), std::move(outcome), started_at, clock_.now()});
}

void SimRunner::step() {
  for (auto place = running_.begin(); place != running_.end();) {
    if (place->crashes || place->ends_at > clock_.steady()) {
      ++place;
      continue;
    }
    post(std::move(place->task), std::move(place->outcome), place->started_at);
    place = running_.erase(place);
  }
  while (!waiting_.empty() && running_.size() < slots_) {
    running_.push_back(enter(std::move(waiting_.front().task)));
    waiting_.erase(waiting_.begin());
  }
}

void SimRunner::stop(const Lease& lease, StopReason reason) {
  auto ended = [&](ClaimedTask& task, TimePoint started_at) {
    if (reason == StopReason::session_lost) return;
    Outcome outcome;
    outcome.kind =
        reason == StopReason::cancel ? Outcome::Kind::stopped : Outcome::Kind::handed_back;
    outcome.error = {error_kind::kCancelled, "stopped", {}};
    post(std::move(task), std::move(outcome), started_at);
  };
  for (auto& waiting : waiting_)
    if (waiting.task.lease() == lease) ended(waiting.task, TimePoint{});
  for (auto& running : running_)
    if (running.task.lease() == lease) ended(running.task, running.started_at);
  std::erase_if(waiting_, [&](const Waiting& w) { return w.task.lease() == lease; });
  std::erase_if(running_, [&](const Running& r) { return r.task.lease() == lease; });
}

void SimRunner::stop_all(StopReason reason) {
  std::vector<Lease> leases;
  for (const Running& running : running_) leases.push_back(running.task.lease());
  for (const Waiting& waiting : waiting_) leases.push_back(waiting.task.lease());
  for (const Lease& lease : leases) stop(lease, reason);
}

size_t SimRunner::hand_back_unstarted(Duration age) {
  std::vector<Lease> leases;
  for (const Waiting& waiting : waiting_)
    if (clock_.steady() - waiting.since >= age) leases.push_back(waiting.task.lease());
  for (const Lease& lease : leases) stop(lease, StopReason::drain);
  return leases.size();
}

bool SimRunner::holds(const Lease& lease) const {
  return std::any_of(waiting_.begin(), waiting_.end(),
                     [&](const Waiting& w) { return w.task.lease() == lease; }) ||
         std::any_of(running_.begin(), running_.end(),
                     [&](const Running& r) { return r.task.lease() == lease; });
}

size_t SimRunner::free() const {
  return slots_ - std::min(slots_, running_.size() + waiting_.size());
}

void SimRunner::fill(SessionReport& report) const {
  report.slots = static_cast<int>(slots_);
  report.busy = static_cast<int>(running_.size());
}

size_t SimRunner::suspects() const {
  size_t count = 0;
  for (const Running& running : running_) count += running.task.live.suspect;
  for (const Waiting& waiting : waiting_) count += waiting.task.live.suspect;
  return count;
}

std::map<Lease, TimePoint> SimRunner::entered() const {
  std::map<Lease, TimePoint> entered;
  for (const Running& running : running_) entered[running.task.lease()] = running.started_at;
  return entered;
}

std::optional<Lease> SimRunner::crashing() const {
  for (const Running& running : running_)
    if (running.crashes && running.ends_at <= clock_.steady()) return running.task.lease();
  return std::nullopt;
}

namespace {

IntakeOptions intake_options(SimWorker& worker, size_t number, const Clock& clock, Log& log) {
  IntakeOptions options;
  options.session_name = fmt::format("sim:{}", number);
  options.session_context = "{}";
  options.suspects = [&worker] { return worker.runner.suspects(); };
  options.on_lost = [&worker](SessionId session) {
    std::erase_if(worker.runner.done,
                  [&](const Finished& f) { return f.task.live.session == session; });
    worker.finisher.forget(session);
  };
  if (worker.broker)
    options.hints = &worker.hints.emplace(*worker.broker, clock, log, worker.metrics);
  return options;
}

}  // namespace

SimWorker::SimWorker(Store& store, std::unique_ptr<Broker> own_broker, const Clock& clock,
                     Random& random, Log& log, size_t number)
    : broker(std::move(own_broker)),
      runner(1 + number % 3, clock, random),
      finisher(store, clock, random, log, metrics),
      intake(store, runner, clock, random, log, intake_options(*this, number, clock, log)),
      maintenance(store, clock, log, metrics,
                  {.retention = {std::chrono::hours(1), std::chrono::hours(1), {}},
                   .session = [this] { return intake.session(); }}) {
  runner.eager_ = number % 2 == 0;
  if (broker)
    relay.emplace(store, *broker, clock, log, metrics,
                  HintRelayOptions{.leads = [this] { return maintenance.leads(); }});
}

void SimWorker::step() {
  runner.step();
  if (!runner.done.empty()) finisher.post(std::exchange(runner.done, {}));
  finisher.step();
  intake.step();
  maintenance.tick();
  if (relay) relay->step();
}

}  // namespace opscore::sim
