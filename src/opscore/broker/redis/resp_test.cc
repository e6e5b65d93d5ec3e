#include "opscore/broker/redis/resp.h"

#include <gtest/gtest.h>

#include "opscore/base/error.h"

namespace opscore {
namespace {

using Kind = RedisReply::Kind;

RedisReply reply(std::string_view bytes) {
  size_t at = 0;
  auto reply = take_reply(bytes, at);
  EXPECT_TRUE(reply) << bytes;
  EXPECT_EQ(at, bytes.size());
  return reply.value_or(RedisReply{});
}

TEST(Resp, CommandsAreListsOfStrings) {
  std::string out;
  append_command(out, {"SET", "a", std::string("\r\n\0", 3)});
  EXPECT_EQ(out, std::string("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\n\r\n") + '\0' + "\r\n");
}

TEST(Resp, Replies) {
  EXPECT_EQ(reply("+OK\r\n"), (RedisReply{Kind::text, "OK", {}}));
  EXPECT_EQ(reply(":-12\r\n"), (RedisReply{Kind::integer, "-12", {}}));
  EXPECT_EQ(reply("$5\r\na\r\nbc\r\n"), (RedisReply{Kind::text, "a\r\nbc", {}}));
  EXPECT_EQ(reply("$0\r\n\r\n"), (RedisReply{Kind::text, "", {}}));
  EXPECT_EQ(reply("$-1\r\n"), RedisReply{});
  EXPECT_EQ(reply("*-1\r\n"), RedisReply{});
  EXPECT_EQ(reply("*0\r\n").kind, Kind::list);
}

TEST(Resp, TheFirstErrorIsFoundInAList) {
  EXPECT_EQ(reply("*3\r\n:1\r\n*1\r\n-ERR a\r\n-ERR b\r\n").error()->text, "ERR a");
  EXPECT_EQ(reply("*1\r\n+OK\r\n").error(), nullptr);
}

TEST(Resp, WhatHasNotComeWholeIsNoReplyYet) {
  const std::string whole = "*2\r\n$3\r\nabc\r\n:1\r\n";
  for (size_t size = 0; size < whole.size(); ++size) {
    size_t at = 0;
    EXPECT_FALSE(take_reply(whole.substr(0, size), at)) << size;
    EXPECT_EQ(at, 0u);
  }
}

TEST(Resp, WhatIsNoReplyIsRefused) {
  const std::string deep = [] {
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += "*1\r\n";
    return text;
  }();
  for (const std::string& bytes :
       {std::string("HTTP/1.1 400\r\n"), std::string("$x\r\n"), std::string("$-2\r\n"),
        std::string("$99999999999\r\n"), std::string("*9999999\r\n"), std::string("$1\r\nabc\r\n"),
        std::string("\r\n"), deep}) {
    size_t at = 0;
    EXPECT_THROW(take_reply(bytes, at), Error) << bytes.substr(0, 20);
  }
}

}  // namespace
}  // namespace opscore
