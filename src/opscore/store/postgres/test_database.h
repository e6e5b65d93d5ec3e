#pragma once
// For tests: a schema of their own in the database that DATABASE_URL names. Making one takes most
// of a second, so that tests which can do with an empty one share it, one after the other.

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>

#include "opscore/store/postgres/connection.h"
#include "opscore/store/postgres/database_url.h"
#include "opscore/store/postgres/postgres_store.h"
#include "opscore/store/postgres/schema.h"

namespace opscore::postgres {

// Nothing: no database, and then there is nothing to test with.
inline const char* test_url() {
  const char* url = std::getenv("DATABASE_URL");
  return url != nullptr && *url != '\0' ? url : nullptr;
}

inline std::string with_option(const std::string& url, const std::string& option) {
  return url + (url.find('?') == std::string::npos ? "?" : "&") + option;
}

class TestDatabase {
 public:
  TestDatabase() {
    static std::atomic<int> made{0};
    schema_ = "opscore_test_" + std::to_string(::getpid()) + "_" + std::to_string(++made);
    ConnectOptions connect{parse_database_url(test_url()).url, quote_identifier(schema_), true,
                           options().timeout};
    connection_ = std::make_unique<Connection>(connect, Deadline::after(connect.timeout));
  }
  ~TestDatabase() {
    connection_->execute("DROP SCHEMA IF EXISTS " + quote_identifier(schema_) + " CASCADE");
  }
  TestDatabase(const TestDatabase&) = delete;

  // The one of this program, which ends with it; nothing before the first test that needs it.
  static std::optional<TestDatabase>& shared() {
    static std::optional<TestDatabase> database;
    return database;
  }
  static TestDatabase& shared_and_empty() {
    if (shared())
      shared()->empty();
    else
      shared().emplace();
    return *shared();
  }

  // As if it had just been migrated, but for partitions. No store may be open on it.
  void empty() {
    connection_->execute(R"sql(
      DO $$ DECLARE t record; BEGIN
        FOR t IN SELECT c.oid::regclass AS name FROM pg_class c
            WHERE c.relnamespace = current_schema::regnamespace AND c.relkind = 'r'
            AND c.relname NOT IN ('meta', 'migrations', 'settings') LOOP
          EXECUTE 'DELETE FROM ' || t.name;
        END LOOP;
        PERFORM setval(c.oid::regclass, 1, false) FROM pg_class c
          WHERE c.relnamespace = current_schema::regnamespace AND c.relkind = 'S';
        DELETE FROM meta WHERE name NOT IN ('identity', 'id_secret');
        DROP FUNCTION IF EXISTS refuse CASCADE;
      END $$)sql");
  }

  // New tasks with this input; until empty().
  void refuse(const std::string& input) {
    connection_->execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.input = '" +
        input +
        "' THEN RAISE EXCEPTION 'not this one'; END "
        "IF; RETURN NEW; END $$; CREATE TRIGGER refuse BEFORE INSERT ON tasks FOR "
        "EACH ROW EXECUTE FUNCTION refuse()");
  }

  // More patient than in operation, and without surprises from what runs by itself.
  PostgresOptions options() const {
    PostgresOptions options;
    options.url = with_option(test_url(), "application_name=" + schema_);
    // No test cuts the power, and most of their time would be spent on waiting for the disk.
    options.url = with_option(options.url, "options=-csynchronous_commit%3Doff");
    options.schema = schema_;
    options.timeout = std::chrono::seconds(30);
    options.poll_every = options.vacuum_every = std::chrono::hours(1);
    return options;
  }
  const std::string& schema() const { return schema_; }
  // Sees the schema.
  Connection& connection() { return *connection_; }

 private:
  std::string schema_;
  std::unique_ptr<Connection> connection_;
};

class PostgresTest : public testing::Test {
 protected:
  void SetUp() override {
    if (test_url() == nullptr) GTEST_SKIP() << "DATABASE_URL is not set";
    database_ = &TestDatabase::shared_and_empty();
  }
  TestDatabase* database_ = nullptr;
};

}  // namespace opscore::postgres
