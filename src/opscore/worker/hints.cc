#include "opscore/worker/hints.h"

#include <algorithm>

#include "opscore/model/limits.h"

namespace opscore {
namespace {

constexpr Duration kTryEvery{1000};
// So that the intake sees to its other duties.
constexpr Duration kWaitMax{100};
// Maintenance announces what was forgotten; this is for when it does not.
constexpr Duration kLookEverywhereEvery{15'000};
// Hints of these never come.
constexpr Duration kLookAtRefusedEvery{1000};
// Room for what could not be claimed comes without a hint.
constexpr Duration kLookAgain{50};
constexpr Duration kPassOnAfter{1000};
// A flood of stale hints: after so many claims that brought nothing, at most 50 a second.
constexpr int kEmptyClaimsFree = 20;
constexpr Duration kAfterEmptyClaim{20};
constexpr size_t kRefusedShown = 20;

}  // namespace

Hints::Hints(Broker& broker, const Clock& clock, Log& log, Metrics& metrics)
    : broker_(broker),
      clock_(clock),
      log_(log),
      received_(metrics.counter("opscore_hints_received_total", "Hints that the broker brought.")),
      stale_(metrics.counter("opscore_hints_stale_total",
                             "Hints for which no task was left to claim here.")),
      passed_on_(metrics.counter("opscore_hints_passed_on_total",
                                 "Hints announced again for tasks that could not be claimed.")),
      empty_claims_(metrics.counter("opscore_hints_empty_claims_total",
                                    "Claims made because of hints that brought nothing.")) {}

template <class Call>
bool Hints::attempt(Call call) {
  try {
    call();
    return true;
  } catch (const Error& error) {
    if (error.code() != Errc::unavailable) throw;
    if (!std::exchange(complained_, true))
      log_.warn("no hints from the broker, asking the store for work meanwhile: {}", error.what());
  }
  away_ = true;
  try_at_ = clock_.steady() + kTryEvery;
  for (auto& [name, queue] : queues_) queue.held.clear();  // they will be delivered again
  return false;
}

bool Hints::listen(const std::vector<std::string>& queues) {
  rests_since_.reset();
  if (away_ && clock_.steady() < try_at_) return false;
  if (away_ || queues != listening_) {
    if (!attempt([&] { broker_.subscribe(queues); })) return false;
    for (const std::string& name : queues)
      if (!queues_.contains(name)) look_at(queues_[name]);
    listening_ = queues;
    if (std::exchange(away_, false)) {
      ++connection_;
      look_everywhere();
    }
    if (std::exchange(complained_, false)) log_.info("the broker brings hints again");
  }
  look_without_hints();
  return true;
}

void Hints::look_without_hints() {
  SteadyPoint now = clock_.steady();
  if (now >= look_everywhere_at_) look_everywhere();
  if (now < look_at_refused_at_) return;
  look_at_refused_at_ = now + kLookAtRefusedEvery;
  for (const Refusal& refusal : broker_.state().refused)
    if (auto queue = queues_.find(refusal.queue); queue != queues_.end()) look_at(queue->second);
}

void Hints::look_everywhere() {
  look_everywhere_at_ = clock_.steady() + kLookEverywhereEvery;
  for (auto& [name, queue] : queues_) look_at(queue);
}

void Hints::look_at(Queue& queue) {
  queue.look = true;
  queue.look_after = SteadyPoint{};
}

void Hints::receive(Deadline deadline) {
  std::vector<Delivery> deliveries;
  if (!attempt([&] { deliveries = broker_.receive(deadline); })) return;
  received_.add(static_cast<double>(deliveries.size()));
  for (const Delivery& delivery : deliveries)
    queues_[delivery.hint.queue].held.push_back({delivery.tag, delivery.hint.tasks});
}

void Hints::rest(Duration patience) {
  if (!rests_since_) rests_since_ = clock_.steady();
  if (away_ || clock_.steady() - *rests_since_ < patience) return;
  if (listening_.empty()) return receive(Deadline::at({}));
  std::vector<uint64_t> unanswered;
  for (auto& [name, queue] : queues_) {
    for (const Held& held : queue.held) unanswered.push_back(held.tag);
    queue.held.clear();
  }
  // In this order, or they would come straight back.
  attempt([&] {
    broker_.subscribe({});
    listening_.clear();
    broker_.give_back(unanswered);
  });
}

size_t Hints::wanted(const std::string& name) const {
  auto found = queues_.find(name);
  if (found == queues_.end() || clock_.steady() < claim_at_) return 0;
  const Queue& queue = found->second;
  if (queue.look && clock_.steady() >= queue.look_after) return limits::kClaimBatch;
  size_t tasks = 0;
  for (const Held& held : queue.held) tasks += held.left;
  return std::min(tasks, limits::kClaimBatch);
}

Duration Hints::wait() const {
  SteadyPoint now = clock_.steady();
  SteadyPoint until = now + kWaitMax;
  if (claim_at_ > now) until = std::min(until, claim_at_);
  for (const auto& [name, queue] : queues_)
    if (queue.look) until = std::min(until, std::max(queue.look_after, now));
  return std::chrono::ceil<Duration>(until - now);
}

void Hints::claimed(const std::vector<ClaimRequest::FromQueue>& asked, const ClaimResult& result,
                    bool restricted) {
  std::map<std::string, size_t> got;
  for (const ClaimedTask& task : result.tasks) ++got[task.queue];
  // Whether there is more is known of the claim as a whole.
  bool any_full = std::any_of(asked.begin(), asked.end(),
                              [&](const auto& from) { return got[from.queue] >= from.max; });
  bool limited = restricted || (result.more && !any_full);
  std::vector<uint64_t> tags;
  for (const auto& from : asked) {
    Queue& queue = queues_[from.queue];
    bool all = got[from.queue] < from.max;  // nothing is left of it that could be claimed here
    bool hinted = !queue.held.empty();
    size_t left = 0;
    for (const Held& held : queue.held) left += held.left;
    answer(queue, got[from.queue], all, tags);
    queue.look = result.more || (all && limited);
    queue.look_after = all ? clock_.steady() + kLookAgain : SteadyPoint{};
    if (all && (limited || (hinted && !result.skipped_types.empty())))
      leave_to_others(queue, left - std::min(left, got[from.queue]));
  }
  empty_claims_in_a_row_ = result.tasks.empty() ? empty_claims_in_a_row_ + 1 : 0;
  if (result.tasks.empty()) empty_claims_.add();
  if (empty_claims_in_a_row_ > kEmptyClaimsFree) claim_at_ = clock_.steady() + kAfterEmptyClaim;
  if (!tags.empty()) attempt([&] { broker_.ack(tags); });
}

void Hints::answer(Queue& queue, size_t claimed, bool all, std::vector<uint64_t>& tags) {
  while (!queue.held.empty()) {
    Held& first = queue.held.front();
    size_t part = std::min(first.left, claimed);
    first.left -= part;
    first.worked |= part > 0;
    claimed -= part;
    if (first.left > 0 && !all) return;
    if (!first.worked) stale_.add();
    tags.push_back(first.tag);
    queue.held.pop_front();
  }
}

void Hints::leave_to_others(Queue& queue, size_t tasks) {
  queue.pass_on =
      std::clamp<size_t>(tasks, std::max<size_t>(1, queue.pass_on), limits::kClaimBatch);
  if (!pass_on_at_) pass_on_at_ = clock_.steady() + kPassOnAfter;
}

void Hints::pass_on() {
  if (!pass_on_at_ || clock_.steady() < *pass_on_at_) return;
  pass_on_at_ = clock_.steady() + kPassOnAfter;
  if (away_) return;
  std::vector<Hint> hints;
  for (const auto& [name, queue] : queues_)
    if (queue.pass_on > 0) hints.push_back({name, queue.pass_on});
  try {
    broker_.announce(hints);  // the tasks of a queue that it refuses are found without hints
  } catch (const Error& error) {
    if (error.code() != Errc::unavailable) throw;
    return;  // and try again; taking hints may go on while none can be given
  }
  passed_on_.add(static_cast<double>(hints.size()));
  pass_on_at_.reset();
  for (auto& [name, queue] : queues_) queue.pass_on = 0;
}

std::optional<std::string> Hints::send_to_self(const Hint& hint) {
  std::optional<std::string> refusal;
  if (!attempt([&] { refusal = broker_.send_to_self(hint); })) refusal = problem();
  return refusal;
}

bool Hints::holds(const std::string& name) const {
  auto found = queues_.find(name);
  return found != queues_.end() && !found->second.held.empty();
}

void Hints::dismiss(const std::string& name) {
  if (!holds(name)) return;
  std::vector<uint64_t> tags;
  for (const Held& held : queues_[name].held) tags.push_back(held.tag);
  queues_[name].held.clear();
  attempt([&] { broker_.ack(tags); });
}

std::string Hints::problem() const {
  if (!away_) return {};
  const std::string why = broker_.state().problem;
  return why.empty() ? "the broker has not answered yet" : why;
}

SessionReport::Broker Hints::report() const {
  BrokerState state = broker_.state();
  SessionReport::Broker report{state.where, state.problem, state.blocked, {}};
  for (const Refusal& refusal : state.refused)
    if (report.refused.size() < kRefusedShown) report.refused.emplace(refusal.queue, refusal.why);
  return report;
}

}  // namespace opscore
