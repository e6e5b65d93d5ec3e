#include "opscore/store/postgres/postgres_store.h"

#include <gtest/gtest.h>

#include "opscore/store/conformance/store_conformance.h"
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
