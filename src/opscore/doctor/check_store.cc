#include <fmt/format.h>

#include "opscore/doctor/checks.h"

namespace opscore {
namespace {

constexpr Duration kOffsetMax{2'000};
constexpr int64_t kDeadMany = 100'000;
constexpr int kDeadTimes = 5;  // more dead rows than this many times the live ones
constexpr int64_t kFullPercent = 90;

Finding schema_finding(const StoreFacts& facts) {
  if (facts.schema > facts.schema_known)
    return {Ailment::store_schema,
            fmt::format("{} has schema {}; this opscore knows {}", facts.where, facts.schema,
                        facts.schema_known),
            "A newer opscore has changed it.", "opscore version"};
  return {Ailment::store_schema,
          facts.schema == 0 ? fmt::format("{} has no schema yet", facts.where)
                            : fmt::format("{} has schema {}; this opscore needs {}", facts.where,
                                          facts.schema, facts.schema_known),
          "Roles on PostgreSQL do not change the schema by themselves: they do not start.",
          "opscore migrate"};
}

std::string size_words(int64_t bytes) {
  return fmt::format("{} MiB", bytes >> 20);
}

void add_load(const StoreFacts& facts, std::vector<Finding>& findings) {
  for (const auto& open : facts.transactions)
    findings.push_back(
        {Ailment::long_transaction,
         fmt::format("process {} ('{}' from {}) has a transaction open for {}, {}", open.pid,
                     open.application, open.peer, to_text(open.age), open.state),
         "As long as it is open, deleted rows cannot be reused, so queues get slower and slower; "
         "locks that it holds stop whoever needs them.",
         fmt::format("psql \"$DATABASE_URL\" -c 'SELECT pg_terminate_backend({})'", open.pid)});
  for (const auto& table : facts.tables)
    if (table.dead > kDeadMany && table.dead > table.live * kDeadTimes)
      findings.push_back(
          {Ailment::bloat,
           fmt::format("table {} has {} dead rows beside {} live ones", table.name, table.dead,
                       table.live),
           "VACUUM does not come to it, or an old transaction keeps it from removing them.",
           fmt::format("psql \"$DATABASE_URL\" -c 'VACUUM (VERBOSE) {}'", table.name)});
  if (facts.connections_max > 0 && facts.connections * 100 >= facts.connections_max * kFullPercent)
    findings.push_back({Ailment::store_connections,
                        fmt::format("{} of {} connections of PostgreSQL are in use",
                                    facts.connections, facts.connections_max),
                        "Processes that start, or connect again, are refused when it is full.",
                        "psql \"$DATABASE_URL\" -c 'SELECT application_name, count(*) FROM "
                        "pg_stat_activity GROUP BY 1 ORDER BY 2 DESC'"});
}

}  // namespace

std::vector<Finding> check_store(const StoreFacts& facts) {
  if (!facts.problem.empty())
    return {{Ailment::store_unreachable, facts.problem,
             fmt::format("Nothing can be accepted or run without {}.", facts.where),
             facts.embedded ? "opscore config show" : "pg_isready -d \"$DATABASE_URL\""}};
  std::vector<Finding> findings;
  // `up` brings its own file up to date.
  if (facts.schema > facts.schema_known || (!facts.embedded && facts.schema < facts.schema_known))
    return {schema_finding(facts)};
  if (std::chrono::abs(facts.clock_offset) > kOffsetMax)
    findings.push_back({Ailment::clock_offset,
                        fmt::format("PostgreSQL's clock is {} {} this machine's",
                                    to_text(std::chrono::abs(facts.clock_offset)),
                                    facts.clock_offset.count() > 0 ? "ahead of" : "behind"),
                        "Due times and retention go by PostgreSQL's clock; times in logs here, and "
                        "`run_at` that clients compute here, do not agree with them.",
                        "timedatectl status"});
  if (facts.disk_free_bytes && *facts.disk_free_bytes < facts.disk_reserve_bytes)
    findings.push_back({Ailment::disk_low,
                        fmt::format("{} free for {}, less than store.disk_reserve, {}",
                                    size_words(*facts.disk_free_bytes), facts.where,
                                    size_words(facts.disk_reserve_bytes)),
                        "Submits are refused with 507 until there is room.", "df -h ."});
  add_load(facts, findings);
  return findings;
}

}  // namespace opscore
