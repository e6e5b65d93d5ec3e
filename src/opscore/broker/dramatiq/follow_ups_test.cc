#include "opscore/broker/dramatiq/follow_ups.h"

#include <gmock/gmock.h>

#include "opscore/broker/dramatiq/golden_fixture.h"

namespace opscore {
namespace {

FreshMessage identity_of(const DramatiqMessage& message) {
  return {message.message_id, *made_at_ms(message)};
}

std::string traceback_of(const DramatiqMessage& message) {
  return *text_option(message.options, "traceback");
}

// The message that a callback quotes as its first argument.
DramatiqMessage quoted_by(const DramatiqMessage& callback) {
  return decode_dramatiq(PythonMembers::of_array(callback.args)[0]).value();
}

TEST(FollowUps, AFailureLeavesItsTracesInTheOptions) {
  DramatiqMessage retry = golden("20_retry_1_retry_in_DQ");
  DramatiqMessage failed = after_failure(golden("20_retry_0_original"), 0, traceback_of(retry),
                                         *integer_option(retry.options, "requeue_timestamp"));
  int64_t eta = *integer_option(retry.options, "eta");
  EXPECT_EQ(encode_dramatiq(with_delay(failed, eta)), golden_body("20_retry_1_retry_in_DQ"));
  EXPECT_EQ(encode_dramatiq(without_delay(with_delay(failed, eta))),
            golden_body("20_retry_2_moved_back"));
}

TEST(FollowUps, ASecondFailureReplacesThem) {
  DramatiqMessage again = golden("20_retry_3_second_retry");
  DramatiqMessage failed = after_failure(golden("20_retry_2_moved_back"), 1, traceback_of(again),
                                         *integer_option(again.options, "requeue_timestamp"));
  EXPECT_EQ(encode_dramatiq(with_delay(failed, *integer_option(again.options, "eta"))),
            golden_body("20_retry_3_second_retry"));
}

TEST(FollowUps, OnSuccess) {
  DramatiqMessage callback = golden("23_on_success_callback");
  EXPECT_EQ(encode_dramatiq(on_success_message(quoted_by(callback), {"on_ok", "default"}, "3",
                                               identity_of(callback))),
            golden_body("23_on_success_callback"));
}

TEST(FollowUps, ResultsAreWrittenAsPythonWouldWriteThem) {
  DramatiqMessage callback =
      on_success_message(golden("02_args"), {"done", "q"}, "{ \"k\": \"\xc3\xa9\" }", {"id", 5});
  EXPECT_THAT(callback.args, testing::EndsWith(R"(,{"k":"\u00e9"}])"));
}

TEST(FollowUps, OnFailure) {
  DramatiqMessage callback = golden("24_on_failure_callback");
  EXPECT_EQ(encode_dramatiq(on_failure_message(
                quoted_by(callback), {"on_fail", "default"},
                {"ValueError", "boom 1 \xe2\x80\x94 \xc3\xbcn\xc3\xaf"}, identity_of(callback))),
            golden_body("24_on_failure_callback"));
}

TEST(FollowUps, OnRetryExhausted) {
  DramatiqMessage callback = golden("21_exhausted_1_exhausted_callback");
  DramatiqMessage quoted = quoted_by(callback);
  DramatiqMessage failed = after_failure(golden("21_exhausted_0_original"), 0, traceback_of(quoted),
                                         *integer_option(quoted.options, "requeue_timestamp"));
  EXPECT_EQ(encode_dramatiq(on_retry_exhausted_message(failed, {"exhausted", "default"}, 0, 0,
                                                       identity_of(callback))),
            golden_body("21_exhausted_1_exhausted_callback"));
  EXPECT_THAT(on_retry_exhausted_message(failed, {"e", "q"}, 7, std::nullopt, {"id", 1}).args,
              testing::EndsWith(R"(,{"retries":7,"max_retries":null}])"));
}

TEST(FollowUps, APipelineGoesOnWithTheResult) {
  DramatiqMessage second = next_stage(golden("25_pipeline_run_0"), "3", 0).value().value();
  EXPECT_EQ(encode_dramatiq(second), golden_body("25_pipeline_run_1"));
  // The last stage ignores what comes down the pipe.
  DramatiqMessage third = next_stage(second, "13", 0).value().value();
  EXPECT_EQ(encode_dramatiq(third), golden_body("25_pipeline_run_2"));
  EXPECT_FALSE(next_stage(third, "42", 0).value());
  EXPECT_EQ(next_stage(golden("25_pipeline_run_0"), "3", 0, true).value().value().args, "[10]");
}

TEST(FollowUps, AStageMayAskForADelay) {
  DramatiqMessage next = next_stage(golden("14_pipeline_delay"), "3", 1'000'000).value().value();
  EXPECT_EQ(next.queue_name, "default.DQ");
  EXPECT_EQ(next.args, "[3,3]");
  EXPECT_EQ(next.options.encode(), R"({"delay":2000,"eta":1002000})");
}

TEST(FollowUps, AStageThatIsNoMessage) {
  DramatiqMessage message = golden("02_args");
  message.options.set("pipe_target", R"({"actor_name":"x"})");
  auto next = next_stage(message, "1", 0);
  ASSERT_FALSE(next);
  EXPECT_THAT(next.error().message(), testing::HasSubstr("options.pipe_target: not a Dramatiq"));
}

TEST(FollowUps, TheCallbacksOfAGroup) {
  auto callbacks = group_callbacks(golden("26_group_callback_run_0")).value();
  ASSERT_EQ(callbacks.size(), 1u);
  EXPECT_EQ(encode_dramatiq(callbacks[0]), golden_body("26_group_callback_run_2"));
  EXPECT_TRUE(group_callbacks(golden("02_args")).value().empty());
}

}  // namespace
}  // namespace opscore
