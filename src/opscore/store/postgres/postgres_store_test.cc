#include "opscore/store/postgres/postgres_store.h"

#include <gtest/gtest.h>

#include "opscore/store/conformance/store_conformance.h"
#include "opscore/store/postgres/postgres_vitals.h"
#include "opscore/store/postgres/test_database.h"

namespace opscore {
namespace {

using postgres::TestDatabase;

std::unique_ptr<Store> open(const Clock& clock, Random& random, size_t connections, bool announce) {
  static const std::unique_ptr<Log> kLog = silent_log();
  PostgresOptions options = TestDatabase::shared()->options();
  options.write_connections = connections;
  options.announce = announce;
  return open_postgres_store(clock, random, *kLog, options);
}

StoreFactory postgres_factory(const std::string& name, size_t connections) {
  auto open_new = [connections](bool announce) {
    return [announce, connections](const Clock& clock, Random& random) {
      TestDatabase::shared_and_empty();
      return open(clock, random, connections, announce);
    };
  };
  auto reopen = [connections](const Clock& clock, Random& random) {
    return open(clock, random, connections, false);
  };
  auto refuse = [](const std::string& input) { TestDatabase::shared()->refuse(input); };
  return {name, open_new(false), open_new(true), reopen, refuse};
}

// One write connection shows what shared transactions do, sixteen what they do to each other. Asked
// for once by every suite, hence kept.
const std::vector<StoreFactory>& postgres_factories() {
  static const std::vector<StoreFactory> kNone;
  static const std::vector<StoreFactory> kAll{postgres_factory("postgres", 1),
                                              postgres_factory("postgres16", 16)};
  return postgres::test_url() == nullptr ? kNone : kAll;
}

TEST(Postgres, IsThereToBeTested) {
  if (postgres::test_url() != nullptr) return;
  const char* words =
      "no store in PostgreSQL was tested: DATABASE_URL is not set; see ./dev services";
  if (std::getenv("CI") != nullptr) FAIL() << words;
  GTEST_SKIP() << words;
}

TEST(Postgres, TellsHowItIs) {
  if (postgres::test_url() == nullptr) GTEST_SKIP() << "no database";
  const PostgresOptions options = TestDatabase::shared_and_empty().options();
  SystemClock clock;
  SystemRandom random;
  const auto store = open(clock, random, 1, false);  // which makes the schema
  const auto find = [&](const std::string& name) {
    for (const auto& open : look_at_postgres(options, clock, Duration(0)).transactions)
      if (open.application == name) return open.state;
    return std::string("none");
  };
  PostgresVitals vitals = look_at_postgres(options, clock, std::chrono::hours(1));
  EXPECT_EQ(vitals.version, vitals.known);
  EXPECT_LT(std::chrono::abs(vitals.clock_offset), Duration(2'000)) << "the same machine";
  EXPECT_GT(vitals.connections, 0);
  EXPECT_GT(vitals.connections_max, vitals.connections);
  EXPECT_FALSE(vitals.tables.empty());
  EXPECT_TRUE(vitals.transactions.empty());

  EXPECT_EQ(find("a forgotten one"), "none");
  postgres::ConnectOptions forgotten;
  const char* name = "application_name=a%20forgotten%20one";
  forgotten.url = postgres::with_option(postgres::test_url(), name);
  postgres::Connection connection(forgotten, Deadline::after(Duration(3'000)));
  connection.execute("BEGIN");
  EXPECT_EQ(find("a forgotten one"), "idle in transaction");
}

// Of each suite as many as there are factories: none without a database.
#define OPSCORE_ON_POSTGRES(suite) \
  INSTANTIATE_TEST_SUITE_P(Postgres, suite, testing::ValuesIn(postgres_factories()))
OPSCORE_ON_POSTGRES(StoreInsert);
OPSCORE_ON_POSTGRES(StoreClaim);
OPSCORE_ON_POSTGRES(StoreApply);
OPSCORE_ON_POSTGRES(StoreRescue);
OPSCORE_ON_POSTGRES(StoreUpkeep);
OPSCORE_ON_POSTGRES(StoreRecord);
OPSCORE_ON_POSTGRES(StoreReader);
OPSCORE_ON_POSTGRES(StoreFleet);
OPSCORE_ON_POSTGRES(StoreChanges);
OPSCORE_ON_POSTGRES(StoreOutbox);
OPSCORE_ON_POSTGRES(StoreWebhook);
OPSCORE_ON_POSTGRES(StoreAdoption);
OPSCORE_ON_POSTGRES(StoreExternal);
OPSCORE_ON_POSTGRES(StoreLimits);
OPSCORE_ON_POSTGRES(StoreJobs);
OPSCORE_ON_POSTGRES(StoreRace);
OPSCORE_ON_POSTGRES(StoreReopen);
OPSCORE_ON_POSTGRES(StoreRefusal);
OPSCORE_ON_POSTGRES(StoreModel);

}  // namespace
}  // namespace opscore
