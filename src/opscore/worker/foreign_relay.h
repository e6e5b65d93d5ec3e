#pragma once
// Publishes what is due on Dramatiq's queues: tasks that Python runs, callbacks, next stages and
// dead messages of adopted tasks, parked messages. Before that it tells the results backend what
// producers and groups wait for. A row stays until backend and broker have taken all that it stands
// for, so a crash costs repeated messages at most, with the same ids. A paused queue gets no tasks.
//
// What follows from messages that came over HTTP needs no RabbitMQ: it becomes tasks here, and only
// what is for actors that opscore does not know is published, where there is a broker.

#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/base/thread.h"
#include "opscore/broker/foreign_broker.h"
#include "opscore/broker/results_backend.h"
#include "opscore/engine/adoption.h"
#include "opscore/engine/service.h"
#include "opscore/model/handover.h"

namespace opscore {

struct ForeignRelayOptions {
  std::function<bool()> leads;        // whether this process is the one that publishes
  ResultsBackend* results = nullptr;  // null: none is configured; its calls are the relay's alone
  Duration keep_results = kKeepResults;
};

class ForeignRelay {
 public:
  // All must outlive it. Without a broker, which is null then, all that needs one waits.
  ForeignRelay(Service& service, ForeignBroker* broker, const Clock& clock, Log& log,
               Metrics& metrics, ForeignRelayOptions options);

  void start() { loop_.start(); }
  void stop() { loop_.stop(); }
  // One round; how long until the next. For the loop and tests.
  Duration step();

 private:
  struct Sending;
  std::vector<OutboxRow> due();
  void look_at_pauses();
  Sending compose(OutboxRow row);
  void compose_handover(const Handover& handover, Sending& sending);
  void compose_ends(Sending& sending);
  void tell_results(std::vector<Sending>& sendings);
  void keep_here(std::vector<Sending>& sendings);
  void make_tasks(Sending& sending);
  bool publish(std::vector<Sending>& sendings);
  bool keep_unsent(std::vector<Sending>& sendings);
  void settle(const std::vector<Sending>& sendings);

  Service& service_;
  ForeignBroker* const broker_;
  const Clock& clock_;
  Log& log_;
  const ForeignRelayOptions options_;
  Counter& published_;
  Counter& told_results_;
  bool complained_ = false;
  bool complained_of_results_ = false;
  std::vector<std::string> refused_;  // queues that the broker refuses, until then:
  SteadyPoint ask_refused_at_{};
  std::vector<std::string> without_results_;  // destinations that wait for the backend, until then:
  SteadyPoint ask_results_at_{};
  std::vector<std::string> paused_;  // destinations, as of the last look
  SteadyPoint look_at_{};
  Loop loop_;
};

}  // namespace opscore
