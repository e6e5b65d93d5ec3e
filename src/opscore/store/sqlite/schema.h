#pragma once
// The tables of the data file, as numbered, forward-only migrations. The number of the last applied
// one is PRAGMA user_version; PRAGMA application_id marks the file as ours.

#include <string>

#include "opscore/base/hash.h"
#include "opscore/base/random.h"
#include "opscore/store/sqlite/database.h"

namespace opscore::sqlite {

// The version this program works with.
int schema_version();

// Checks the file before SQLite touches it. Throws Error that says what to do: unavailable (no such
// folder or file, permissions), corrupt (not a database, cut short).
void check_file(const std::string& path, bool must_exist);

// Whether the database is one of opscore.
bool is_ours(Connection& db);
// The schema of a database, 0 for a new file. Throws Error{invalid} for a database of a newer
// opscore or of another program.
int64_t checked_version(Connection& db);

// Brings the schema up to schema_version(), each migration in its own transaction, and makes the
// identity on the first run. Throws Error{invalid} for a database of a newer opscore or of another
// program; it is then unchanged.
void apply_migrations(Connection& db, Random& random);

// For reading: throws Error{invalid} unless the schema is exactly schema_version().
void check_schema(Connection& db);

// Made once, at random, for the life of the file.
struct Identity {
  std::string name;  // of the installation
  SipKey secret;     // of task ids
};
Identity load_identity(Connection& db);

}  // namespace opscore::sqlite
