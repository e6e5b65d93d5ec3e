#include "opscore/llm/scripted/scripted_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/llm/scripted/template.h"

namespace opscore {
namespace {

using Role = LlmMessage::Role;
using testing::HasSubstr;
using testing::StartsWith;

LlmRequest asking(const std::string& prompt, std::vector<std::string> tools = {}) {
  LlmRequest request{.model = "m"};
  request.messages = {{.role = Role::user, .text = prompt}};
  for (const std::string& tool : tools) request.tools.push_back({tool, "", Json::object()});
  return request;
}

LlmResponse ask(LlmClient& client, const LlmRequest& request) {
  return client.complete(request, {}, Deadline::after(std::chrono::seconds(10)));
}

void answer_with(LlmRequest& request, const LlmResponse& response, const std::string& result) {
  request.messages.push_back(response.message);
  for (const LlmToolCall& call : response.message.tool_calls)
    request.messages.push_back({.role = Role::tool, .text = result, .tool_call_id = call.id});
}

TEST(ScriptedClient, FillsTemplates) {
  const auto client = make_scripted_client(parse_json(R"({"turns": [
      {"tool_calls": [{"name": "look", "arguments": {"at": ["{{prompt}}"], "n": 1}}]},
      {"text": "{{last_tool}} said {{last_tool_result}} {{unknown}}"}]})"));
  LlmRequest request = asking("the {{prompt}}");
  const LlmResponse first = ask(*client, request);
  EXPECT_EQ(parse_json(first.message.tool_calls.at(0).arguments),
            (Json{{"at", {"the {{prompt}}"}}, {"n", 1}}));
  answer_with(request, first, "blue");
  EXPECT_EQ(ask(*client, request).message.text, "look said blue {{unknown}}");
}

TEST(ScriptedClient, TakesTheFirstChoiceThatFits) {
  const auto client = make_scripted_client(parse_json(R"({"turns": [[
      {"when": {"tool": "absent"}, "text": "absent"},
      {"when": {"expression": true, "tool": "calc"}, "text": "{{expression}}"},
      {"when": {"expression": false}, "text": "no numbers"}]]})"));
  EXPECT_EQ(ask(*client, asking("what is 2 + 2?", {"calc"})).message.text, "2 + 2");
  EXPECT_EQ(ask(*client, asking("what?", {"calc"})).message.text, "no numbers");
  EXPECT_THROW(ask(*client, asking("what is 2 + 2?")), LlmError);
}

TEST(ScriptedClient, IsAskedForMoreThanItHas) {
  const auto client = make_scripted_client(parse_json(R"({"turns": [{"text": "x"}]})"));
  LlmRequest request = asking("hi");
  answer_with(request, ask(*client, request), "");
  try {
    ask(*client, request);
    FAIL();
  } catch (const LlmError& error) {
    EXPECT_EQ(error.code(), Errc::invalid);
    EXPECT_FALSE(error.retryable());
  }
}

TEST(ScriptedClient, CountsFourBytesAsOneToken) {
  const auto client = make_scripted_client(parse_json(R"({"turns": [{"text": "12345"}]})"));
  const LlmUsage usage = ask(*client, asking("12345678")).usage;
  EXPECT_EQ(usage.input_tokens, 2);
  EXPECT_EQ(usage.output_tokens, 2);
}

