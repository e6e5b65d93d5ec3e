#include "opscore/worker/maintenance.h"

#include <algorithm>
#include <charconv>

namespace opscore {
namespace {

constexpr Duration kTickEvery{1000};
constexpr Duration kPruneEvery{10'000};
// A queue that the broker refuses waits for an operator; workers find its tasks by polling.
constexpr Duration kAskRefusedEvery{10'000};
constexpr size_t kStep = 1000;

}  // namespace

std::vector<Session> SessionWatch::lost(const std::vector<Session>& sessions, SteadyPoint now) {
  std::vector<Session> lost;
  std::map<SessionId, Seen> seen;
  for (const Session& session : sessions) {
    if (session.ended_at) continue;
    auto before = seen_.find(session.id);
    bool moved = before == seen_.end() || before->second.renewals != session.renewals;
    Seen& mark = seen[session.id] = moved ? Seen{session.renewals, now} : before->second;
    if (now - mark.since >= ttl_) lost.push_back(session);
  }
  seen_ = std::move(seen);
  return lost;
}

Maintenance::Maintenance(Store& store, const Clock& clock, Log& log, Metrics& metrics,
                         MaintenanceOptions options)
    : store_(store),
      clock_(clock),
      log_(log),
      options_(std::move(options)),
      retention_(options_.retention),
      expired_(metrics.counter("opscore_tasks_expired_total", "Tasks failed by their deadline.")),
      rescued_(metrics.counter("opscore_attempts_rescued_total",
                               "Attempts taken back from lost sessions.")),
      pruned_(metrics.counter("opscore_tasks_pruned_total", "Finished tasks past retention.")),
      watch_(options_.session_ttl),
      loop_("maintenance", log, [this](std::stop_token) { return tick(); }) {}

Duration Maintenance::tick() {
  try {
    leads_ = store_.fleet().lead(options_.session());
    if (!leads_) return kTickEvery;
    if (size_t count = store_.tasks().expire(kStep)) expired_.add(static_cast<double>(count));
    rescue_lost_sessions();
    if (clock_.steady() >= prune_at_) prune();
    if (options_.broker) relay_outbox();
    bool more = options_.bulk_work();
    Duration next = promote();
    return more ? Duration(0) : next;
  } catch (const Error&) {
    watch_.interrupted();
    throw;
  }
}

Duration Maintenance::promote() {
  Promoted promoted = store_.tasks().promote(kStep);
  if (promoted.tasks == kStep) return Duration(0);
  if (!promoted.next_due_at) return kTickEvery;
  return std::clamp(*promoted.next_due_at - clock_.now(), Duration(1), kTickEvery);
}

void Maintenance::rescue_lost_sessions() {
  for (const Session& session :
       watch_.lost(store_.fleet().sessions(Duration(0)), clock_.steady())) {
    // This process runs, or it would not be here; its supervisor judges whether it is stuck.
    if (session.id == options_.session()) continue;
    LostSession lost;
    lost.session = session.id;
    lost.words = fmt::format("session {} ({}) has not renewed for {}", session.id.value,
                             session.name, to_text(options_.session_ttl));
    size_t count = store_.tasks().rescue(lost);
    rescued_.add(static_cast<double>(count));
    log_.warn("{}: ended it and gave back {} attempts", lost.words, count);
  }
}

void Maintenance::set_retention(Retention retention) {
  MutexLock lock(retention_mutex_);
  retention_ = std::move(retention);
}

void Maintenance::prune() {
  MutexLock lock(retention_mutex_);
  Retention retention = retention_;
  lock.unlock();
  size_t count = store_.tasks().prune(retention, kStep * 10);
  pruned_.add(static_cast<double>(count));
  // A backlog is worked off in steps, so that other writers get their turn in between.
  prune_at_ = clock_.steady() + (count > 0 ? Duration(100) : kPruneEvery);
}

void Maintenance::relay_outbox() {
  if (clock_.steady() >= ask_refused_at_) refused_.clear();
  auto rows = store_.outbox().due(OutboxRow::Kind::token, kStep, refused_);
  std::vector<Hint> hints;
  for (const OutboxRow& row : rows) {
    size_t tasks = 1;
    std::from_chars(row.body.data(), row.body.data() + row.body.size(), tasks);
    hints.push_back({row.destination, tasks});
  }
  if (hints.empty()) return;
  auto refusals = options_.broker->announce(hints);  // confirmed, or it throws and the rows stay
  for (const Refusal& refusal : refusals) refused_.push_back(refusal.queue);
  if (!refusals.empty()) ask_refused_at_ = clock_.steady() + kAskRefusedEvery;
  std::vector<int64_t> delivered;
  for (const OutboxRow& row : rows)
    if (std::find(refused_.begin(), refused_.end(), row.destination) == refused_.end())
      delivered.push_back(row.id);
  if (!delivered.empty()) store_.outbox().settle(delivered);
}

}  // namespace opscore
