#pragma once
// The canary of a session: a task that goes the whole way of a task through this worker, store,
// broker (when there is one), intake, claim, slot and finish, before the worker says that it
// consumes. Its queue is the session's, and so is the queue of the broker that its hint travels in.
// Another one is sent when the session or the connection to the broker is another.
//
// One that does not arrive is said to be lost, with the place where it was seen last, and followed
// by another; work that can be taken is taken all the same. See docs/adr/0035.

#include <string>

#include "opscore/base/log.h"
#include "opscore/base/mutex.h"
#include "opscore/base/random.h"
#include "opscore/store/store.h"
#include "opscore/worker/hints.h"
#include "opscore/worker/runner.h"

namespace opscore {

class Canary {
 public:
  // `hints`: null without a broker. All must outlive it.
  Canary(Store& store, Runner& runner, const Clock& clock, Random& random, Log& log, Hints* hints);

  // Sends it, or takes it one step further; true when there is something new to report. For the
  // intake's thread; throws nothing.
  bool step(SessionId session);
  // It is under way and can be at its next step at any moment: step() should be called soon.
  bool is_flying() const { return stage_ != Stage::resting && state_ == State::flying; }
  // Nothing is known that keeps tasks from getting through this session.
  bool proves() const { return proves_; }
  // The session ends: nothing of it stays behind.
  void withdraw();

  // From the finisher: the end of a canary was written, or could not be.
  void ended(const ClaimedTask& task, const Outcome& outcome, Applied applied);
  SessionReport::Canary report() const;  // any thread

 private:
  enum class Stage : uint8_t { resting, sent, claimed };
  // What reports say; the words of model/fleet.h.
  enum class State : uint8_t { none, flying, arrived, busy, skipped, lost };
  void begin(SessionId session);
  void send();
  void claim();
  void leave_to_its_owner(const ClaimedTask& task);
  void finish();
  void busy();
  void lost(const std::string& why);
  void say(State state, std::string words);

  Store& store_;
  Runner& runner_;
  const Clock& clock_;
  Random& random_;
  Log& log_;
  Hints* const hints_;

  // Of the intake's thread.
  Stage stage_ = Stage::resting;
  State state_ = State::none;
  SessionId session_;
  uint64_t connection_ = 0;  // of the hints, that it was sent over
  bool proves_ = false;
  bool has_news_ = false;
  std::string queue_;
  TaskKey key_;
  bool delivered_ = false;  // its hint, by the broker
  SteadyPoint sent_at_{};
  SteadyPoint again_at_{};     // the next one is not sent before
  SteadyPoint complain_at_{};  // nor is it complained of before

  mutable Mutex mutex_;
  SessionReport::Canary report_ OPSCORE_GUARDED_BY(mutex_);
  TaskKey ended_key_ OPSCORE_GUARDED_BY(mutex_);  // what the finisher has told of
  std::string end_problem_ OPSCORE_GUARDED_BY(mutex_);
};

}  // namespace opscore
