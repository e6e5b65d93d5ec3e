#include <gmock/gmock.h>

#include "opscore/broker/dramatiq/golden_fixture.h"
#include "opscore/engine/adoption.h"

namespace opscore {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

struct FollowUpsTest : testing::Test {
  FollowUpsTest() {
    callback.type = "on_ok";
    callback.queue = "callbacks";
    task.live.attempt = 2;
    task.result = "3";
    task.error = {"ValueError", "boom", "Traceback: boom"};
  }
  FollowUps decide(const std::string& body, AdoptedEnd end) {
    end.attempt = 2;
    end.charged = 2;
    task.live.state = task.live.state == State::pending ? end.next : task.live.state;
    origin = {"m", body};
    EndFacts facts{origin, task, "task-id", attempts,
                   [this](const std::string& name) -> const CatalogueEntry* {
                     return name == "on_ok" ? &callback : nullptr;
                   }};
    return decide_follow_ups(end, facts, from_ms(5000));
  }
  static std::string with(const std::string& name, const std::string& option,
                          const std::string& value) {
    DramatiqMessage message = golden(name);
    message.options.set(option, value);
    return encode_dramatiq(message);
  }
  void adopted(Adopted how) { task.options.adopted = std::move(how); }
  static DramatiqMessage decoded(const ForeignMessage& message) {
    return decode_dramatiq(message.body).value();
  }

