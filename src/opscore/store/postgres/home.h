#pragma once
// The one connection of this process that holds locks for as long as it lives: the node number that
// its keys carry, and leadership. It must go straight to the server, not through a pooler. When it
// is cut, the server gives both away; this process notices at its next look. Safe for concurrent
// use.

#include <memory>

#include "opscore/base/log.h"
#include "opscore/base/mutex.h"
#include "opscore/base/random.h"
#include "opscore/base/task_key.h"
#include "opscore/store/postgres/connection.h"

namespace opscore::postgres {

class Home {
 public:
  Home(const Clock& clock, Random& random, Log& log, ConnectOptions options)
      : clock_(clock), random_(random), log_(log), options_(std::move(options)) {}

  // Connects, and leases a node when none is held. Throws Error{unavailable}, also when all 255
  // nodes are taken.
  void ensure(Deadline deadline);

  // `count` keys, greater than all that this store has made or seen. Only with a leased node; two
  // processes can share one for the moment in which one has lost its connection unnoticed, and then
  // the primary key of tasks tells the second, who takes other keys.
  std::vector<TaskKey> make_keys(size_t count, TimePoint now);

  // As Fleet::lead; `alive` tells whether a session has not ended.
  bool lead(SessionId session, Deadline deadline);
  // Gives leadership up when nobody has asked for it for a session TTL.
  void look_after_leadership();

 private:
  void connect(Deadline deadline) OPSCORE_REQUIRES(mutex_);
  void lease_node() OPSCORE_REQUIRES(mutex_);
  bool alive(SessionId session) OPSCORE_REQUIRES(mutex_);
  void lost(const Error& error) OPSCORE_REQUIRES(mutex_);

  const Clock& clock_;
  Random& random_;
  Log& log_;
  const ConnectOptions options_;
  Mutex mutex_;  // guards everything below but the keys
  std::unique_ptr<Connection> connection_ OPSCORE_GUARDED_BY(mutex_);
  int node_ OPSCORE_GUARDED_BY(mutex_) = -1;       // -1: none
  bool leads_ OPSCORE_GUARDED_BY(mutex_) = false;  // the lock is ours
  SessionId leader_ OPSCORE_GUARDED_BY(mutex_);    // the session of this process that leads
  SteadyPoint led_at_ OPSCORE_GUARDED_BY(mutex_){};
  Mutex keys_mutex_;
  std::optional<KeyMaker> keys_ OPSCORE_GUARDED_BY(keys_mutex_);  // nothing: no node is leased
  TaskKey last_ OPSCORE_GUARDED_BY(keys_mutex_);
};

}  // namespace opscore::postgres
