#pragma once
// What the leader does about tasks that Python runs and that nobody has reported for long: looks
// whether RabbitMQ still has their messages, and ends those whose message is gone. A task is never
// given up on a guess: what cannot be seen may be there.

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/base/thread.h"
#include "opscore/broker/foreign_broker.h"
#include "opscore/store/store.h"

namespace opscore {

struct ExternalWatchOptions {
  std::function<bool()> leads;  // whether this process is the one that watches
  // How many messages of a queue consumers hold, as RabbitMQ's management tells; nothing when
  // nobody can be asked. Throws Error when the one who can does not answer.
  std::function<std::optional<uint64_t>(const std::string& queue)> unanswered =
      [](const std::string&) { return std::nullopt; };
};

class ExternalWatch {
 public:
  // All must outlive it.
  ExternalWatch(Store& store, ForeignBroker& broker, const Clock& clock, Log& log, Metrics& metrics,
                ExternalWatchOptions options);

  void start() { loop_.start(); }
  void stop() { loop_.stop(); }
  // One round; how long until the next. For the loop and tests.
  Duration step();

 private:
  // What was seen of Q, Q.DQ and Q.XQ.
  struct Sight {
    std::set<std::string> present;            // message ids
    std::map<std::string, std::string> dead;  // message id -> why
    bool complete = true;                     // what is not present is not there
  };
  Sight look(const std::string& queue);
  bool holds_nothing(const std::string& queue);
  bool walk(const std::string& queue, const std::function<void(const WalkedMessage&)>& see);
  void judge(const Task& task, const Sight& sight);
  void give_up(const Task& task, const std::string& words);

  Store& store_;
  ForeignBroker& broker_;
  const Clock& clock_;
  Log& log_;
  const ExternalWatchOptions options_;
  Counter& unknown_;
  std::set<Lease> gone_;       // seen to be gone in the last round
  std::set<Lease> gone_next_;  // and in this one
  Loop loop_;
};

}  // namespace opscore
