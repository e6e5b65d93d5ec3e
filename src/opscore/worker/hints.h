#pragma once
// A worker's side of the broker: for which queues it was told that there is work, which deliveries
// wait for an answer, and how to do without while the broker is away. Nothing of it survives a
// crash, and nothing has to: unanswered hints are delivered again, and the store knows what is due.
//
// For the intake's thread only. Nothing throws because the broker is away.

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/broker/broker.h"
#include "opscore/model/fleet.h"
#include "opscore/store/store.h"

namespace opscore {

class Hints {
 public:
  // All must outlive it.
  Hints(Broker& broker, const Clock& clock, Log& log, Metrics& metrics);

  // Takes hints for these queues from now on. False: the broker is away, and the caller has to find
  // work without; it is tried again after a second.
  bool listen(const std::vector<std::string>& queues);
  // Takes in what has been delivered; waits for that until the deadline.
  void receive(Deadline deadline);
  // No task can be taken: gives back what is not answered and takes in no more, so that others do;
  // unless that has lasted for less than `patience`. Keeps the connection alive.
  void rest(Duration patience);

  // How many tasks to claim from a queue now; 0: there is no reason to.
  size_t wanted(const std::string& queue) const;
  // How long to wait for hints at most.
  Duration wait() const;
  // What a claim has brought, durably: answers hints. `restricted`: it was to leave out some work.
  void claimed(const std::vector<ClaimRequest::FromQueue>& asked, const ClaimResult& result,
               bool restricted);
  // Has all queues claimed from, whatever was hinted.
  void look_everywhere();
  // Announces again, a second later, what hints stood for that could not be claimed here.
  void pass_on();

  // Sends a hint to this worker alone, by the connection that brings all others. Why that fails,
  // else nothing.
  std::optional<std::string> send_to_self(const Hint& hint);
  // A hint of this queue was delivered and is not answered.
  bool holds(const std::string& queue) const;
  // Answers those, since nothing is wanted of that queue any more.
  void dismiss(const std::string& queue);
  // Why no hints come; empty: they do.
  std::string problem() const;
  // Grows with every new connection that brings hints.
  uint64_t connection() const { return connection_; }

  SessionReport::Broker report() const;

 private:
  struct Held {
    uint64_t tag;
    size_t left;  // tasks that it stands for and that have not been claimed
    bool worked = false;
  };
  struct Queue {
    std::deque<Held> held;     // in delivery order
    bool look = false;         // there may be work that no hint in hand stands for
    SteadyPoint look_after{};  // but it could not be claimed a moment ago
    size_t pass_on = 0;        // tasks to tell others of
  };
  // False when the broker is away.
  template <class Call>
  bool attempt(Call call);
  void look_without_hints();
  static void look_at(Queue& queue);
  void answer(Queue& queue, size_t claimed, bool all, std::vector<uint64_t>& tags);
  void leave_to_others(Queue& queue, size_t tasks);

  Broker& broker_;
  const Clock& clock_;
  Log& log_;
  Counter& received_;
  Counter& stale_;
  Counter& passed_on_;
  Counter& empty_claims_;
  std::map<std::string, Queue> queues_;
  std::vector<std::string> listening_;  // empty while resting
  bool away_ = true;                    // nobody has listened yet
  uint64_t connection_ = 0;
  bool complained_ = false;
  SteadyPoint try_at_{};                    // while away: not before this
  std::optional<SteadyPoint> rests_since_;  // nothing can be taken since then
  SteadyPoint look_everywhere_at_{};
  SteadyPoint look_at_refused_at_{};
  int empty_claims_in_a_row_ = 0;
  SteadyPoint claim_at_{};  // not before this, after too many of them
  std::optional<SteadyPoint> pass_on_at_;
};

}  // namespace opscore