TEST(ScriptedClient, RefusesScriptsThatAreNone) {
  const std::vector<std::pair<const char*, const char*>> cases{
      {"[]", "script"},
      {"{}", "turns"},
      {R"({"turns": []})", "turns"},
      {R"({"turns": [{}]})", "turns[0]"},
      {R"({"turns": [{"text": 1}]})", "turns[0].text"},
      {R"({"turns": [{"text": "a", "txt": "b"}]})", "turns[0].txt"},
      {R"({"turns": [{"text": "a"}, []]})", "turns[1]"},
      {R"({"turns": [[{"text": "a"}, {"tool_calls": [{}]}]]})", "turns[0][1].tool_calls"},
      {R"({"turns": [{"error": {}}]})", "turns[0].error"},
      {R"({"turns": [{"error": {"message": "x", "code": "odd"}}]})", "turns[0].error.code"},
      {R"({"turns": [{"text": "a", "delay_ms": -1}]})", "turns[0].delay_ms"},
      {R"({"turns": [{"text": "a", "usage": {"input_tokens": "x"}}]})",
       "turns[0].usage.input_tokens"},
      {R"({"turns": [{"text": "a", "when": {"mood": "x"}}]})", "turns[0].when.mood"}};
  for (const auto& [script, place] : cases) {
    try {
      make_scripted_client(parse_json(script));
      ADD_FAILURE() << script;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid) << script;
      EXPECT_EQ(error.field(), place) << script;
    }
  }
  EXPECT_THROW(make_scripted_client(std::filesystem::path("/nonexistent/script.json")), Error);
}

TEST(DemoScript, CalculatesWhatThePromptHolds) {
  const auto client = make_scripted_client(parse_json(demo_script()));
  LlmRequest request = asking("what is (2 + 3) * 4?", {"calculator", "current_time"});
  const LlmResponse first = ask(*client, request);
  ASSERT_EQ(first.message.tool_calls.size(), 1u);
  EXPECT_EQ(first.message.tool_calls[0].name, "calculator");
  EXPECT_EQ(parse_json(first.message.tool_calls[0].arguments)["expression"], "(2 + 3) * 4");
  answer_with(request, first, "20");
  const LlmResponse last = ask(*client, request);
  EXPECT_TRUE(last.message.tool_calls.empty());
  EXPECT_THAT(last.message.text, HasSubstr("no language model was asked"));
  EXPECT_THAT(last.message.text, HasSubstr("calculator was really called and answered: 20"));
}

TEST(DemoScript, AsksForTheTimeOtherwise) {
  const auto client = make_scripted_client(parse_json(demo_script()));
  const auto response =
      ask(*client, asking("Manual debug test prompt", {"calculator", "current_time"}));
  EXPECT_EQ(response.message.tool_calls.at(0).name, "current_time");
}

TEST(DemoScript, AnswersWithoutTools) {
  const auto client = make_scripted_client(parse_json(demo_script()));
  const LlmResponse response = ask(*client, asking(std::string(100000, 'x')));
  EXPECT_THAT(response.message.text, HasSubstr("no language model was asked"));
  EXPECT_LT(response.message.text.size(), 1000u);
}

TEST(Template, ShortensAtCharacters) {
  const TemplateValues values{{"a", "grüße"}, {"b", ""}};
  EXPECT_EQ(fill_template("{{a:3}}|{{a:4}}|{{a:99}}|{{b:2}}|{{a}}", values),
            "gr…|grü…|grüße||grüße");
  EXPECT_EQ(fill_template("{{a", values), "{{a");
  EXPECT_EQ(fill_template("{{}} }} {{c}}", values), "{{}} }} {{c}}");
}

TEST(FirstExpression, FindsArithmeticInProse) {
  const std::vector<std::pair<const char*, const char*>> cases{
      {"what is 2+2?", "2+2"},         {"What is 12.5 * (3 - 1) / 4 ?", "12.5 * (3 - 1) / 4"},
      {"compute 2^10.", "2^10"},       {"(see note) 7 % 4", "7 % 4"},
      {"it is (5 - 3)", "(5 - 3)"},    {"Sum: (1+2)*3, please", "(1+2)*3"},
      {"version 1.2.3", ""},           {"on 2026-11-20 at noon", ""},
      {"on 2026-11-20: 4*5", "4*5"},   {"room 42", ""},
      {"- buy milk - 3", ""},          {"", ""},
      {"Manual debug test prompt", ""}};
  for (const auto& [prompt, expression] : cases) EXPECT_EQ(first_expression(prompt), expression);
}

}  // namespace
}  // namespace opscore
