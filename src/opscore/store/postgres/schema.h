#pragma once
// The schema in the database: its migrations, and what identifies an installation.

#include <span>
#include <string>
#include <vector>

#include "opscore/base/hash.h"
#include "opscore/store/migration.h"
#include "opscore/store/postgres/connection.h"

namespace opscore::postgres {

struct Migration {
  int version;
  const char* name;
  const char* sql;
};
// Of this program, in order. Generated from migrations/*.sql. A comment `compatible since N` in one
// says that programs that know version N, and not yet this one, go on working beside it.
std::span<const Migration> migrations();

// Since which version programs can work with what it makes; its own when it does not say.
int compatible_since(const Migration& migration);

std::string quote_identifier(const std::string& identifier);

// The version that the database has; 0: none yet. A newer one than this program knows may be one it
// can work with: every applied migration has left behind since which version programs can, so that
// old and new processes run side by side during an upgrade. Throws Error{invalid} when it cannot.
int schema_version(Connection& connection, const std::string& schema);

// Throws Error{invalid} unless this program can work with it as it is.
void check_schema(Connection& connection, const std::string& schema);

// What apply_migrations() would run. Whoever runs it by hand has done the same.
std::vector<PendingMigration> pending_migrations(Connection& connection, const std::string& schema);

// Brings the schema up to date. Concurrent calls, also of other processes, do it one after the
// other. Throws Error{unavailable} rather than keep others waiting when somebody holds a lock on
// its tables for long.
void apply_migrations(Connection& connection, const std::string& schema);

struct Identity {
  std::string name;
  SipKey secret{};
};
Identity load_identity(Connection& connection);

}  // namespace opscore::postgres
