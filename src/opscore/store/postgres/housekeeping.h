#pragma once
// What a busy PostgreSQL store needs done: VACUUM of `live` every two seconds, since autovacuum
// wakes once a minute at best; counters folded; tomorrow's partitions made. Every process does it
// while it writes; they step aside for each other. Owns one thread and one connection.

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

  Parts& parts_;
  const ConnectOptions options_;
  const Duration every_;
  std::unique_ptr<Connection> connection_;  // of the thread
  uint64_t seen_ = 0;                       // transactions at the last tick
  Loop loop_;
};

}  // namespace opscore::postgres
