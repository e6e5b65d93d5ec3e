#pragma once
// What RabbitMQ has told us and others may want to know: that it takes no messages, which queues it
// refuses. Safe for concurrent use.

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/mutex.h"
#include "opscore/base/time.h"
#include "opscore/broker/broker.h"

namespace opscore {

class Notices {
 public:
  explicit Notices(Log& log) : log_(log) {}

  void blocked(const std::string& reason);  // empty: no longer
  std::string blocked() const;
  void refused(const std::string& queue, const std::string& why);
  void accepted(const std::string& queue);
  // It was refused a moment ago: not worth asking again yet.
  bool just_refused(const std::string& queue) const;
  // Why it was refused the last time; empty: it was not.
  std::string why_refused(const std::string& queue) const;
  std::vector<Refusal> refusals() const;

 private:
  // A refused queue costs a channel: ask again rarely, but notice when an operator has mended it.
  static constexpr std::chrono::seconds kAskAgain{5};
  struct Known {
    std::string why;
    SteadyPoint ask_again;
  };

  Log& log_;
  mutable Mutex mutex_;
  std::string blocked_ OPSCORE_GUARDED_BY(mutex_);
  std::map<std::string, Known> refused_ OPSCORE_GUARDED_BY(mutex_);
};

}  // namespace opscore
