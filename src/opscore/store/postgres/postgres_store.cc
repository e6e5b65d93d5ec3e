#include "opscore/store/postgres/postgres_store.h"

#include <fmt/format.h>

#include "opscore/store/postgres/database_url.h"
#include "opscore/store/postgres/housekeeping.h"
#include "opscore/store/postgres/listener.h"
#include "opscore/store/postgres/news.h"
#include "opscore/store/postgres/parts.h"
#include "opscore/store/postgres/schema.h"

namespace opscore {
namespace {

using namespace postgres;

constexpr int kOldestServer = 150000;
// Migrations, VACUUM and new partitions may take their time.
constexpr Duration kPatience = std::chrono::minutes(1);

struct Routes {
  ConnectOptions pooled;  // for transactions and reads
  ConnectOptions direct;  // for what needs a session
};

Routes routes_of(const PostgresOptions& options) {
  DatabaseUrl url = parse_database_url(options.url);
  DatabaseUrl direct = options.direct_url.empty() ? url : parse_database_url(options.direct_url);
  if (direct.pooled)
    throw Error(Errc::invalid,
                "the database URL leads through a pooler, and LISTEN and leadership need a session "
                "of their own: give a direct URL, too");
  std::string path = quote_identifier(options.schema);
  return {{url.url, path, !url.pooled, options.timeout}, {direct.url, path, true, options.timeout}};
}

ConnectOptions patient(ConnectOptions options) {
  options.timeout = kPatience;
  return options;
}

Identity prepare(const Routes& routes, const PostgresOptions& options) {
  Connection connection(patient(routes.direct), Deadline::after(options.timeout));
  if (connection.server_version() < kOldestServer)
    throw Error(Errc::invalid, fmt::format("the server is PostgreSQL {}; opscore needs 15 or newer",
                                           connection.server_version() / 10000));
  if (options.migrate)
    apply_migrations(connection, options.schema);
  else
    check_schema(connection, options.schema);
  return load_identity(connection);
}

class PostgresStore final : public Store {
 public:
  PostgresStore(const Clock& clock, Random& random, Log& log, const PostgresOptions& options,
                const Routes& routes, const Identity& identity)
      : ids_(identity.secret),
        identity_(identity.name),
        origin_(fmt::format("{:08x}", random.next() >> 32)),
        home_(clock, random, log, routes.direct),
        partitions_(log),
        writers_(
            clock, random, log, feed_,
            {routes.pooled, {options.schema, origin_}, options.write_connections, options.batch}),
        readers_(routes.pooled, options.read_connections),
        parts_{clock,     random, log,         feed_,    floors_,  lanes_,
               settings_, home_,  partitions_, writers_, readers_, options.timeout},
        listener_(parts_, {routes.direct, channel_of(options.schema), origin_, options.poll_every,
                           options.announce, options.clock}),
        housekeeping_(parts_, patient(routes.direct), options.vacuum_every) {
    listener_.start();
    home_.ensure(Deadline::after(options.timeout));
    housekeeping_.start();
  }

  TaskStore& tasks() override { return tasks_; }
  TaskReader& reader() override { return reader_; }
  Fleet& fleet() override { return fleet_; }
  Changes& changes() override { return feed_; }
  Outbox& outbox() override { return outbox_; }
  Jobs& jobs() override { return jobs_; }
  const IdCodec& ids() const override { return ids_; }
  const std::string& identity() const override { return identity_; }

 private:
  const IdCodec ids_;
  const std::string identity_;
  const std::string origin_;
  Floors floors_;
  Feed feed_{floors_};
  Lanes lanes_;
  SettingsCache settings_;
  Home home_;
  Partitions partitions_;
  Writers writers_;
  Readers readers_;
  Parts parts_;
  PostgresTasks tasks_{parts_};
  PostgresReader reader_{parts_, ids_};
  PostgresFleet fleet_{parts_};
  PostgresOutbox outbox_{parts_};
  PostgresJobs jobs_{parts_};
  Listener listener_;
  Housekeeping housekeeping_;
};

}  // namespace

std::unique_ptr<Store> open_postgres_store(const Clock& clock, Random& random, Log& log,
                                           const PostgresOptions& options) {
  for (const std::string& note : parse_database_url(options.url).notes)
    log.info("database URL: {}", note);
  Routes routes = routes_of(options);
  Identity identity = prepare(routes, options);
  return std::make_unique<PostgresStore>(clock, random, log, options, routes, identity);
}

MigrationStatus postgres_migration_status(const PostgresOptions& options) {
  Routes routes = routes_of(options);
  Connection connection(patient(routes.direct), Deadline::after(options.timeout));
  return {schema_version(connection, options.schema), migrations().back().version,
          pending_migrations(connection, options.schema)};
}

MigrationStatus migrate_postgres(const PostgresOptions& options) {
  MigrationStatus status = postgres_migration_status(options);
  Routes routes = routes_of(options);
  Connection connection(patient(routes.direct), Deadline::after(options.timeout));
  apply_migrations(connection, options.schema);
  return status;
}

void drop_postgres_schema(const PostgresOptions& options) {
  Routes routes = routes_of(options);
  Connection connection(patient(routes.direct), Deadline::after(options.timeout));
  connection.execute(
      fmt::format("DROP SCHEMA IF EXISTS {} CASCADE", quote_identifier(options.schema)));
}

}  // namespace opscore
