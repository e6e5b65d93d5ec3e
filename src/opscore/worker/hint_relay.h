#pragma once
// What the leader does for workers that have a broker: announces what the outbox says has become
// due, as soon as that is committed, and what seems forgotten. While the broker does not take
// hints, tells the workers to look for themselves. Every step is idempotent, and a hint too many
// costs a claim that brings nothing, so a deposed leader harms nothing.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/base/thread.h"
#include "opscore/broker/broker.h"
#include "opscore/store/store.h"

namespace opscore {

struct HintRelayOptions {
  std::function<bool()> leads;  // whether this process is the one that announces
};

class HintRelay {
 public:
  // All must outlive it.
  HintRelay(Store& store, Broker& broker, const Clock& clock, Log& log, Metrics& metrics,
            HintRelayOptions options);

  void start() { loop_.start(); }
  void stop();
  // One round; how long the caller may wait for news of the store. For the loop and the simulation.
  Duration step();

 private:
  struct Queue {
    int64_t taken = 0;  // tasks that were claimed, as far as the counts tell
    SteadyPoint since;  // when one was taken last, or had no need to be
  };
  Duration tick();
  bool relay();
  void look_at_sessions();
  void announce_forgotten();
  bool announce(const std::vector<Hint>& hints);
  void have_workers_look();
  std::vector<Hint> hints_for(const std::vector<OutboxRow>& rows) const;

  Store& store_;
  Broker& broker_;
  const Clock& clock_;
  Log& log_;
  const HintRelayOptions options_;
  Counter& announced_;
  Counter& forgotten_;
  uint64_t position_ = 0;         // in the change feed
  std::vector<Session> workers_;  // as of the last look
  SteadyPoint look_at_{};
  bool complained_ = false;
  SteadyPoint announce_at_{};         // while the broker takes no hints: not before this
  std::vector<std::string> refused_;  // queues that the broker refused, until then:
  SteadyPoint ask_refused_at_{};
  std::map<std::string, Queue> queues_;
  SteadyPoint count_at_{};
  Loop loop_;
};

}  // namespace opscore
