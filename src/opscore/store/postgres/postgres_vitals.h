#pragma once
// How the database of a store is doing, seen from outside, whether its schema can be used or not.
// Reads only.

#include <string>
#include <vector>

#include "opscore/store/postgres/postgres_store.h"

namespace opscore {

struct PostgresVitals {
  int version = 0, known = 0;  // of the schema, 0: there is none; the newest of this program
  Duration clock_offset{0};    // of the server's clock: positive when it is ahead of ours
  struct Transaction {         // of any client of this database
    int64_t pid = 0;
    std::string application, peer, state;
    Duration age{0};
  };
  std::vector<Transaction> transactions;  // the five that are open longest
  struct Table {
    std::string name;
    int64_t live = 0, dead = 0;  // rows, as the server estimates them
  };
  std::vector<Table> tables;  // of the schema, the five with the most dead rows
  int64_t connections = 0, connections_max = 0;
};

// Transactions that are open for longer than `long_is`. Throws Error: unavailable when the server
// does not answer within options.timeout; invalid for the URL or the credentials.
PostgresVitals look_at_postgres(const PostgresOptions& options, const Clock& clock,
                                Duration long_is);

}  // namespace opscore
