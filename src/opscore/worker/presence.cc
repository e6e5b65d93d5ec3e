#include "opscore/worker/presence.h"

#include "opscore/model/limits.h"

namespace opscore {

void end_session(Store& store, Log& log, SessionId session, const std::string& last_words) {
  LostSession ended;
  ended.session = session;
  ended.cause = LostSession::Cause::drained;
  ended.entered_known = true;  // nothing was left running
  ended.words = last_words;
  try {
    store.tasks().rescue(ended);
  } catch (const Error& error) {
    log.warn("session {} could not be ended: {}; it is when it was silent for {}", session.value,
             error.what(), to_text(limits::kSessionTtl));
  }
}

Presence::Presence(Store& store, const Clock& clock, Log& log, PresenceOptions options)
    : store_(store), clock_(clock), log_(log), options_(std::move(options)) {}

SessionId Presence::keep(const std::string& state) {
  if (!id()) {
    id_ = store_.fleet().open_session(options_.session_name, options_.session_context).value;
    renew_at_ = clock_.steady();
    described_ = false;
    log_.info("session {} opened", id().value);
    options_.on_session(id());
  }
  if (clock_.steady() < renew_at_ && state == state_) return id();
  if (options_.describe && !described_) {
    store_.fleet().describe(id(), options_.describe());
    described_ = true;
  }
  SessionReport report;
  report.state = state_ = state;
  options_.complete(report);
  RenewReply reply = store_.fleet().renew(id(), report);
  renew_at_ = clock_.steady() + limits::kRenewEvery;
  if (reply.lost) {
    log_.warn("session {} was ended by others: opening another", id().value);
    id_ = 0;
    return keep(state);
  }
  for (const std::string& command : reply.commands) options_.on_command(command);
  return id();
}

void Presence::close(const std::string& last_words) {
  if (id()) end_session(store_, log_, id(), last_words);
  id_ = 0;
}

}  // namespace opscore
