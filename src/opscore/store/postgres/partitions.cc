#include "opscore/store/postgres/partitions.h"

#include <fmt/format.h>

#include <charconv>

namespace opscore::postgres {
namespace {

constexpr Duration kAgainIn = std::chrono::minutes(1);
// Whoever waits for the lock has all others that use the tables wait behind it.
#define OPSCORE_NOT_FOR_LONG "SET LOCAL lock_timeout = '500ms'; "
constexpr int64_t kDayMs = 24LL * 3600 * 1000;
// A day without a partition cannot be given one while the default partition holds rows of it.
constexpr const char* kDefaultHasRows = "23514";
constexpr const char* kTooMany = "OS001";

constexpr Statement kList{"partitions",
                          "SELECT substr(c.relname, 8)::bigint FROM pg_inherits i "
                          "JOIN pg_class c ON c.oid = i.inhrelid "
                          "WHERE i.inhparent = 'tasks'::regclass AND c.relname ~ '^tasks_d[0-9]+$' "
                          "ORDER BY 1"};

}  // namespace

int64_t day_of(TaskKey key) {
  return (key.value >> 20) / kDayMs;
}

TaskKey first_key_of(int64_t day) {
  return TaskKey{(day * kDayMs) << 20};
}

void Partitions::ensure(Connection& connection, int64_t first, int64_t last) {
  for (int64_t day = first; day <= last + 1; ++day) {
    {
      MutexLock lock(mutex_);
      if (known_.contains(day) || !not_before_.passed()) continue;
    }
    const bool made = create(connection, day);
    MutexLock lock(mutex_);
    if (made)
      known_.insert(day);
    else
      not_before_ = Deadline::after(kAgainIn);
  }
}

// False: somebody holds a lock on the tables.
bool Partitions::create(Connection& connection, int64_t day) {
  std::string sql = connection.begin() + OPSCORE_NOT_FOR_LONG;
  // Whoever comes second finds them made. IF NOT EXISTS alone would let two collide.
  sql += "SELECT pg_advisory_xact_lock(hashtext(current_schema || ':partitions'));";
  for (const char* table : {"tasks", "outcomes"})
    sql += fmt::format(
        "CREATE TABLE IF NOT EXISTS {0}_d{1} PARTITION OF {0} FOR VALUES FROM ({2}) TO ({3});",
        table, day, first_key_of(day).value, first_key_of(day + 1).value);
  try {
    connection.execute(sql + " COMMIT");
  } catch (const Failure& failure) {
    if (failure.kind() == Failure::Kind::lost) throw;
    connection.execute("ROLLBACK");
    if (failure.state() == kLockTimeout) return false;
    if (failure.state() != kDefaultHasRows) throw;
    log_.warn(
        "day {} gets no partition, since the default one has rows of it; that is slower, and "
        "ends when they are pruned",
        day);
  }
  return true;
}

std::vector<int64_t> Partitions::list(Connection& connection) {
  Rows rows = connection.query(kList);
  std::vector<int64_t> days;
  for (int i = 0; i < rows.size(); ++i) days.push_back(rows.integer(i, 0));
  return days;
}

bool Partitions::drop_if_nearly_empty(Connection& connection, int64_t day) {
  std::string sql = connection.begin() + OPSCORE_NOT_FOR_LONG
                    "LOCK TABLE tasks, outcomes IN ACCESS EXCLUSIVE MODE;";
  sql += fmt::format(
      "DO $$ BEGIN IF (SELECT count(*) FROM (SELECT FROM tasks_d{} LIMIT {}) x) > {} THEN RAISE "
      "EXCEPTION 'too many' USING ERRCODE = '{}'; END IF; END $$;",
      day, kMovedAtMost + 1, kMovedAtMost, kTooMany);
  for (const char* table : {"tasks", "outcomes"})
    sql += fmt::format(
        "ALTER TABLE {0} DETACH PARTITION {0}_d{1};"
        "INSERT INTO {0}_rest SELECT * FROM {0}_d{1};"
        "DROP TABLE {0}_d{1};",
        table, day);
  try {
    connection.execute(sql + "COMMIT");
  } catch (const Failure& failure) {
    if (failure.kind() == Failure::Kind::lost) throw;
    connection.execute("ROLLBACK");
    if (failure.state() == kTooMany || failure.state() == kLockTimeout ||
        failure.kind() == Failure::Kind::conflict)
      return false;
    throw;
  }
  MutexLock lock(mutex_);
  known_.erase(day);
  return true;
}

}  // namespace opscore::postgres
