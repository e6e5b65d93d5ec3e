#include "opscore/agent/agent_actor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "opscore/agent/journaled_task.h"
#include "opscore/agent/tools/builtin_tools.h"
#include "opscore/llm/scripted/scripted_client.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using Kind = Outcome::Kind;

// Counts the questions and keeps the last one.
class Counted final : public LlmClient {
 public:
  explicit Counted(Json script) : inner_(make_scripted_client(std::move(script))) {}
  std::string provider() const override { return inner_->provider(); }
  LlmResponse complete(const LlmRequest& request, std::stop_token stop,
                       Deadline deadline) override {
    ++asked;
    last = request;
    return inner_->complete(request, stop, deadline);
  }
  int asked = 0;
  LlmRequest last;

 private:
  std::unique_ptr<LlmClient> inner_;
};

// Counts its calls; answers with its argument "say", fails with "fail".
class Echo final : public Tool {
 public:
  const ToolSpec& spec() const override { return spec_; }
  std::expected<std::string, std::string> call(const Json& arguments,
                                               const ToolContext& context) const override {
    ++called;
    if (arguments.contains("stop")) stop_me->request_stop();
    if (arguments.contains("fail")) return std::unexpected(arguments["fail"].get<std::string>());
    return arguments.value("say", "nothing");
  }
  mutable std::atomic<int> called = 0;
  std::stop_source* stop_me = nullptr;

 private:
  const ToolSpec spec_{"echo", "says it", {{"type", "object"}}, {}};
};

class AgentActorTest : public testing::Test {
 protected:
  // `turns` as JSON text: what the model says.
  void play(const std::string& turns) {
    client_ = std::make_shared<Counted>(Json{{"turns", parse_json(turns)}});
    echo_ = std::make_shared<Echo>();
    journal_ = {};
  }
  AgentOptions options() const {
    AgentOptions options;
    options.providers["scripted"] = {client_, "m"};
    options.default_provider = "scripted";
    options.tools = {make_calculator(), make_current_time(), echo_};
    return options;
  }
  Outcome run(JournaledTask& task) { return make_agent_actor(options())->run(task); }
  Outcome run(const std::string& input = R"({"prompt": "go"})") {
    JournaledTask task(input, journal_);
    return run(task);
  }
  static Json result_of(const Outcome& outcome) {
    EXPECT_EQ(outcome.kind, Kind::completed) << outcome.error.kind << ": " << outcome.error.message;
    return outcome.kind == Kind::completed ? parse_json(outcome.result) : Json::object();
  }
  void expect_failure(const Outcome& outcome, const std::string& kind, bool retryable,
                      const std::string& words) {
    EXPECT_EQ(outcome.kind, Kind::failed);
    EXPECT_EQ(outcome.error.kind, kind) << outcome.error.message;
    EXPECT_EQ(outcome.retryable, retryable);
    EXPECT_THAT(outcome.error.message, HasSubstr(words));
  }

  std::shared_ptr<Counted> client_;
  std::shared_ptr<Echo> echo_;
  Journal journal_;
};

constexpr char kTwoTools[] = R"([
  {"tool_calls": [{"name": "echo", "arguments": {"say": "one"}},
                  {"name": "calculator", "arguments": {"expression": "6*7"}}]},
  {"tool_calls": [{"name": "echo", "arguments": {"say": "{{last_tool_result}}!"}}]},
  {"text": "It is {{last_tool_result}}"}])";

TEST_F(AgentActorTest, CallsToolsUntilItAnswers) {
  play(kTwoTools);
  const Json result = result_of(run());
  EXPECT_EQ(result["answer"], "It is 42!");
  EXPECT_EQ(result["provider"], "scripted");
  EXPECT_EQ(result["model"], "scripted");
  EXPECT_EQ(result["steps"], 3);
  EXPECT_EQ(result["finish_reason"], "stop");
  EXPECT_GT(result["usage"]["input_tokens"], 0);
  ASSERT_EQ(result["tool_calls"].size(), 3u);
  EXPECT_EQ(result["tool_calls"][1], (Json{{"step", 1},
                                           {"name", "calculator"},
                                           {"arguments", R"({"expression":"6*7"})"},
                                           {"ok", true},
                                           {"result", "42"}}));
  EXPECT_EQ(client_->asked, 3);
}

