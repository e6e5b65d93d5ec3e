#include "opscore/store/postgres/database_url.h"

#include <gmock/gmock.h>

#include "opscore/base/error.h"

namespace opscore::postgres {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(DatabaseUrl, WhatLibpqReadsStaysAsItIs) {
  for (const char* url :
       {"postgresql://u:p%40ss@host:5433/db", "postgresql://u@[::1]/db?sslmode=verify-full",
        "postgresql:///db?host=/run/postgresql",
        "postgresql://a:1,b:2/db?target_session_attrs=any"}) {
    DatabaseUrl parsed = parse_database_url(url);
    EXPECT_EQ(parsed.url, url);
    EXPECT_THAT(parsed.notes, IsEmpty());
    EXPECT_FALSE(parsed.pooled);
  }
}

TEST(DatabaseUrl, OfSqlAlchemyLosesItsDriverAndItsOptions) {
  DatabaseUrl parsed = parse_database_url(
      "postgresql+asyncpg://u:p@h/db?ssl=require&prepared_statement_cache_size=0&sslrootcert=/c");
  EXPECT_EQ(parsed.url, "postgresql://u:p@h/db?sslmode=require&sslrootcert=/c");
  ASSERT_EQ(parsed.notes.size(), 3u);
  EXPECT_THAT(parsed.notes[0], HasSubstr("asyncpg"));
  EXPECT_THAT(parsed.notes[1], HasSubstr("sslmode=require"));
  EXPECT_THAT(parsed.notes[2], HasSubstr("prepared_statement_cache_size"));
  EXPECT_EQ(parse_database_url("postgresql+psycopg2://h/db").url, "postgresql://h/db");
  EXPECT_EQ(parse_database_url("postgresql+psycopg://h/db").url, "postgresql://h/db");
  EXPECT_EQ(parse_database_url("postgres://h/db").url, "postgresql://h/db");
  EXPECT_EQ(parse_database_url("postgresql+asyncpg://h/db?ssl=true").url,
            "postgresql://h/db?sslmode=require");
}

TEST(DatabaseUrl, SaysWhetherAPoolerStandsBetween) {
  DatabaseUrl parsed = parse_database_url("postgresql://h:6432/db?pgbouncer=true&sslmode=disable");
  EXPECT_TRUE(parsed.pooled);
  EXPECT_EQ(parsed.url, "postgresql://h:6432/db?sslmode=disable");
}

TEST(DatabaseUrl, IsRefusedWithItsReasonAndWithoutItsPassword) {
  for (const char* url :
       {"mysql://u:secret@h/db", "u:secret@h/db", "postgresql://u:secret@h/db?hots=x",
        "postgresql://u:secret@h/db?pgbouncer=1", "postgresql://h/db?password=secret&hots=x"}) {
    try {
      parse_database_url(url);
      ADD_FAILURE() << url << " was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid);
      if (std::string_view(url).find("://") != std::string_view::npos) {
        EXPECT_THAT(error.message(), Not(HasSubstr("secret"))) << url;
      }
    }
  }
}

}  // namespace
}  // namespace opscore::postgres
