#include "opscore/store/postgres/postgres_vitals.h"

#include "opscore/store/postgres/connection.h"
#include "opscore/store/postgres/database_url.h"
#include "opscore/store/postgres/schema.h"

namespace opscore {
namespace {

using namespace postgres;

constexpr Statement kNow{"vitals_now",
                         "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"};
constexpr Statement kKnowsVersion{
    "vitals_has_versions",
    "SELECT EXISTS(SELECT 1 FROM pg_tables WHERE schemaname = $1::text AND "
    "tablename = 'migrations')"};
constexpr Statement kVersion{"vitals_version", "SELECT max(version)::bigint FROM migrations"};
constexpr Statement kTransactions{
    "vitals_transactions",
    "SELECT pid::bigint, application_name, coalesce(host(client_addr), 'this machine'), "
    "coalesce(state, '?'), (extract(epoch FROM clock_timestamp() - xact_start) * 1000)::bigint "
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND "
    "backend_type = 'client backend' AND "
    "xact_start < clock_timestamp() - $1::bigint * interval '1 millisecond' "
    "ORDER BY xact_start LIMIT 5"};
constexpr Statement kTables{"vitals_tables",
                            "SELECT relname::text, n_live_tup, n_dead_tup FROM pg_stat_user_tables "
                            "WHERE schemaname = $1::text ORDER BY n_dead_tup DESC LIMIT 5"};
constexpr Statement kConnections{
    "vitals_connections",
    "SELECT count(*), current_setting('max_connections')::bigint FROM pg_stat_activity "
    "WHERE backend_type = 'client backend'"};

// The middle of the question is when the server looked at its clock.
Duration offset(Connection& connection, const Clock& clock) {
  connection.query(kNow);  // prepared by now
  const TimePoint asked = clock.now();
  const TimePoint said = connection.query(kNow).time(0, 0);
  const TimePoint answered = clock.now();
  return said - (asked + (answered - asked) / 2);
}

}  // namespace

PostgresVitals look_at_postgres(const PostgresOptions& options, const Clock& clock,
                                Duration long_is) {
  const DatabaseUrl url =
      parse_database_url(options.direct_url.empty() ? options.url : options.direct_url);
  Connection connection(
      {url.url, quote_identifier(options.schema), !url.pooled, options.timeout, Duration(0)},
      Deadline::after(options.timeout));
  PostgresVitals vitals;
  vitals.known = migrations().back().version;
  if (connection.query(kKnowsVersion, Parameters::of(options.schema)).integer(0, 0) != 0)
    vitals.version = static_cast<int>(connection.query(kVersion).integer(0, 0));
  vitals.clock_offset = offset(connection, clock);
  const Rows open = connection.query(kTransactions, Parameters::of(int64_t{long_is.count()}));
  for (int i = 0; i < open.size(); ++i)
    vitals.transactions.push_back({open.integer(i, 0), std::string(open.text(i, 1)),
                                   std::string(open.text(i, 2)), std::string(open.text(i, 3)),
                                   Duration(open.integer(i, 4))});
  const Rows tables = connection.query(kTables, Parameters::of(options.schema));
  for (int i = 0; i < tables.size(); ++i)
    vitals.tables.push_back(
        {std::string(tables.text(i, 0)), tables.integer(i, 1), tables.integer(i, 2)});
  const Rows connections = connection.query(kConnections);
  vitals.connections = connections.integer(0, 0);
  vitals.connections_max = connections.integer(0, 1);
  return vitals;
}

}  // namespace opscore
