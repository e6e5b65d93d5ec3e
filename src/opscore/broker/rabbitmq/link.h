#pragma once
// Keeps one connection to RabbitMQ up: connects on a thread of its own, so that nobody waits for a
// server that is not there, tries the URLs in their order, and after a failure again with backoff
// and jitter.
//
// The thread only connects; the connection belongs to one user at a time, who calls get() and, when
// the connection throws, lost(). start() and stop() are idempotent; after stop() it stays down.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/mutex.h"
#include "opscore/base/random.h"
#include "opscore/base/thread.h"
#include "opscore/broker/rabbitmq/connection.h"

namespace opscore {

class Link {
 public:
  // `tend` runs on the link's thread while it is connected, and says how long until it wants to
  // again; null: nothing to do.
  using Tend = std::function<Duration()>;
  Link(std::vector<AmqpUrl> urls, ConnectionOptions options, Log& log, Random& random, Tend tend);
  ~Link();
  Link(const Link&) = delete;

  void start();
  void stop();
  // Waits while the first attempt since the last success is under way. Throws Error{unavailable}
  // when there is no connection by then, or at once when the server is known to be away.
  Connection& get(Deadline deadline);
  // Grows with each connection; what was said on an earlier one does not hold.
  uint64_t generation() const;
  // The connection has failed: closes it and connects again.
  void lost(const Error& why);

  struct View {
    std::string where;
    std::string problem;  // empty: connected, or nobody has asked for it yet
  };
  View view() const;

 private:
  Duration tick(std::stop_token stop);
  std::unique_ptr<Connection> connect(std::stop_token stop);
  void failed(const Error& why);

  const std::vector<AmqpUrl> urls_;
  const ConnectionOptions options_;
  Log& log_;
  Random& random_;
  const Tend tend_;

  mutable Mutex mutex_;
  ConditionVariable changed_;
  // What is behind the pointer belongs to its user.
  std::unique_ptr<Connection> connection_ OPSCORE_GUARDED_BY(mutex_);
  uint64_t generation_ OPSCORE_GUARDED_BY(mutex_) = 0;
  std::string problem_ OPSCORE_GUARDED_BY(mutex_);
  int failures_ OPSCORE_GUARDED_BY(mutex_) = 0;  // since the last success
  bool stopped_ OPSCORE_GUARDED_BY(mutex_) = false;
  SteadyPoint next_attempt_ OPSCORE_GUARDED_BY(mutex_){};

  Loop loop_;
};

}  // namespace opscore
