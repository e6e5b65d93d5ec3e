#include "opscore/worker/maintenance.h"

#include <algorithm>

#include "opscore/engine/diagnosis.h"

namespace opscore {
namespace {

constexpr Duration kTickEvery{1000};
constexpr Duration kPruneEvery{10'000};
// Workers with a broker look for themselves long before: nobody needs to hear these any more.
constexpr Duration kHintsKept{600'000};
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
    led_at_ms_ = to_ms(clock_.now());
    if (size_t count = store_.tasks().expire(kStep)) expired_.add(static_cast<double>(count));
    rescue_lost_sessions();
    if (clock_.steady() >= prune_at_) prune();
    options_.audit();
    bool more = options_.bulk_work();
    Duration next = promote();
    return more ? Duration(0) : next;
  } catch (const Error&) {
    watch_.interrupted();
    throw;
  }
}

void Maintenance::report(SessionReport& report) const {
  if (int64_t led_at = led_at_ms_; led_at != 0) report.loops[kMaintenanceLoop] = from_ms(led_at);
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
  count += discard_old_hints();
  prune_at_ = clock_.steady() + (count > 0 ? Duration(100) : kPruneEvery);
}

// What a broker that is away, or was given up, has not taken.
size_t Maintenance::discard_old_hints() {
  std::vector<int64_t> old;
  for (const OutboxRow& row : store_.outbox().due(OutboxRow::Kind::token, kStep * 10))
    if (clock_.now() - row.not_before > kHintsKept) old.push_back(row.id);
  if (!old.empty()) store_.outbox().settle(old);
  return old.size();
}

}  // namespace opscore