TEST_F(AgentActorTest, JournalsEveryCall) {
  play(kTwoTools);
  run();
  std::vector<std::string> steps;
  for (const auto& entry : journal_.entries) steps.push_back(entry.kind + " " + entry.name);
  EXPECT_THAT(steps,
              ElementsAre("llm m", "tool echo", "tool calculator", "llm m", "tool echo", "llm m"));
  for (const auto& entry : journal_.entries) {
    EXPECT_TRUE(check_json(entry.request)) << entry.request;
    EXPECT_TRUE(check_json(entry.response)) << entry.response;
  }
}

TEST_F(AgentActorTest, ARetryGoesOnWhereTheCrashWas) {
  play(kTwoTools);
  const std::string whole = run().result;
  const size_t steps = journal_.entries.size();
  for (size_t at = 0; at < steps; ++at) {
    for (const bool done : {false, true}) {
      play(kTwoTools);
      JournaledTask first(R"({"prompt": "go"})", journal_);
      (done ? first.crash_after : first.crash_before) = at;
      EXPECT_THROW(run(first), Crash);
      EXPECT_EQ(journal_.entries.size(), at);
      JournaledTask second(R"({"prompt": "go"})", journal_);
      const Outcome outcome = run(second);
      EXPECT_EQ(outcome.result, whole) << "crash at " << at;
      EXPECT_EQ(second.replayed, at);
      // Only a call whose answer was lost with the process is made again.
      const int total = client_->asked + echo_->called + 1;  // the calculator's call is not counted
      const bool calculator_repeated = done && journal_.entries[at].name == "calculator";
      EXPECT_EQ(total, static_cast<int>(steps) + (done && !calculator_repeated ? 1 : 0))
          << "crash at " << at;
    }
  }
}

TEST_F(AgentActorTest, AFinishedJournalIsReplayedWithoutAnyCall) {
  play(kTwoTools);
  const std::string first = run().result;
  const int asked = client_->asked;
  const int called = echo_->called;
  EXPECT_EQ(run().result, first);
  EXPECT_EQ(client_->asked, asked);
  EXPECT_EQ(echo_->called, called);
}

TEST_F(AgentActorTest, AnotherInputDoesNotFitTheJournal) {
  play(kTwoTools);
  run();
  for (const char* input :
       {R"({"prompt": "other"})", R"({"prompt": "go", "agent_config": {"model": "n"}})",
        R"({"prompt": "go", "agent_config": {"system": "s"}})",
        R"({"prompt": "go", "agent_config": {"temperature": 1}})",
        R"({"prompt": "go", "agent_config": {"tools": ["echo"]}})",
        R"({"prompt": "go", "x": 1})"}) {
    JournaledTask task(input, journal_);
    EXPECT_THROW(run(task), JournalMismatch) << input;
  }
}

TEST_F(AgentActorTest, ReportsProgress) {
  play(kTwoTools);
  JournaledTask task(R"({"prompt": "go"})", journal_);
  run(task);
  EXPECT_EQ(task.progress_seen.size(), 6u);
  const Json last = parse_json(task.progress_seen.back());
  EXPECT_EQ(last["step"], 3);
  EXPECT_EQ(last["max_steps"], 20);
}

TEST_F(AgentActorTest, SendsSystemPromptContextAndTools) {
  play(R"([{"text": "x"}])");
  run(R"({"goal": "win", "prompt": "play", "board": [1, 2],
          "agent_config": {"system": "be bold", "temperature": 0.3, "tools": ["echo"]}})");
  const LlmRequest& request = client_->last;
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(request.temperature, 0.3);
  ASSERT_EQ(request.messages.size(), 2u);
  EXPECT_EQ(request.messages[0].text, "be bold");
  EXPECT_EQ(request.messages[1].text, "Goal: win\n\nplay\n\nContext (JSON):\n{\"board\":[1,2]}");
  ASSERT_EQ(request.tools.size(), 1u);
  EXPECT_EQ(request.tools[0].name, "echo");
}

