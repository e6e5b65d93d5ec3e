#pragma once
// The schema in the database: its migrations, and what identifies an installation.

#include <span>
#include <string>

#include "opscore/base/hash.h"
#include "opscore/store/postgres/connection.h"

namespace opscore::postgres {

struct Migration {
  int version;
  const char* name;
  const char* sql;
};
// Of this program, in order. Generated from migrations/*.sql.
std::span<const Migration> migrations();

std::string quote_identifier(const std::string& identifier);

// The version that the database has; 0: none yet. Throws Error{invalid} when it is newer than this
// program knows.
int schema_version(Connection& connection, const std::string& schema);

// Brings the schema up to date. Concurrent calls, also of other processes, do it one after the
// other.
void apply_migrations(Connection& connection, const std::string& schema);

struct Identity {
  std::string name;
  SipKey secret{};
};
Identity load_identity(Connection& connection);

}  // namespace opscore::postgres
