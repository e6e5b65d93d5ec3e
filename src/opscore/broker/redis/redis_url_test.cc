#include "opscore/broker/redis/redis_url.h"

#include <gmock/gmock.h>

namespace opscore {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(RedisUrl, Parts) {
  RedisUrl url = parse_redis_url("redis://me:p%40ss@db.example:6380/3").value();
  EXPECT_EQ(url.host, "db.example");
  EXPECT_EQ(url.port, 6380);
  EXPECT_EQ(url.user, "me");
  EXPECT_EQ(url.password, "p@ss");
  EXPECT_EQ(url.database, 3);
  EXPECT_EQ(url.where(), "redis://db.example:6380/3");
}

TEST(RedisUrl, WhatIsLeftOut) {
  EXPECT_EQ(parse_redis_url("redis://").value().where(), "redis://localhost:6379/0");
  EXPECT_EQ(parse_redis_url("redis://h/").value().where(), "redis://h:6379/0");
  EXPECT_EQ(parse_redis_url("redis://:secret@[::1]:1").value().where(), "redis://[::1]:1/0");
  EXPECT_EQ(parse_redis_url("redis://:secret@h").value().password, "secret");
}

TEST(RedisUrl, WhatIsWrongIsSaidWithoutThePassword) {
  for (const char* text :
       {"", "http://h", "redis://h:0", "redis://h:x", "redis://h/db", "redis://[::1",
        "redis://u:%zz@h", "redis://h/0?db=1", "redis://h/-1", "redis://u:hunter2/x@h"}) {
    auto url = parse_redis_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().code(), Errc::invalid);
    EXPECT_THAT(url.error().message(), Not(HasSubstr("hunter")));
  }
  EXPECT_THAT(parse_redis_url("rediss://h").error().message(), HasSubstr("stunnel"));
}

}  // namespace
}  // namespace opscore
