#include "opscore/store/postgres/schema.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>

namespace opscore::postgres {
namespace {

constexpr Statement kHasVersions{
    "has_versions",
    "SELECT EXISTS(SELECT 1 FROM pg_tables WHERE schemaname = $1::text AND "
    "tablename = 'migrations')"};
constexpr Statement kHasSchema{
    "has_schema", "SELECT EXISTS(SELECT 1 FROM pg_namespace WHERE nspname = $1::text)"};
constexpr Statement kVersion{
    "version",
    "SELECT coalesce(max(version), 0), coalesce(max(compatible_since), 0) FROM migrations"};
constexpr Statement kMeta{"meta", "SELECT value FROM meta WHERE name = $1::text"};

std::string load_meta(Connection& connection, const char* name) {
  Rows rows = connection.query(kMeta, Parameters::of(name));
  if (rows.size() != 1)
    throw Error(Errc::corrupt,
                fmt::format("the row '{}' of meta is missing; restore a backup", name));
  return std::string(rows.text(0, 0));
}

int known_version() {
  return migrations().back().version;
}

// Whoever waits for a lock on a table has all others that use it wait behind it.
std::string sql_of(const Migration& migration, const std::string& schema) {
  return fmt::format(
      "BEGIN;\nSET LOCAL search_path = {};\nSET LOCAL lock_timeout = '2s';\n"
      "{}\nINSERT INTO migrations(version, name, compatible_since) VALUES({}, '{}', {});\nCOMMIT;",
      quote_identifier(schema), migration.sql, migration.version, migration.name,
      compatible_since(migration));
}

}  // namespace

int compatible_since(const Migration& migration) {
  constexpr std::string_view kMark = "-- compatible since ";
  const std::string_view sql = migration.sql;
  size_t at = sql.find(kMark);
  int since = migration.version;
  if (at != sql.npos) {
    at += kMark.size();
    std::from_chars(sql.data() + at, sql.data() + sql.size(), since);
  }
  return since;
}

std::string quote_identifier(const std::string& identifier) {
  std::string out = "\"";
  for (char c : identifier) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + '"';
}

int schema_version(Connection& connection, const std::string& schema) {
  if (connection.query(kHasVersions, Parameters::of(schema)).integer(0, 0) == 0) return 0;
  Rows rows = connection.query(kVersion);
  auto version = static_cast<int>(rows.integer(0, 0));
  if (rows.integer(0, 1) > known_version())
    throw Error(Errc::invalid,
                fmt::format("open schema '{}' of PostgreSQL: it was written by a newer opscore "
                            "(version {}, which takes one that knows {}; this one knows up to {}); "
                            "use that version or a later one. Nothing was changed",
                            schema, version, rows.integer(0, 1), known_version()));
  return version;
}

void check_schema(Connection& connection, const std::string& schema) {
  const int version = schema_version(connection, schema);
  if (version >= known_version()) return;
  std::string has = version == 0 ? "does not exist yet" : fmt::format("has version {}", version);
  throw Error(Errc::invalid,
              fmt::format("schema '{}' of PostgreSQL {}, and this opscore works with version {}\n"
                          "  run: opscore migrate",
                          schema, has, known_version()));
}

std::vector<PendingMigration> pending_migrations(Connection& connection,
                                                 const std::string& schema) {
  const int version = schema_version(connection, schema);
  std::vector<PendingMigration> pending;
  for (const Migration& migration : migrations())
    if (migration.version > version)
      pending.push_back({migration.version, migration.name, sql_of(migration, schema)});
  if (version > 0) return pending;
  std::string first = fmt::format(
      "CREATE TABLE IF NOT EXISTS {}.migrations(version int PRIMARY KEY, name text NOT NULL, "
      "compatible_since int NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());\n",
      quote_identifier(schema));
  // Needs a right that using a schema does not.
  if (connection.query(kHasSchema, Parameters::of(schema)).integer(0, 0) == 0)
    first = fmt::format("CREATE SCHEMA {};\n{}", quote_identifier(schema), first);
  pending.front().sql.insert(0, first);
  return pending;
}

void apply_migrations(Connection& connection, const std::string& schema) {
  if (schema_version(connection, schema) >= known_version()) return;
  // One lock for all schemas: two that are made at once would trip over the catalogue of the
  // server.
  connection.execute("SELECT pg_advisory_lock(hashtext('opscore:migrate'), 0)");
  for (const PendingMigration& migration : pending_migrations(connection, schema)) {
    try {
      connection.execute(migration.sql);
    } catch (const Failure& failure) {
      if (failure.state() != kLockTimeout) throw;
      throw Error(
          Errc::unavailable,
          fmt::format("migration {} of schema '{}': a transaction elsewhere holds a lock on "
                      "its tables; nothing of it happened. Run opscore migrate again when "
                      "that has ended",
                      migration.name, schema));
    }
  }
  connection.execute("SELECT pg_advisory_unlock(hashtext('opscore:migrate'), 0)");
}

Identity load_identity(Connection& connection) {
  Identity identity;
  identity.name = load_meta(connection, "identity");
  std::string secret = load_meta(connection, "id_secret");
  if (secret.size() != sizeof identity.secret)
    throw Error(Errc::corrupt, "the id secret in meta has a wrong size; restore a backup");
  std::memcpy(identity.secret.data(), secret.data(), secret.size());
  return identity;
}

}  // namespace opscore::postgres
