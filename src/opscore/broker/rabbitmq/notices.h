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
  void refused(const std::string& queue, const std::string& why) { refuse(queue, why, kAskAgain); }
  // It does not answer: asking again would hold up all others for as long as that takes to see.
  void silent(const std::string& queue, const std::string& name);
  void accepted(const std::string& queue);
  // It was refused a moment ago: not worth asking again yet.
  bool just_refused(const std::string& queue) const;
  // Why it was refused the last time; empty: it was not.
  std::string why_refused(const std::string& queue) const;
  std::vector<Refusal> refusals() const;

 private:
  // A refused queue costs a channel: ask again rarely, but notice when an operator has mended it.
  static constexpr std::chrono::seconds kAskAgain{5};
  static constexpr std::chrono::seconds kAskSilentAgain{60};
  struct Known {
    std::string why;
    SteadyPoint ask_again;
  };
  void refuse(const std::string& queue, const std::string& why, std::chrono::seconds ask_again);

  Log& log_;
  mutable Mutex mutex_;
  std::string blocked_ OPSCORE_GUARDED_BY(mutex_);
  std::map<std::string, Known> refused_ OPSCORE_GUARDED_BY(mutex_);
};

}  // namespace opscore
