#include "opscore/llm/conformance/llm_conformance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

namespace opscore {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using Role = LlmMessage::Role;
using testing::HasSubstr;

class LlmConformance : public testing::TestWithParam<LlmImplementation> {
 protected:
  // `turns` as JSON text.
  void play(const std::string& turns) {
    subject_ = GetParam().make({{"turns", parse_json(turns)}});
  }
  LlmClient& client() { return subject_->client(); }

  static LlmRequest asking(const std::string& prompt) {
    LlmRequest request{.model = "m"};
    request.messages = {{.role = Role::system, .text = "be brief"},
                        {.role = Role::user, .text = prompt}};
    request.tools = {{"look", "looks", {{"type", "object"}}}};
    return request;
  }

  LlmResponse ask(const LlmRequest& request) {
    return client().complete(request, {}, Deadline::after(20s));
  }

  LlmError failure_of(const LlmRequest& request, std::stop_token stop = {},
                      Deadline deadline = Deadline::after(20s)) {
    try {
      client().complete(request, std::move(stop), deadline);
    } catch (const LlmError& error) {
      return error;
    }
    ADD_FAILURE() << "expected an LlmError";
    return LlmError(Errc::internal, "", false);
  }

 private:
  std::unique_ptr<LlmSubject> subject_;
};

TEST_P(LlmConformance, AnswersWithText) {
  play(R"([{"text": "hello"}])");
  const LlmResponse response = ask(asking("hi"));
  EXPECT_EQ(response.message.role, Role::assistant);
  EXPECT_EQ(response.message.text, "hello");
  EXPECT_TRUE(response.message.tool_calls.empty());
  EXPECT_EQ(response.finish_reason, "stop");
  EXPECT_FALSE(response.model.empty());
}

TEST_P(LlmConformance, KeepsToolCallsInOrder) {
  play(R"([{"text": "I look.", "tool_calls": [
      {"id": "a", "name": "look", "arguments": {"at": "x", "n": [1, 2]}},
      {"id": "b", "name": "look", "arguments": {}},
      {"id": "c", "name": "other", "arguments": {"q": "\"quoted\" \u00fc"}}]}])");
  const LlmResponse response = ask(asking("hi"));
  EXPECT_EQ(response.finish_reason, "tool_calls");
  EXPECT_EQ(response.message.text, "I look.");
  const auto& calls = response.message.tool_calls;
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_EQ(calls[0].id, "a");
  EXPECT_EQ(calls[2].id, "c");
  EXPECT_EQ(calls[2].name, "other");
  EXPECT_EQ(parse_json(calls[0].arguments), (Json{{"at", "x"}, {"n", {1, 2}}}));
  EXPECT_EQ(parse_json(calls[1].arguments), Json::object());
  EXPECT_EQ(parse_json(calls[2].arguments)["q"], "\"quoted\" ü");
}

TEST_P(LlmConformance, ArgumentsThatAreNotJsonAreHandedOnAsTheyAre) {
  play(R"([{"tool_calls": [{"id": "a", "name": "look", "arguments": "{\"at\": "}]}])");
  EXPECT_EQ(ask(asking("hi")).message.tool_calls.at(0).arguments, "{\"at\": ");
}

TEST_P(LlmConformance, AConversationGoesOnBehindToolResults) {
  play(R"([{"tool_calls": [{"id": "a", "name": "look", "arguments": {}}]}, {"text": "done"}])");
  LlmRequest request = asking("hi");
  request.messages.push_back(ask(request).message);
  request.messages.push_back({.role = Role::tool, .text = "seen", .tool_call_id = "a"});
  EXPECT_EQ(ask(request).message.text, "done");
}

TEST_P(LlmConformance, TheSameRequestGetsTheSameAnswer) {
  play(R"([{"text": "first"}, {"text": "second"}])");
  EXPECT_EQ(ask(asking("hi")).message.text, "first");
  EXPECT_EQ(ask(asking("hi")).message.text, "first");
}