TEST_F(AgentActorTest, AGoalAloneIsEnough) {
  play(R"([{"text": "{{prompt}}"}])");
  EXPECT_EQ(result_of(run(R"({"goal": "win"})"))["answer"], "win");
}

TEST_F(AgentActorTest, WhatIsWrongWithACallGoesBackToTheModel) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"({"name": "echo", "arguments": "{\"say\":"})", "Error: the arguments are not JSON"},
      {R"({"name": "echo", "arguments": "[1]"})", "Error: the arguments must be a JSON object"},
      {R"({"name": "echo", "arguments": {"fail": "no luck"}})", "Error: no luck"},
      {R"({"name": "ehco", "arguments": {}})",
       "Error: there is no tool 'ehco'; there are: calculator"},
      {R"({"name": "calculator", "arguments": {"expression": "1/0"}})", "Error: division by zero"},
      {R"({"name": "calculator", "arguments": {}})", "Error: calculator needs"}};
  for (const auto& [call, words] : cases) {
    play("[{\"tool_calls\": [" + call + "]}, {\"text\": \"{{last_tool_result}}\"}]");
    const Json result = result_of(run());
    EXPECT_THAT(result["answer"].get<std::string>(), testing::StartsWith(words)) << call;
    EXPECT_EQ(result["tool_calls"][0]["ok"], false);
  }
}

TEST_F(AgentActorTest, NoArgumentsAtAllAreAnEmptyObject) {
  play(
      R"([{"tool_calls": [{"name": "echo", "arguments": ""}]}, {"text": "{{last_tool_result}}"}])");
  EXPECT_EQ(result_of(run())["answer"], "nothing");
}

TEST_F(AgentActorTest, ALongToolResultIsCutVisibly) {
  play(
      R"([{"tool_calls": [{"name": "echo", "arguments": {"say": "{{prompt}}"}}]}, {"text": "x"}])");
  run(Json{{"prompt", std::string(200000, 'y')}}.dump());
  const std::string& seen = client_->last.messages.back().text;
  EXPECT_LT(seen.size(), 70000u);
  EXPECT_THAT(seen, HasSubstr("cut off; 200000 bytes in all"));
}

TEST_F(AgentActorTest, TooManyCallsInATurnAreAnswered) {
  std::string calls;
  for (int i = 0; i < 40; ++i)
    calls += (i ? "," : "") + std::string(R"({"name": "echo", "arguments": {}})");
  play("[{\"tool_calls\": [" + calls + "]}, {\"text\": \"done\"}]");
  EXPECT_EQ(result_of(run())["tool_calls"].size(), 40u);
  EXPECT_EQ(echo_->called, 32);
  EXPECT_EQ(client_->last.messages.size(), 2u + 1 + 40);
}

TEST_F(AgentActorTest, AProviderErrorFailsWithItsWords) {
  play(R"([{"error": {"code": "unauthenticated", "message": "bad key sk-1"}}])");
  expect_failure(run(), "provider_error", false, "scripted: bad key sk-1");
  EXPECT_TRUE(journal_.entries.empty());
}

TEST_F(AgentActorTest, AProviderErrorKeepsItsRetryAfter) {
  play(R"([{"error": {"code": "queue_full", "message": "slow down", "retry_after_ms": 90000}}])");
  const Outcome outcome = run();
  expect_failure(outcome, "provider_error", true, "slow down");
  EXPECT_EQ(outcome.delay, Duration(90000));
}

TEST_F(AgentActorTest, AfterAProviderErrorTheRetryKeepsWhatWasDone) {
  play(R"([{"tool_calls": [{"name": "echo", "arguments": {"say": "1"}}]},
           {"error": {"code": "unavailable", "message": "overloaded"}}])");
  expect_failure(run(), "provider_error", true, "overloaded");
  EXPECT_EQ(journal_.entries.size(), 2u);
  expect_failure(run(), "provider_error", true, "overloaded");
  EXPECT_EQ(echo_->called, 1);
}

