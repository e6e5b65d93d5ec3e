#pragma once
// What a store has of the schema that this program works with.

#include <string>
#include <vector>

namespace opscore {

struct PendingMigration {
  int version = 0;
  std::string name;
  std::string sql;  // as it is run: with its transaction, and the note that it was
};

struct MigrationStatus {
  int version = 0;  // of the schema; 0: there is none
  int known = 0;    // the newest that this program knows
  std::vector<PendingMigration> pending;
};

}  // namespace opscore
