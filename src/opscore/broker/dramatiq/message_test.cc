#include "opscore/broker/dramatiq/message.h"

#include <gmock/gmock.h>

#include "opscore/base/hash.h"
#include "opscore/broker/dramatiq/golden_fixture.h"

namespace opscore {
namespace {

using testing::HasSubstr;

std::string problem(std::string_view body) {
  auto message = decode_dramatiq(body);
  return message ? "none" : message.error().message();
}

// A message with one field replaced, or added.
std::string with(std::string_view field, std::string_view value) {
  auto fields = PythonMembers::of_object(golden_body("01_plain"));
  fields.set(field, std::string(value));
  return fields.encode();
}

TEST(DramatiqMessage, WhatPythonWroteIsEncodedToTheSameBytes) {
  const auto names = golden_names();
  EXPECT_EQ(names.size(), 34u);
  for (const std::string& name : names) {
    const std::string body = golden_body(name);
    auto message = decode_dramatiq(body);
    ASSERT_TRUE(message) << name << ": " << message.error().message();
    EXPECT_EQ(encode_dramatiq(*message), body) << name;
  }
}

// The 35th, which is too large to keep: echo.send("A" * 1_000_000).
TEST(DramatiqMessage, ALargeOneIsEncodedToTheSameBytes) {
  const std::string body =
      R"({"queue_name":"default","actor_name":"echo","args":[")" + std::string(1'000'000, 'A') +
      R"("],"kwargs":{},"options":{},"message_id":"5df6f817-b099-4bcf-a0ec-6db25097c040",)" +
      R"("message_timestamp":1795164167922})";
  ASSERT_EQ(to_hex(sha256(body)).substr(0, 16), "bf3b52e01d3012f7");
  EXPECT_EQ(encode_dramatiq(decode_dramatiq(body).value()), body);
}

TEST(DramatiqMessage, ItsFields) {
  DramatiqMessage message = golden("07_options");
  EXPECT_EQ(message.queue_name, "default");
  EXPECT_EQ(message.actor_name, "add");
  EXPECT_EQ(message.args, "[1,2]");
  EXPECT_EQ(message.kwargs, "{}");
  EXPECT_EQ(message.message_id, "8c0a70a7-a845-47f9-953a-5154281fa6f5");
  EXPECT_EQ(made_at_ms(message), 1795164167921);
  EXPECT_EQ(integer_option(message.options, "max_retries"), 3);
  EXPECT_EQ(integer_option(message.options, "absent"), std::nullopt);
  EXPECT_TRUE(is_true(message.options, "store_results"));
  EXPECT_FALSE(is_true(message.options, "absent"));
  EXPECT_EQ(text_option(golden("09_callbacks").options, "on_success"), "on_ok");
  EXPECT_TRUE(is_null(golden("17_dead_queue_name_opts").options, "eta"));
}

TEST(DramatiqMessage, IdAndTimestampMayBeAbsent) {
  std::string body = R"({"kwargs":{},"args":[],"options":{},"actor_name":"a","queue_name":"q"})";
  auto message = decode_dramatiq(body);
  ASSERT_TRUE(message) << message.error().message();
  EXPECT_EQ(message->message_id, "");
  EXPECT_EQ(made_at_ms(*message), std::nullopt);
  EXPECT_EQ(encode_dramatiq(*message),
            R"({"queue_name":"q","actor_name":"a","args":[],"kwargs":{},"options":{}})");
}

TEST(DramatiqMessage, WhatPythonRefusesIsRefusedWithAReason) {
  EXPECT_THAT(problem("not json"), HasSubstr("not a Dramatiq message: not JSON at line 1"));
  EXPECT_THAT(problem("\xff\xfe"), HasSubstr("not JSON"));
  EXPECT_THAT(problem(""), HasSubstr("not JSON"));
  EXPECT_THAT(problem("[]"), HasSubstr("it is []"));
  EXPECT_THAT(problem(R"({"queue_name":"default"})"), HasSubstr("actor_name is missing"));
  EXPECT_THAT(problem(with("extra", "1")), HasSubstr("unknown field 'extra'"));
  EXPECT_THAT(problem(with("options", "null")), HasSubstr("options must be an object, found null"));
  EXPECT_THAT(problem(with("args", "{}")), HasSubstr("args must be an array"));
  EXPECT_THAT(problem(with("kwargs", "[]")), HasSubstr("kwargs must be an object"));
  EXPECT_THAT(problem(with("queue_name", "5")), HasSubstr("queue_name must be a string, found 5"));
  EXPECT_THAT(problem(with("message_id", "null")), HasSubstr("message_id must be a string"));
  EXPECT_THAT(problem(with("message_timestamp", "NaN")), HasSubstr("message_timestamp must be"));
}

TEST(DramatiqMessage, HugeBodiesAreNotRead) {
  auto message = decode_dramatiq(std::string(kDramatiqBodyMax + 1, ' '));
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().code(), Errc::too_large);
}

TEST(DramatiqMessage, FloatsBooleansAndHugeNumbersAsOptions) {
  auto options = PythonMembers::of_object(
      R"({"f":1795164167921.7,"t":true,"n":NaN,"h":1e300,"s":"5","z":0,"e":"","l":[1]})");
  EXPECT_EQ(integer_option(options, "f"), 1795164167921);
  EXPECT_EQ(integer_option(options, "t"), 1);
  EXPECT_EQ(number_option(options, "n"), std::nullopt);
  EXPECT_EQ(integer_option(options, "h"), std::nullopt);
  EXPECT_EQ(number_option(options, "s"), std::nullopt);
  EXPECT_FALSE(is_true(options, "z"));
  EXPECT_FALSE(is_true(options, "e"));
  EXPECT_TRUE(is_true(options, "l"));
}

TEST(DramatiqMessage, QueuesOfOneName) {
  EXPECT_EQ(canonical_queue("default"), "default");
  EXPECT_EQ(canonical_queue("default.DQ"), "default");
  EXPECT_EQ(canonical_queue("default.XQ"), "default");
}

}  // namespace
}  // namespace opscore
