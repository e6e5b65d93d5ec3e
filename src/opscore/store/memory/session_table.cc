#include "opscore/store/memory/session_table.h"

#include <utility>

#include "opscore/model/limits.h"

namespace opscore {

SessionId SessionTable::open(const std::string& name, const std::string& context, TimePoint now) {
  Session session;
  session.id = SessionId{static_cast<int64_t>(sessions_.size()) + 1};
  session.name = name;
  session.context = context;
  session.started_at = session.renewed_at = now;
  sessions_[session.id] = session;
  return session.id;
}

bool SessionTable::alive(SessionId id) const {
  auto found = sessions_.find(id);
  return found != sessions_.end() && !found->second.ended_at;
}

bool SessionTable::end(SessionId id, const std::string& last_words, TimePoint now) {
  if (!alive(id)) return false;
  sessions_[id].ended_at = now;
  sessions_[id].last_words = last_words;
  commands_.erase(id);
  if (leader_ == id) leader_ = SessionId{};
  return true;
}

bool SessionTable::renew(SessionId id, const SessionReport& report, TimePoint now) {
  if (!alive(id)) return false;
  Session& session = sessions_[id];
  session.renewed_at = now;
  ++session.renewals;
  session.report = report;
  return true;
}

std::vector<Session> SessionTable::list(Duration ended_within, TimePoint now) const {
  std::vector<Session> listed;
  for (auto it = sessions_.rbegin(); it != sessions_.rend(); ++it)
    if (!it->second.ended_at || now - *it->second.ended_at < ended_within)
      listed.push_back(it->second);
  return listed;
}

bool SessionTable::command(SessionId id, const std::string& command) {
  if (!alive(id)) return false;
  commands_[id].push_back(command);
  return true;
}

std::vector<std::string> SessionTable::take_commands(SessionId id) {
  return std::exchange(commands_[id], {});
}

void SessionTable::describe(SessionId id, const std::string& context) {
  if (sessions_.contains(id)) contexts_[id] = context;
}

std::string SessionTable::context(SessionId id) const {
  auto found = contexts_.find(id);
  return found == contexts_.end() ? std::string() : found->second;
}

bool SessionTable::lead(SessionId id, SteadyPoint now) {
  bool vacant = !leader_ || now - led_at_ > limits::kSessionTtl;
  if (vacant && alive(id)) leader_ = id;
  if (!leader_ || leader_ != id) return false;
  led_at_ = now;
  return true;
}

void SessionTable::announce(const std::vector<CatalogueEntry>& entries, TimePoint now) {
  for (const CatalogueEntry& entry : entries) {
    catalogue_[entry.type] = entry;
    catalogue_[entry.type].seen_at = now;
  }
}

std::vector<CatalogueEntry> SessionTable::catalogue() const {
  std::vector<CatalogueEntry> entries;
  for (const auto& [type, entry] : catalogue_) entries.push_back(entry);
  return entries;
}

}  // namespace opscore