TEST_P(LlmConformance, TextOfAllKindsSurvives) {
  play(R"([{"text": "grüße 🚀 \u0000\u001f \"q\" \\ \r\n data: x\n\n日本"}])");
  EXPECT_EQ(ask(asking("ü🚀")).message.text, "grüße 🚀 \0\x1f \"q\" \\ \r\n data: x\n\n日本"s);
}

TEST_P(LlmConformance, ReportsUsage) {
  play(R"([{"text": "x", "usage": {"input_tokens": 12, "output_tokens": 34}}])");
  const LlmUsage usage = ask(asking("hi")).usage;
  EXPECT_EQ(usage.input_tokens, 12);
  EXPECT_EQ(usage.output_tokens, 34);
}

TEST_P(LlmConformance, AnAnswerThatWasCutOffSaysSo) {
  play(R"([{"text": "half an ans", "finish_reason": "length"}])");
  EXPECT_EQ(ask(asking("hi")).finish_reason, "length");
}

TEST_P(LlmConformance, FailuresHaveACodeAndTheProvidersWords) {
  const std::vector<std::tuple<std::string, Errc, bool>> cases{
      {"unauthenticated", Errc::unauthenticated, false},
      {"forbidden", Errc::forbidden, false},
      {"not_found", Errc::not_found, false},
      {"invalid", Errc::invalid, false},
      {"queue_full", Errc::queue_full, true},
      {"unavailable", Errc::unavailable, true}};
  for (const auto& [word, code, retryable] : cases) {
    play(fmt::format(R"([{{"error": {{"code": "{}", "message": "no {} ü"}}}}])", word, word));
    const LlmError error = failure_of(asking("hi"));
    EXPECT_EQ(error.code(), code) << word;
    EXPECT_EQ(error.retryable(), retryable) << word;
    EXPECT_THAT(error.message(), HasSubstr("no " + word + " ü"));
    EXPECT_THAT(error.message(), HasSubstr(client().provider()));
  }
}

TEST_P(LlmConformance, ThePauseThatAProviderAsksForIsHandedOn) {
  play(R"([{"error": {"code": "queue_full", "message": "slow", "retry_after_ms": 90000}}])");
  EXPECT_EQ(failure_of(asking("hi")).retry_after(), Duration(90000));
}

TEST_P(LlmConformance, AFailureMayBeFinal) {
  play(R"([{"error": {"code": "unavailable", "message": "gone", "retryable": false}}])");
  EXPECT_FALSE(failure_of(asking("hi")).retryable());
}

TEST_P(LlmConformance, AStopRequestEndsTheWait) {
  play(R"([{"text": "late", "delay_ms": 600000}])");
  std::stop_source stop;
  auto call = std::async(std::launch::async, [&] {
    return failure_of(asking("hi"), stop.get_token(), Deadline::never());
  });
  stop.request_stop();
  const LlmError error = call.get();
  EXPECT_EQ(error.code(), Errc::cancelled);
  EXPECT_FALSE(error.retryable());
}

TEST_P(LlmConformance, TheDeadlineEndsTheWait) {
  play(R"([{"text": "late", "delay_ms": 600000}])");
  EXPECT_EQ(failure_of(asking("hi"), {}, Deadline::after(50ms)).code(), Errc::timeout);
}

TEST_P(LlmConformance, ConversationsDoNotMix) {
  play(R"([{"tool_calls": [{"id": "a", "name": "look", "arguments": {}}]}, {"text": "done"}])");
  std::vector<std::future<std::string>> conversations;
  for (int i = 0; i < 8; ++i)
    conversations.push_back(std::async(std::launch::async, [this] {
      LlmRequest request = asking("hi");
      request.messages.push_back(ask(request).message);
      request.messages.push_back({.role = Role::tool, .text = "seen", .tool_call_id = "a"});
      return ask(request).message.text;
    }));
  for (auto& conversation : conversations) EXPECT_EQ(conversation.get(), "done");
}

INSTANTIATE_TEST_SUITE_P(Llm, LlmConformance, testing::ValuesIn(llm_implementations()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace opscore
