#pragma once
// The session of a process that takes no work, such as one of maintenance: it is seen among the
// others, may lead, and can be told to do something. Renewed, as every session, by the loop that
// does the work of its process.

#include <atomic>
#include <functional>
#include <string>

#include "opscore/base/log.h"
#include "opscore/store/store.h"

namespace opscore {

// Ends a session in good order: what it still holds goes back unrun. When the store does not
// answer, others find the session silent and end it.
void end_session(Store& store, Log& log, SessionId session, const std::string& last_words);

struct PresenceOptions {
  std::string session_name;               // "host:pid"
  std::string session_context;            // JSON
  std::function<std::string()> describe;  // where this process runs, in full: JSON
  std::function<void(SessionId)> on_session = [](SessionId) {};  // it was opened
  std::function<void(const std::string&)> on_command = [](const std::string&) {};
  std::function<void(SessionReport&)> complete = [](SessionReport&) {};  // what else to report
};

// One thread, but for id(). What it refers to must outlive it.
class Presence {
 public:
  Presence(Store& store, const Clock& clock, Log& log, PresenceOptions options);

  // Opens the session, and renews it when that is due: the session. `state` is what others see of
  // it. Throws what the store throws.
  SessionId keep(const std::string& state);
  // Ends the session; see end_session().
  void close(const std::string& last_words);
  SessionId id() const { return SessionId{id_.load()}; }

 private:
  Store& store_;
  const Clock& clock_;
  Log& log_;
  const PresenceOptions options_;
  std::atomic<int64_t> id_{0};
  bool described_ = false;
  std::string state_;  // as last reported
  SteadyPoint renew_at_{};
};

}  // namespace opscore
