// Migrations: of nothing, of an old schema, by several at once, by hand, and those of later
// programs.

#include "opscore/store/postgres/schema.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <thread>

#include "opscore/store/postgres/postgres_store.h"
#include "opscore/store/postgres/test_database.h"

namespace opscore::postgres {
namespace {

using testing::HasSubstr;

// Each begins without a schema.
class PostgresSchema : public PostgresTest {
 protected:
  void SetUp() override {
    TestDatabase::shared().reset();
    PostgresTest::SetUp();
    if (database_ != nullptr) options_ = database_->options();
  }
  void TearDown() override { TestDatabase::shared().reset(); }
  std::unique_ptr<Store> open() { return open_postgres_store(clock_, random_, *log_, options_); }

  PostgresOptions options_;
  FakeClock clock_;
  SeededRandom random_{7};
  std::unique_ptr<Log> log_ = silent_log();
};

TEST_F(PostgresSchema, MigrationsThatRunAtOnceHappenOnce) {
  MigrationStatus before = postgres_migration_status(options_);
  EXPECT_EQ(before.version, 0);
  ASSERT_FALSE(before.pending.empty());
  EXPECT_THAT(before.pending[0].sql, HasSubstr("CREATE TABLE"));
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([&] { migrate_postgres(options_); });
  }
  MigrationStatus after = postgres_migration_status(options_);
  EXPECT_EQ(after.version, before.pending.back().version);
  EXPECT_TRUE(after.pending.empty());
}

TEST_F(PostgresSchema, WhatStatusSaysCanBeRunByHand) {
  MigrationStatus before = postgres_migration_status(options_);
  for (const PendingMigration& migration : before.pending) {
    EXPECT_EQ(postgres_migration_status(options_).version, migration.version - 1);
    database_->connection().execute(migration.sql);
  }
  options_.migrate = false;
  EXPECT_TRUE(open()->reader().queues().empty());
}

TEST_F(PostgresSchema, AnOldSchemaIsBroughtUpToDate) {
  MigrationStatus before = postgres_migration_status(options_);
  database_->connection().execute(before.pending[0].sql);
  MigrationStatus old = postgres_migration_status(options_);
  EXPECT_EQ(old.version, 1);
  EXPECT_EQ(old.pending.size(), before.pending.size() - 1);
  migrate_postgres(options_);
  EXPECT_EQ(postgres_migration_status(options_).version, before.known);
}

TEST_F(PostgresSchema, AMigrationWaitsForNobodyForLong) {
  MigrationStatus before = postgres_migration_status(options_);
  database_->connection().execute(before.pending[0].sql);
  database_->connection().execute("BEGIN; SELECT FROM live");
  try {
    migrate_postgres(options_);
    ADD_FAILURE() << "it took the lock";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::unavailable);
    EXPECT_THAT(error.message(), HasSubstr("Run opscore migrate again"));
  }
  database_->connection().execute("ROLLBACK");
  migrate_postgres(options_);
  EXPECT_EQ(postgres_migration_status(options_).version, before.known);
}

TEST_F(PostgresSchema, ASchemaThatIsNewerOrOlderIsRefused) {
  auto refused = [&](const char* words) {
    try {
      open();
      ADD_FAILURE() << "it was opened";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid);
      EXPECT_THAT(error.message(), HasSubstr(words));
    }
  };
  options_.migrate = false;
  refused("opscore migrate");
  MigrationStatus before = migrate_postgres(options_);
  EXPECT_EQ(before.version, 0);
  EXPECT_EQ(before.pending.size(), static_cast<size_t>(before.known));
  EXPECT_NO_THROW(open());
  auto add = [&](int version, int compatible_since) {
    database_->connection().execute(fmt::format(
        "INSERT INTO migrations(version, name, compatible_since) VALUES({}, 'later', {})", version,
        compatible_since));
  };
  add(9998, before.known);  // which leaves room for this program
  EXPECT_NO_THROW(open());
  EXPECT_EQ(postgres_migration_status(options_).version, 9998);
  EXPECT_THAT(migrate_postgres(options_).pending, testing::IsEmpty());
  add(9999, before.known + 1);
  options_.migrate = true;
  refused("newer");
}

// When `live` is nearly all gone but not cleaned up, the planner takes any index with the key for
// as good as the primary key, and reads all of it for a few keys.
TEST_F(PostgresSchema, AKeyIsLookedUpInThePrimaryKeyOnly) {
  migrate_postgres(options_);
  Rows rows = database_->connection().query(
      {"indexes_with_key",
       "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
       "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) "
       "WHERE i.indrelid = 'live'::regclass AND i.indpred IS NULL AND a.attname = 'key'"},
      {});
  ASSERT_EQ(rows.size(), 1);
  EXPECT_EQ(rows.text(0, 0), "live_pkey");
}

TEST(PostgresMigrations, SayWithWhichProgramsTheyGetOn) {
  EXPECT_EQ(compatible_since({7, "x", "CREATE TABLE t(a int);"}), 7);
  EXPECT_EQ(compatible_since({7, "x", "-- compatible since 5\nCREATE TABLE t(a int);"}), 5);
}

}  // namespace
}  // namespace opscore::postgres
