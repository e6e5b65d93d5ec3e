// `migrate`: brings the schema of the store up to date, or says what it would do.

#include <fmt/format.h>

#include <iostream>

#include "opscore/app/commands.h"
#include "opscore/app/wiring.h"
#include "opscore/base/json.h"
#include "opscore/store/sqlite/data_lock.h"
#include "opscore/store/sqlite/sqlite_store.h"

namespace opscore {
namespace {

bool is_embedded(const Config& config) {
  return config.store.url.empty();
}

MigrationStatus status_of(const Config& config) {
  return is_embedded(config) ? sqlite_migration_status(config.store.path)
                             : postgres_migration_status(postgres_options(config));
}

void apply(const Config& config) {
  if (!is_embedded(config)) {
    migrate_postgres(postgres_options(config));
    return;
  }
  make_data_folder(config.store.path);
  DataLock lock(config.store.path);
  SystemClock clock;
  SystemRandom random;
  Log log(log_options(config));
  SqliteOptions options;
  options.path = config.store.path;
  open_sqlite_store(clock, random, log, options);
}

Json json_of(const std::string& store, const MigrationStatus& status) {
  Json pending = Json::array();
  for (const PendingMigration& migration : status.pending)
    pending.push_back({{"version", migration.version}, {"name", migration.name}});
  return {
      {"store", store}, {"version", status.version}, {"known", status.known}, {"pending", pending}};
}

std::string text_of(const std::string& store, const MigrationStatus& status) {
  std::string text = fmt::format("{}: version {}", store, status.version);
  if (status.version > status.known)
    return text + fmt::format(", newer than the {} of this opscore, which can work with it\n",
                              status.known);
  if (status.pending.empty()) return text + ", up to date\n";
  text += fmt::format(" of {}\n", status.known);
  for (const PendingMigration& migration : status.pending)
    text += fmt::format("  pending: {}\n", migration.name);
  return text;
}

std::string sql_of(const MigrationStatus& status) {
  std::string text;
  for (const PendingMigration& migration : status.pending)
    text += fmt::format("-- {}\n{}\n", migration.name, migration.sql);
  return text;
}

}  // namespace

int run_migrate(const Config& config, const MigrateOptions& options) {
  const std::string store = config.store_words();
  const bool changes = options.verb == "up" && !options.dry_run;
  if (changes) apply(config);
  const MigrationStatus status = status_of(config);
  if (options.json)
    std::cout << json_of(store, status).dump() << '\n';
  else if (options.dry_run)
    std::cout << (status.pending.empty() ? "-- nothing to do\n" : sql_of(status));
  else
    std::cout << text_of(store, status);
  return 0;
}

}  // namespace opscore
