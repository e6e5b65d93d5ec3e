#include "opscore/store/memory/memory_state.h"

namespace opscore {

SessionId MemoryFleet::open_session(const std::string& name, const std::string& context) {
  MutexLock lock(state_.mutex);
  return state_.sessions.open(name, context, state_.clock.now());
}

RenewReply MemoryFleet::renew(SessionId session, const SessionReport& report) {
  MutexLock lock(state_.mutex);
  RenewReply reply;
  reply.lost = !state_.sessions.renew(session, report, state_.clock.now());
  if (reply.lost) return reply;
  Effects effects;
  for (const auto& running : report.running) {
    TaskRow* row = state_.tasks.find_running({running.key, running.attempt});
    if (!row || row->live.session != session || row->live.started_at != TimePoint{}) continue;
    row->live.started_at = running.started_at;
    effects.change.tasks.push_back(row->key);
  }
  for (TaskKey key : state_.tasks.held_by(session)) {
    const Live& live = state_.tasks.find(key)->live;
    if (live.cancel_requested) reply.cancels.push_back({key, live.attempt});
  }
  reply.commands = state_.sessions.take_commands(session);
  reply.actor_concurrency = state_.settings.actor_concurrency;
  state_.commit(std::move(effects));
  return reply;
}

std::vector<Session> MemoryFleet::sessions(Duration ended_within) {
  MutexLock lock(state_.mutex);
  return state_.sessions.list(ended_within, state_.clock.now());
}

void MemoryFleet::extend(std::span<const Lease> leases, TimePoint until) {
  MutexLock lock(state_.mutex);
  for (const Lease& lease : leases) {
    TaskRow* row = state_.tasks.find(lease.key);
    if (row && !row->live.claimable() && row->live.attempt == lease.attempt)
      row->live.external_until = until;
  }
}

void MemoryFleet::command(SessionId session, const std::string& command) {
  MutexLock lock(state_.mutex);
  Effects effects;
  if (state_.sessions.command(session, command)) effects.change.sessions.push_back(session);
  state_.commit(std::move(effects));
}

void MemoryFleet::announce_actors(const std::vector<CatalogueEntry>& entries) {
  MutexLock lock(state_.mutex);
  state_.sessions.announce(entries, state_.clock.now());
}

std::vector<CatalogueEntry> MemoryFleet::catalogue() {
  MutexLock lock(state_.mutex);
  auto entries = state_.sessions.catalogue();
  for (CatalogueEntry& entry : entries)
    if (auto chosen = state_.settings.actor_concurrency.find(entry.type);
        chosen != state_.settings.actor_concurrency.end())
      entry.chosen_concurrency = chosen->second;
  return entries;
}

void MemoryFleet::describe(SessionId session, const std::string& context) {
  MutexLock lock(state_.mutex);
  state_.sessions.describe(session, context);
}

std::string MemoryFleet::context(SessionId session) {
  MutexLock lock(state_.mutex);
  return state_.sessions.context(session);
}

bool MemoryFleet::lead(SessionId session) {
  MutexLock lock(state_.mutex);
  return state_.sessions.lead(session, state_.clock.steady());
}

}  // namespace opscore
