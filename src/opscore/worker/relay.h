#pragma once
// Delivers effects: calls the webhooks of tasks that have ended, each until its receiver has
// answered 2xx or it is given up. What is due is in the outbox and every try is recorded there, so
// a crash at any point costs a repeated call at most, with the same delivery id.
//
// The calls run on threads of the relay's own, and no receiver holds more than two of them: neither
// the other duties of maintenance nor other receivers wait for one that is slow.

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/base/mutex.h"
#include "opscore/base/thread.h"
#include "opscore/model/webhook.h"
#include "opscore/store/store.h"

namespace opscore {

struct WebhookCall {
  std::string delivery_id;  // the same for every try
  std::string task_id;
  const Task& task;  // as it ended; with its webhook
};

struct RelayOptions {
  std::function<bool()> leads;  // whether this process is the one that delivers
  // Blocks until the receiver has answered or it is clear that it will not; soon after a stop was
  // requested. Throws nothing but bugs.
  std::function<WebhookAnswer(const WebhookCall&, std::stop_token)> call;
  WebhookPolicy policy;
  size_t threads = 8;
};

class Relay {
 public:
  // All must outlive it.
  Relay(Store& store, const Clock& clock, Random& random, Log& log, Metrics& metrics,
        RelayOptions options);

  void start();
  // Breaks off what is under way; the next start does it again.
  void stop();
  // Delivers one row, if one is due; how long until the next look. For the loops and tests; safe to
  // call from several threads at once.
  Duration tick(std::stop_token stop);

 private:
  std::optional<OutboxRow> take();
  void refill() OPSCORE_REQUIRES(mutex_);
  void release(const OutboxRow& row);
  void deliver(const OutboxRow& row, std::stop_token stop);
  void record(const OutboxTry& tried);

  Store& store_;
  const Clock& clock_;
  Random& random_;
  Log& log_;
  Metrics& metrics_;
  const RelayOptions options_;
  Histogram& seconds_;

  Mutex mutex_;
  std::deque<OutboxRow> due_ OPSCORE_GUARDED_BY(mutex_);  // seen due and not taken
  std::set<int64_t> taken_ OPSCORE_GUARDED_BY(mutex_);
  std::map<std::string, size_t> calls_ OPSCORE_GUARDED_BY(mutex_);  // under way, by receiver
  SteadyPoint look_at_ OPSCORE_GUARDED_BY(mutex_){};                // not before this
  std::deque<Loop> loops_;                                          // last, so that they end first
};

}  // namespace opscore
