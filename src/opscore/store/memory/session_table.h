#pragma once
// The sessions, their commands, the catalogue and the leader of the memory store. Not thread-safe:
// it lives under the store's mutex.

#include <map>
#include <string>
#include <vector>

#include "opscore/model/fleet.h"

namespace opscore {

class SessionTable {
 public:
  SessionId open(const std::string& name, const std::string& context, TimePoint now);
  // Known and not ended.
  bool alive(SessionId id) const;
  // False when it was not alive.
  bool end(SessionId id, const std::string& last_words, TimePoint now);
  // False when it is not alive.
  bool renew(SessionId id, const SessionReport& report, TimePoint now);
  std::vector<Session> list(Duration ended_within, TimePoint now) const;
  // False when it is not alive.
  bool command(SessionId id, const std::string& command);
  std::vector<std::string> take_commands(SessionId id);
  // Ignored of a session that is unknown.
  void describe(SessionId id, const std::string& context);
  std::string context(SessionId id) const;
  // A leader that has not asked for a TTL is deposed by the next session that does.
  bool lead(SessionId id, SteadyPoint now);
  void announce(const std::vector<CatalogueEntry>& entries, TimePoint now);
  std::vector<CatalogueEntry> catalogue() const;

 private:
  std::map<SessionId, Session> sessions_;
  std::map<SessionId, std::string> contexts_;
  std::map<SessionId, std::vector<std::string>> commands_;
  std::map<std::string, CatalogueEntry> catalogue_;
  SessionId leader_;
  SteadyPoint led_at_{};  // when the leader last asked
};

}  // namespace opscore
