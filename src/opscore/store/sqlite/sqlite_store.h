#pragma once
// The embedded store: one SQLite file, one writing process, WAL, synchronous=FULL. One committer
// thread owns the write connection and puts whatever callers want at the same time into one
// transaction; readers borrow from a small pool. Schema and policies follow docs/adr on the store,
// measured in docs/benchmarks.md. Acknowledged means on disk, and survives kill -9 and power loss.

#include <memory>
#include <string>

#include "opscore/base/log.h"
#include "opscore/base/random.h"
#include "opscore/store/migration.h"
#include "opscore/store/store.h"

namespace opscore {

struct SqliteOptions {
  std::string path;
  bool read_only = false;   // for looking at a file without its server: no writes, no lock taken
  int readers = 2;          // connections for reading
  size_t batch_max = 1000;  // callers' items in one transaction
  int64_t disk_reserve_bytes = 64 << 20;  // free space below which inserts are refused
  bool announce = false;                  // write token rows to the outbox, for use with a broker
};

// `clock`, `random` and `log` must outlive the store. The caller holds the data lock (see
// data_lock.h). Throws Error: unavailable (cannot open or create, disk, permissions), corrupt (not
// a database, fails its check), invalid (made by a newer opscore).
std::unique_ptr<Store> open_sqlite_store(const Clock& clock, Random& random, Log& log,
                                         const SqliteOptions& options);

// Of a data file, which may be missing and is not changed. Throws Error as above.
MigrationStatus sqlite_migration_status(const std::string& path);

}  // namespace opscore
