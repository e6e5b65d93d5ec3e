#pragma once
// The store in PostgreSQL 15 or newer, for several processes on one database: tables in a schema of
// its own, group commit over few connections, changes told by NOTIFY. What it has answered survives
// whatever the database survives. README.md says how it works.
//
// While the database cannot be reached, methods throw Error{unavailable} within the timeout; what
// was being written either had happened (then it is answered) or had not.

#include <memory>
#include <string>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/random.h"
#include "opscore/store/migration.h"
#include "opscore/store/postgres/server_clock.h"
#include "opscore/store/store.h"

namespace opscore {

struct PostgresOptions {
  // libpq's or SQLAlchemy's; `pgbouncer=true` in its query: a pooler stands between, prepare
  // nothing.
  std::string url;
  // Past the pooler, for what needs a session: LISTEN, leadership, node leases. Empty: url.
  std::string direct_url;
  std::string schema = "opscore";
  size_t write_connections = 2;
  size_t read_connections = 2;
  size_t batch = 1000;        // items in one transaction
  Duration timeout{3000};     // of a call, and of each answer from the server
  Duration poll_every{1000};  // the backstop of LISTEN
  Duration vacuum_every{2000};
  bool migrate = true;  // bring the schema up to date; false: refuse an older one
  // This process has a broker: as long as one like it runs, all that share the database write token
  // rows to the outbox for queues with new due tasks.
  bool announce = false;
  // Told what time it is by the server; the clock that the store is opened with. Null: nobody asks.
  ServerClock* clock = nullptr;
};

// `clock`, `random` and `log` must outlive the store. Throws Error: invalid (the URL; an older
// schema, without `migrate`; a newer one that says it is not for this program), unavailable,
// corrupt.
std::unique_ptr<Store> open_postgres_store(const Clock& clock, Random& random, Log& log,
                                           const PostgresOptions& options);

MigrationStatus postgres_migration_status(const PostgresOptions& options);
// Applies what is pending: that. Concurrent runs wait for each other.
MigrationStatus migrate_postgres(const PostgresOptions& options);
// Deletes everything. For benches and tests.
void drop_postgres_schema(const PostgresOptions& options);

}  // namespace opscore
