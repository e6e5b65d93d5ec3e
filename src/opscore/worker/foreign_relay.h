#pragma once
// What the leader does for the queues of Dramatiq: publishes what the outbox holds for them, and
// settles a row once RabbitMQ has confirmed it. A task that Python runs is handed over so: its
// message is made from the task when it is published. What was confirmed is never published again;
// a crash between the two, or a deposed leader, costs a second message with the same id at most.

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/base/thread.h"
#include "opscore/broker/foreign_broker.h"
#include "opscore/store/store.h"

namespace opscore {

struct ForeignRelayOptions {
  std::function<bool()> leads;  // whether this process is the one that publishes
};

class ForeignRelay {
 public:
  // All must outlive it.
  ForeignRelay(Store& store, ForeignBroker& broker, const Clock& clock, Log& log, Metrics& metrics,
               ForeignRelayOptions options);

  void start() { loop_.start(); }
  void stop() { loop_.stop(); }
  // One round; how long until the next. For the loop and tests.
  Duration step();

 private:
  // Rows that become messages, and those that need none any more.
  struct Batch {
    std::vector<const OutboxRow*> rows;
    std::vector<ForeignMessage> messages;
    std::vector<std::optional<OutboxTry>> tries;  // of handovers
    std::vector<int64_t> void_rows;
  };
  void look_at_pauses();
  std::vector<std::string> held_back();
  Batch prepare(const std::vector<OutboxRow>& rows);
  void add(Batch& batch, const OutboxRow& row);
  bool publish(const Batch& batch);
  void settle(const Batch& batch, const std::vector<bool>& taken);

  Store& store_;
  ForeignBroker& broker_;
  const Clock& clock_;
  Log& log_;
  const ForeignRelayOptions options_;
  Counter& published_;
  bool complained_ = false;
  std::set<std::string> refused_;  // queues, until then:
  SteadyPoint ask_refused_at_{};
  std::vector<std::string> paused_;  // as of the last look
  SteadyPoint look_at_{};
  Loop loop_;
};

}  // namespace opscore
