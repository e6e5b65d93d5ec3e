#include "opscore/worker/hint_relay.h"

#include <algorithm>
#include <charconv>

#include "opscore/model/canary.h"
#include "opscore/model/limits.h"
#include "opscore/worker/intake.h"

namespace opscore {
namespace {

constexpr Duration kWaitMax{1000};
constexpr Duration kLookAtSessionsEvery{1000};
// A queue that the broker refuses waits for an operator, or is silent for a while; workers find its
// tasks by looking.
constexpr Duration kAskRefusedEvery{3'000};
constexpr Duration kAnnounceAgain{1000};
constexpr Duration kCountEvery{2500};
constexpr Duration kForgottenAfter{10'000};
constexpr size_t kRows = 1000;
constexpr size_t kTasksOfAHint = 1000;

bool has_room(const Session& worker) {
  return worker.report.busy + worker.report.abandoned < worker.report.slots;
}

bool serves(const Session& worker, const std::string& queue) {
  const auto& queues = worker.report.queues;
  return std::any_of(queues.begin(), queues.end(),
                     [&](const std::string& name) { return name == "*" || name == queue; });
}

}  // namespace

HintRelay::HintRelay(Store& store, Broker& broker, const Clock& clock, Log& log, Metrics& metrics,
                     HintRelayOptions options)
    : store_(store),
      broker_(broker),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      announced_(metrics.counter("opscore_hints_announced_total",
                                 "Hints announced because tasks became due.")),
      forgotten_(metrics.counter("opscore_hints_repeated_total",
                                 "Hints announced because due tasks seemed forgotten.")),
      loop_("hints", log, [this](std::stop_token) { return tick(); }) {}

void HintRelay::stop() {
  store_.changes().interrupt();
  loop_.stop();
}

Duration HintRelay::tick() {
  Duration wait = step();
  if (!options_.leads()) return wait;
  // News from before the step may have come too late for it.
  position_ =
      store_.changes().wait(position_, Changes::Interest::work, Deadline::after(wait)).position;
  return Duration(0);
}

Duration HintRelay::step() {
  if (!options_.leads()) {
    queues_.clear();
    return kWaitMax;
  }
  if (clock_.steady() >= look_at_) look_at_sessions();
  if (relay()) return Duration(0);
  if (clock_.steady() >= count_at_) announce_forgotten();
  return kWaitMax;
}

void HintRelay::look_at_sessions() {
  workers_ = store_.fleet().sessions(Duration(0));
  std::erase_if(workers_, [](const Session& session) {
    return session.ended_at || !session.report.takes_work() || session.report.slots == 0;
  });
  look_at_ = clock_.steady() + kLookAtSessionsEvery;
}

// True when there may be more at once.
bool HintRelay::relay() {
  if (clock_.steady() < announce_at_) return false;
  if (clock_.steady() >= ask_refused_at_) refused_.clear();
  auto rows = store_.outbox().due(OutboxRow::Kind::token, kRows, refused_);
  auto hints = hints_for(rows);
  if (rows.empty() || (!hints.empty() && !announce(hints))) return false;
  announced_.add(static_cast<double>(hints.size()));
  std::vector<int64_t> delivered;
  for (const OutboxRow& row : rows)
    if (std::find(refused_.begin(), refused_.end(), row.destination) == refused_.end())
      delivered.push_back(row.id);
  if (!delivered.empty()) store_.outbox().settle(delivered);
  return rows.size() == kRows;
}

// Of each queue as many as there are workers to share them, no hint for more than they can claim
// at once: one when it is quiet, a few for thousands of tasks when it is not.
std::vector<Hint> HintRelay::hints_for(const std::vector<OutboxRow>& rows) const {
  std::map<std::string, size_t> due;
  for (const OutboxRow& row : rows) {
    if (is_canary_queue(row.destination)) continue;  // its session hints at it
    size_t tasks = 1;
    std::from_chars(row.body.data(), row.body.data() + row.body.size(), tasks);
    due[row.destination] += tasks;
  }
  std::vector<Hint> hints;
  for (auto [queue, tasks] : due) {
    auto sharing = static_cast<size_t>(
        std::count_if(workers_.begin(), workers_.end(),
                      [&](const Session& worker) { return serves(worker, queue); }));
    size_t part = std::clamp<size_t>(tasks / std::max<size_t>(1, sharing), 1, kTasksOfAHint);
    for (; tasks > 0; tasks -= std::min(part, tasks))
      hints.push_back({queue, std::min(part, tasks)});
  }
  return hints;
}

// False when the broker does not take them: confirmed, or the rows stay.
bool HintRelay::announce(const std::vector<Hint>& hints) {
  try {
    auto refusals = broker_.announce(hints);
    for (const Refusal& refusal : refusals) refused_.push_back(refusal.queue);
    if (!refusals.empty()) {
      ask_refused_at_ = clock_.steady() + kAskRefusedEvery;
      have_workers_look();
    }
    if (std::exchange(complained_, false)) log_.info("hints are announced again");
    return true;
  } catch (const Error& error) {
    if (error.code() != Errc::unavailable) throw;
    if (!std::exchange(complained_, true))
      log_.warn("hints cannot be announced, having workers look for work meanwhile: {}",
                error.what());
  }
  announce_at_ = clock_.steady() + kAnnounceAgain;
  have_workers_look();
  return false;
}

void HintRelay::have_workers_look() {
  for (const Session& worker : workers_) store_.fleet().command(worker.id, kLookCommand);
}

// A queue with due tasks from which nothing is taken although a worker has room: its hints were
// lost, purged, or eaten by somebody who died.
void HintRelay::announce_forgotten() {
  SteadyPoint now = clock_.steady();
  count_at_ = now + kCountEvery;
  if (!std::any_of(workers_.begin(), workers_.end(), has_room)) return queues_.clear();
  std::vector<Hint> hints;
  for (const QueueStats& stats : store_.reader().queues()) {
    Queue& queue = queues_.try_emplace(stats.name, 0, now).first->second;
    int64_t taken = stats.running + stats.completed + stats.dead + stats.cancelled;
    bool needed = stats.oldest_pending_at && !stats.paused &&
                  std::any_of(workers_.begin(), workers_.end(), [&](const Session& worker) {
                    return has_room(worker) && serves(worker, stats.name);
                  });
    if (taken > queue.taken || !needed) queue.since = now;
    queue.taken = taken;
    if (now - queue.since < kForgottenAfter) continue;
    queue.since = now;
    hints.push_back({stats.name, std::min(static_cast<size_t>(stats.pending), kTasksOfAHint)});
  }
  if (hints.empty() || !announce(hints)) return;
  forgotten_.add(static_cast<double>(hints.size()));
  for (const Hint& hint : hints)
    log_.info(
        "queue {} has {} due tasks, a worker has room, and nothing was claimed for {}: "
        "announced again",
        hint.queue, hint.tasks, to_text(kForgottenAfter));
}

}  // namespace opscore