TEST_F(AgentActorTest, AnEmptyAnswerIsNoAnswer) {
  play(R"([{"text": ""}])");
  expect_failure(run(), "provider_error", true, "answered nothing");
  play(R"([{"text": "", "finish_reason": "length"}])");
  expect_failure(run(), "provider_error", false, "ran out of output tokens");
  play(R"([{"text": "half", "finish_reason": "content_filter"}])");
  expect_failure(run(), "provider_error", false, "content filter");
  EXPECT_TRUE(journal_.entries.empty());
}

constexpr char kEndless[] = R"([
  {"tool_calls": [{"name": "echo", "arguments": {}}]},
  {"tool_calls": [{"name": "echo", "arguments": {}}]},
  {"tool_calls": [{"name": "echo", "arguments": {}}]},
  {"text": "late"}])";

TEST_F(AgentActorTest, StepsAreBounded) {
  play(kEndless);
  expect_failure(run(R"({"prompt": "go", "agent_config": {"max_steps": 3}})"), "budget_exceeded",
                 false, "within 3 steps");
  EXPECT_EQ(client_->asked, 3);
  EXPECT_EQ(echo_->called, 2) << "the last turn's calls could not be answered";
  play(kEndless);
  EXPECT_EQ(result_of(run(R"({"prompt": "go", "agent_config": {"max_steps": 4}})"))["steps"], 4);
}

TEST_F(AgentActorTest, TokensAreBounded) {
  play(R"([{"tool_calls": [{"name": "echo", "arguments": {}}],
            "usage": {"input_tokens": 60, "output_tokens": 41}}, {"text": "late"}])");
  const std::string input = R"({"prompt": "go", "agent_config": {"budget": {"tokens": 100}}})";
  expect_failure(run(input), "budget_exceeded", false, "101 tokens of 100");
  EXPECT_EQ(client_->asked, 1);
  EXPECT_EQ(echo_->called, 0);
  EXPECT_EQ(run(input).error.kind, "budget_exceeded") << "a replay counts the same";
}

TEST_F(AgentActorTest, AnAnswerBeyondTheBudgetIsKeptInTheError) {
  play(R"([{"text": "dear", "usage": {"input_tokens": 60, "output_tokens": 41}}])");
  const Outcome outcome = run(R"({"prompt": "go", "agent_config": {"budget": {"tokens": 100}}})");
  expect_failure(outcome, "budget_exceeded", false, "101 tokens of 100");
  EXPECT_EQ(outcome.error.detail, "dear");
}

TEST_F(AgentActorTest, SecondsAreBoundedDuringACall) {
  play(R"([{"text": "late", "delay_ms": 600000}])");
  expect_failure(run(R"({"prompt": "go", "agent_config": {"budget": {"seconds": 0.05}}})"),
                 "budget_exceeded", false, "50ms");
}

TEST_F(AgentActorTest, StopsBetweenSteps) {
  play(kEndless);
  JournaledTask task(R"({"prompt": "go"})", journal_);
  task.stopping.request_stop();
  EXPECT_THROW(run(task), Error);
  EXPECT_EQ(client_->asked, 0);
}

TEST_F(AgentActorTest, AToolThatWasStoppedIsNotJournaled) {
  play(R"([{"tool_calls": [{"name": "echo", "arguments": {"stop": true}}]}, {"text": "x"}])");
  JournaledTask task(R"({"prompt": "go"})", journal_);
  echo_->stop_me = &task.stopping;
  EXPECT_THROW(run(task), Error);
  EXPECT_EQ(journal_.entries.size(), 1u);
}

TEST_F(AgentActorTest, TheAttemptsEndIsNotTheProvidersFault) {
  play(R"([{"text": "late", "delay_ms": 600000}])");
  JournaledTask task(R"({"prompt": "go"})", journal_);
  task.limit = Deadline::after(30ms);
  EXPECT_THROW(run(task), Error) << "the runner knows that it timed out";
}

TEST_F(AgentActorTest, InvalidInputIsRefusedAgainAtTheRun) {
  play(R"([{"text": "x"}])");
  expect_failure(run(R"({"prompt": "go", "agent_config": {"provider": "nope"}})"), "invalid_input",
                 false, "unknown provider 'nope'; there are scripted");
  EXPECT_EQ(client_->asked, 0);
}

}  // namespace
}  // namespace opscore
