#pragma once
// What a busy PostgreSQL store needs done: VACUUM of `live` every two seconds, since autovacuum
// wakes once a minute at best, or less often when one takes long; counters folded. Every process
// does it while it writes; they step aside for each other. Busy or not, tomorrow's partitions are
// made. Owns one thread and one connection.

#include <atomic>

#include "opscore/base/thread.h"
#include "opscore/store/postgres/parts.h"

namespace opscore::postgres {

class Housekeeping {
 public:
  Housekeeping(Parts& parts, ConnectOptions options, Duration every);
  void start() { loop_.start(); }

 private:
  Duration tick();
  void look_after_database(Connection& connection);
  void make_days(Connection& connection);

  Parts& parts_;
  const ConnectOptions options_;
  const Duration every_;
  std::unique_ptr<Connection> connection_;  // of the thread
  uint64_t seen_ = 0;                       // transactions at the last tick
  Deadline days_due_ = Deadline::after(std::chrono::minutes(1));
  Loop loop_;
};

}  // namespace opscore::postgres
