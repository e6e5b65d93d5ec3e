#include "opscore/broker/dramatiq/seen_message.h"

#include <gmock/gmock.h>

#include "opscore/broker/dramatiq/golden_fixture.h"
#include "opscore/broker/foreign_broker.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

WalkedMessage walked(const std::string& body) {
  WalkedMessage message;
  message.body = body;
  message.size = body.size();
  return message;
}

TEST(SeenMessage, ADeadOneSaysWhy) {
  WalkedMessage message = walked(golden_body("20_retry_2_moved_back"));
  message.deaths = {{"default", "rejected", 1, TimePoint(70s)}};
  SeenMessage seen = describe(message);
  EXPECT_EQ(seen.message->actor_name, "boom");
  EXPECT_EQ(seen.retries, 1);
  EXPECT_EQ(seen.at, TimePoint(70s));
  EXPECT_THAT(seen.why, HasSubstr("rejected from default: a worker gave it up after 1 retry"));
  message.headers = {{kReasonHeader, "no barrier"}};
  EXPECT_EQ(describe(message).why, "no barrier") << "opscore's own word comes first";
}

TEST(SeenMessage, WhatIsNotOfDramatiqIsSaidToBe) {
  EXPECT_THAT(describe(walked("hello")).why, HasSubstr("not a Dramatiq message"));
  WalkedMessage cut = walked("{");
  cut.size = 40 << 20;
  EXPECT_THAT(describe(cut).why, HasSubstr("41943040 bytes"));
}

TEST(SeenMessage, DelayedOnesSayUntilWhen) {
  SeenMessage seen = describe(walked(golden_body("05_delayed")));
  EXPECT_TRUE(seen.eta);
  EXPECT_EQ(seen.why, "");
}

TEST(SeenMessage, IsChosenByActorReasonAndAge) {
  WalkedMessage message = walked(golden_body("02_args"));
  message.headers = {{kReasonHeader, "Too Old"}};
  message.deaths = {{"default", "rejected", 1, TimePoint(100s)}};
  const SeenMessage seen = describe(message);
  EXPECT_TRUE((MessageFilter{}.matches(seen)));
  EXPECT_TRUE((MessageFilter{"add", "too old", TimePoint(100s)}.matches(seen)));
  EXPECT_FALSE((MessageFilter{"sub", "", {}}.matches(seen)));
  EXPECT_FALSE((MessageFilter{"", "retries", {}}.matches(seen)));
  EXPECT_FALSE((MessageFilter{"", "", TimePoint(99s)}.matches(seen)));
  EXPECT_FALSE((MessageFilter{"add", "", {}}.matches(describe(walked("x")))));
}

TEST(SeenMessage, GoesBackWithFreshRetries) {
  DramatiqMessage message = golden("20_retry_1_retry_in_DQ");
  message.options.set("opscore_attempts", "4");
  const DramatiqMessage back = sent_back(message, TimePoint(5s));
  EXPECT_EQ(back.queue_name, "default");
  EXPECT_EQ(back.options.encode(), R"({"opscore_attempts":6})");
  EXPECT_EQ(back.message_id, message.message_id);
  EXPECT_EQ(back.message_timestamp, message.message_timestamp);
  message.options.set("max_age", "1000");
  EXPECT_EQ(sent_back(message, TimePoint(5s)).message_timestamp, "5000");
}

}  // namespace
}  // namespace opscore
