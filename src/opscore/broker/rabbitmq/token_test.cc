#include "opscore/broker/rabbitmq/token.h"

#include <gmock/gmock.h>

namespace opscore {
namespace {

TEST(Token, AsOnTheWire) {
  EXPECT_EQ(encode_token({"mail", 3}), R"({"queue":"mail","n":3})");
  auto hint = decode_token(R"( {"n": 7, "more": null, "queue": "a\"b"} )");
  ASSERT_TRUE(hint);
  EXPECT_EQ(hint->queue, "a\"b");
  EXPECT_EQ(hint->tasks, 7u);
  Hint odd{"\n\"\\\u00fc", SIZE_MAX};
  auto same = decode_token(encode_token(odd));
  ASSERT_TRUE(same);
  EXPECT_EQ(same->queue, odd.queue);
  EXPECT_EQ(same->tasks, odd.tasks);
}

TEST(Token, WhatIsNoneIsRefused) {
  for (std::string_view body :
       {"", "{", "nonsense", "[]", "null", R"({"queue":"q"})", R"({"n":1})", R"({"queue":1,"n":1})",
        R"({"queue":"q","n":0})", R"({"queue":"q","n":-1})", R"({"queue":"q","n":1.5})",
        R"({"queue":"q","n":"1"})", R"({"queue":"q","n":99999999999999999999999})", "\xff"}) {
    auto hint = decode_token(body);
    ASSERT_FALSE(hint) << body;
    EXPECT_EQ(hint.error().code(), Errc::malformed);
  }
  EXPECT_FALSE(decode_token(encode_token({std::string(65536, 'q'), 1})));
}

}  // namespace
}  // namespace opscore