  CatalogueEntry callback;
  Task task;
  std::vector<Attempt> attempts;
  MessageOrigin origin;
};

AdoptedEnd completed() {
  AdoptedEnd end;
  end.next = State::completed;
  return end;
}
AdoptedEnd failed(bool exhausted = true) {
  AdoptedEnd end;
  end.failed = true;
  end.exhausted = exhausted;
  return end;
}

TEST_F(FollowUpsTest, SuccessGoesToTheQueueOfTheDeclaredActor) {
  FollowUps told = decide(with("02_args", "on_success", "\"on_ok\""), completed());
  ASSERT_THAT(told.messages, SizeIs(1));
  EXPECT_EQ(told.messages[0].queue, "callbacks");
  DramatiqMessage message = decoded(told.messages[0]);
  EXPECT_EQ(message.queue_name, "callbacks");
  EXPECT_EQ(message.actor_name, "on_ok");
  EXPECT_THAT(message.args, testing::EndsWith(",3]"));
  EXPECT_EQ(message.message_timestamp, "5000");
  EXPECT_THAT(told.warnings, IsEmpty());
}

TEST_F(FollowUpsTest, OrToTheMessagesOwnWithAWarning) {
  FollowUps told = decide(with("02_args", "on_success", "\"other\""), completed());
  EXPECT_EQ(told.messages.at(0).queue, "default");
  EXPECT_THAT(told.warnings, ElementsAre(HasSubstr("'other' is not declared here")));
}

TEST_F(FollowUpsTest, ToldAgainItIsTheSameMessage) {
  const std::string body = with("02_args", "on_success", "\"on_ok\"");
  EXPECT_EQ(decide(body, completed()).messages, decide(body, completed()).messages);
}

TEST_F(FollowUpsTest, APipelineGoesOn) {
  FollowUps told = decide(golden_body("25_pipeline_run_0"), completed());
  ASSERT_THAT(told.messages, SizeIs(1));
  EXPECT_EQ(told.messages[0].body, golden_body("25_pipeline_run_1"));
  told = decide(golden_body("14_pipeline_delay"), completed());
  EXPECT_EQ(told.messages.at(0).queue, "default.DQ");
  EXPECT_EQ(integer_option(decoded(told.messages[0]).options, "eta"), 7000);
}

TEST_F(FollowUpsTest, APipelineThatCannotGoOnSaysSo) {
  FollowUps told = decide(with("02_args", "pipe_target", "[]"), completed());
  EXPECT_THAT(told.messages, IsEmpty());
  EXPECT_THAT(told.warnings, ElementsAre(HasSubstr("the pipeline ends here")));
}

TEST_F(FollowUpsTest, TheLastFailureIsTheOriginalOnTheDeadLetterQueue) {
  const std::string body = golden_body("05_delayed");
  FollowUps told = decide(body, failed());
  ASSERT_THAT(told.messages, SizeIs(1));
  EXPECT_EQ(told.messages[0].queue, "default.XQ");
  EXPECT_EQ(told.messages[0].body, body);
  EXPECT_THAT(told.messages[0].headers,
              ElementsAre(testing::Pair("x-opscore-reason", "ValueError: boom"),
                          testing::Pair("x-opscore-task", "task-id")));
}

TEST_F(FollowUpsTest, AllThatIsToldOfTheLastFailure) {
  DramatiqMessage message = golden("20_retry_0_original");
  message.options.set("on_failure", "\"on_ok\"");
  message.options.set("on_retry_exhausted", "\"on_ok\"");
  FollowUps told = decide(encode_dramatiq(message), failed());
  ASSERT_THAT(told.messages, SizeIs(3));
  EXPECT_THAT(decoded(told.messages[0]).args,
              testing::AllOf(HasSubstr(R"("retries":2,"traceback":"Traceback: boom")"),
                             HasSubstr(R"("requeue_timestamp":5000)"),
                             testing::EndsWith(R"(,{"type":"ValueError","message":"boom"}])")));
  EXPECT_THAT(decoded(told.messages[1]).args,
              testing::EndsWith(R"(,{"retries":1,"max_retries":1}])"));
  EXPECT_NE(decoded(told.messages[0]).message_id, decoded(told.messages[1]).message_id);
  EXPECT_EQ(told.messages[2].queue, "default.XQ");
}

TEST_F(FollowUpsTest, AnExceptionOfAHostedActorIsToldAsPythonTellsIt) {
  const std::string body = with("02_args", "on_failure", "\"on_ok\"");
  task.error = {"actor_error", "KeyError: 'a: b'",
                "Traceback (most ...):\n  x\nKeyError: 'a: b'\n"};
  EXPECT_THAT(decoded(decide(body, failed(false)).messages.at(0)).args,
              testing::EndsWith(R"(,{"type":"KeyError","message":"'a: b'"}])"));
  task.error = {"actor_error", "Stop: ", "Traceback (most ...):\n  x\napp.Stop\n"};
  EXPECT_THAT(decoded(decide(body, failed(false)).messages.at(0)).args,
              testing::EndsWith(R"(,{"type":"Stop","message":""}])"));
  task.error = {"actor_error", "refused: by the program", "what it wrote"};
  EXPECT_THAT(decoded(decide(body, failed(false)).messages.at(0)).args,
              testing::EndsWith(R"(,{"type":"actor_error","message":"refused: by the program"}])"));
}

TEST_F(FollowUpsTest, AFailureThatIsNotTheLast) {
  AdoptedEnd end = failed(false);
  end.next = State::scheduled;
  Attempt attempt;
  attempt.number = 2;
  attempt.error = {"KeyError", "x", ""};
  attempts = {attempt};
  FollowUps told = decide(with("02_args", "on_failure", "\"on_ok\""), end);
  ASSERT_THAT(told.messages, SizeIs(1));
  EXPECT_THAT(decoded(told.messages[0]).args,
              testing::EndsWith(R"(,{"type":"KeyError","message":"x"}])"));
}

TEST_F(FollowUpsTest, AnAttemptThatShouldNotBeRepeatedIsNotExhausted) {
  FollowUps told = decide(with("02_args", "on_retry_exhausted", "\"on_ok\""), failed(false));
  EXPECT_THAT(told.messages, SizeIs(1));
}

TEST_F(FollowUpsTest, WhatWasRunAgainSinceIsNotTold) {
  task.live.state = State::running;
  EXPECT_THAT(decide(golden_body("02_args"), failed()).messages, IsEmpty());
  FollowUps told = decide(with("02_args", "on_success", "\"on_ok\""), completed());
  EXPECT_THAT(told.messages, IsEmpty());
  EXPECT_THAT(told.warnings, SizeIs(1));
}

TEST_F(FollowUpsTest, TheResultOfASuccessIsKept) {
  adopted({"default", false, false, "", true, false});
  FollowUps told = decide(golden_body("05_delayed"), completed());
  const DramatiqMessage message = golden("05_delayed");
  EXPECT_EQ(told.result, (StoredResult{"default", message.actor_name, message.message_id, "3",
                                       std::chrono::minutes(10)}));
  EXPECT_EQ(told.member, std::nullopt);
  EXPECT_THAT(told.messages, IsEmpty());
  told = decide(with("02_args", "result_ttl", "2500"), completed());
  EXPECT_EQ(told.result->keep, Duration(2500));
  for (const char* odd : {"-1", "1e300", "NaN", "\"x\""})
    EXPECT_GE(decide(with("02_args", "result_ttl", odd), completed()).result->keep, Duration(1));
}

TEST_F(FollowUpsTest, OfAFailureOnlyTheLastIsKept) {
  adopted({"default", false, true, "", true, true});
  FollowUps told = decide(golden_body("02_args"), failed());
  EXPECT_EQ(told.result->value,
            R"({"__t":"dramatiq.results.Result","exn":{"type":"ValueError","msg":"boom"}})");
  EXPECT_EQ(told.member, std::nullopt);
  task.live.state = State::scheduled;
  AdoptedEnd end = failed(false);
  end.next = State::scheduled;
  EXPECT_EQ(decide(golden_body("02_args"), end).result, std::nullopt);
}

TEST_F(FollowUpsTest, ACompletedMemberOfAGroupIsCounted) {
  adopted({"default", false, false, "", false, true});
  FollowUps told = decide(golden_body("26_group_callback_run_0"), completed());
  const DramatiqMessage member = golden("26_group_callback_run_0");
  EXPECT_EQ(told.member->group, text_option(member.options, "group_completion_uuid"));
  EXPECT_EQ(told.member->message_id, member.message_id);
  ASSERT_THAT(told.group_callbacks, SizeIs(1));
  EXPECT_EQ(told.group_callbacks[0].body, golden_body("26_group_callback_run_2"));
  EXPECT_THAT(told.messages, IsEmpty());
}

TEST_F(FollowUpsTest, CallbacksOfAGroupThatAreNoMessagesAreSaid) {
  adopted({"default", false, false, "", false, true});
  FollowUps told =
      decide(with("26_group_callback_run_0", "group_completion_callbacks", "[{}]"), completed());
  EXPECT_TRUE(told.member);
  EXPECT_THAT(told.warnings, ElementsAre(HasSubstr("the group's callbacks cannot be sent")));
}

TEST_F(FollowUpsTest, LongReasonsAreCut) {
  task.error.message = std::string(5000, 'x');
  EXPECT_LT(decide(golden_body("02_args"), failed()).messages.at(0).headers.at(0).second.size(),
            1100u);
}

}  // namespace
}  // namespace opscore
