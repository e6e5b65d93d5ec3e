#include "opscore/agent/agent_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/agent/tools/builtin_tools.h"
#include "opscore/llm/scripted/scripted_client.h"

namespace opscore {
namespace {

using testing::HasSubstr;

AgentOptions some_options() {
  const std::shared_ptr<LlmClient> client = make_scripted_client(parse_json(demo_script()));
  AgentOptions options;
  options.providers["scripted"] = {client, "scripted"};
  options.providers["local"] = {client, ""};
  options.unusable["openai"] = "provider 'openai' has no key: set OPENAI_API_KEY";
  options.default_provider = "scripted";
  options.tools = {make_calculator(), make_current_time()};
  return options;
}

TEST(AgentInput, Defaults) {
  const AgentOptions options = some_options();
  const auto request = read_agent_request(R"({"prompt": "x"})", options);
  ASSERT_TRUE(request) << request.error().message();
  EXPECT_EQ(request->prompt, "x");
  EXPECT_EQ(request->provider, "scripted");
  EXPECT_EQ(request->model, "scripted");
  EXPECT_EQ(request->steps_max, 20);
  EXPECT_EQ(request->tokens_max, options.limits.tokens);
  EXPECT_EQ(request->tools.size(), 2u);
  EXPECT_EQ(request->time_max, std::nullopt);
}

TEST(AgentInput, EverythingSet) {
  const AgentOptions options = some_options();
  const auto request = read_agent_request(
      R"({"prompt": "x", "agent_config": {"provider": "local", "model": "m", "system": "s",
          "tools": ["current_time", "current_time"], "max_steps": 3.0, "temperature": 0,
          "budget": {"tokens": 10, "seconds": 1.5}}})",
      options);
  ASSERT_TRUE(request) << request.error().message();
  EXPECT_EQ(request->provider, "local");
  EXPECT_EQ(request->model, "m");
  EXPECT_EQ(request->system, "s");
  EXPECT_EQ(request->tools.size(), 1u);
  EXPECT_EQ(request->steps_max, 3);
  EXPECT_EQ(request->temperature, 0);
  EXPECT_EQ(request->tokens_max, 10);
  EXPECT_EQ(request->time_max, Duration(1500));
}

TEST(AgentInput, RefusalsNameTheField) {
  const std::vector<std::tuple<const char*, const char*, const char*>> cases{
      {"7", "", "must be an object"},
      {"{}", "prompt", "a prompt or a goal is needed"},
      {R"({"prompt": ""})", "prompt", "not empty"},
      {R"({"prompt": 5})", "prompt", "must be a string"},
      {R"({"prompt": "x", "agent_config": 5})", "agent_config", "must be an object"},
      {R"({"prompt": "x", "agent_config": {"provder": "x"}})", "agent_config.provder",
       "unknown key"},
      {R"({"prompt": "x", "agent_config": {"provider": "x"}})", "agent_config.provider",
       "unknown provider 'x'; there are local, scripted"},
      {R"({"prompt": "x", "agent_config": {"provider": "openai"}})", "agent_config.provider",
       "set OPENAI_API_KEY"},
      {R"({"prompt": "x", "agent_config": {"provider": "local"}})", "agent_config.model",
       "no default model"},
      {R"({"prompt": "x", "agent_config": {"model": ""}})", "agent_config.model", "not empty"},
      {R"({"prompt": "x", "agent_config": {"tools": "x"}})", "agent_config.tools", "a list"},
      {R"({"prompt": "x", "agent_config": {"tools": ["x"]}})", "agent_config.tools",
       "unknown tool \"x\"; there are calculator, current_time"},
      {R"({"prompt": "x", "agent_config": {"max_steps": 0}})", "agent_config.max_steps", "from 1"},
      {R"({"prompt": "x", "agent_config": {"max_steps": 1.5}})", "agent_config.max_steps", "whole"},
      {R"({"prompt": "x", "agent_config": {"max_steps": 1e30}})", "agent_config.max_steps", "200"},
      {R"({"prompt": "x", "agent_config": {"temperature": 3}})", "agent_config.temperature",
       "0 to 2"},
      {R"({"prompt": "x", "agent_config": {"budget": {"tokens": 0}}})",
       "agent_config.budget.tokens", "from 1"},
      {R"({"prompt": "x", "agent_config": {"budget": {"second": 1}}})",
       "agent_config.budget.second", "unknown key"}};
  const AgentOptions options = some_options();
  for (const auto& [input, field, words] : cases) {
    const auto request = read_agent_request(input, options);
    ASSERT_FALSE(request) << input;
    EXPECT_EQ(request.error().code(), Errc::invalid) << input;
    EXPECT_EQ(request.error().field(), field) << input;
    EXPECT_THAT(request.error().message(), HasSubstr(words)) << input;
  }
}

TEST(AgentInput, NoDefaultProviderAndNoneNamed) {
  AgentOptions options = some_options();
  options.default_provider = "";
  auto request = read_agent_request(R"({"prompt": "x"})", options);
  ASSERT_FALSE(request);
  EXPECT_THAT(request.error().message(), HasSubstr("no provider is configured"));
  options.default_provider = "openai";  // configured, but without a key: never another one
  request = read_agent_request(R"({"prompt": "x"})", options);
  ASSERT_FALSE(request);
  EXPECT_THAT(request.error().message(), HasSubstr("set OPENAI_API_KEY"));
}

TEST(AgentInputSchema, ListsWhatCanBeUsedAndWhyNot) {
  const Json schema = parse_json(agent_input_schema(some_options()));
  const Json& config = schema["properties"]["agent_config"];
  const Json& provider = config["properties"]["provider"];
  EXPECT_EQ(provider["enum"], (Json{"local", "scripted"}));
  EXPECT_EQ(provider["x-opscore-reasons"]["openai"],
            "provider 'openai' has no key: set OPENAI_API_KEY");
  EXPECT_EQ(config["additionalProperties"], false);
  EXPECT_EQ(config["properties"]["tools"]["items"]["enum"], (Json{"calculator", "current_time"}));
  EXPECT_FALSE(schema.contains("required"));
  EXPECT_FALSE(config.contains("required"));
  ASSERT_EQ(config["allOf"].size(), 1u);
  EXPECT_EQ(config["allOf"][0]["if"]["properties"]["provider"]["const"], "local");
}

TEST(AgentInputSchema, WithoutAUsableDefaultAProviderMustBeNamed) {
  for (const char* name : {"", "openai"}) {
    AgentOptions options = some_options();
    options.default_provider = name;
    const Json schema = parse_json(agent_input_schema(options));
    EXPECT_EQ(schema["required"], Json::array({"agent_config"}));
    EXPECT_EQ(schema["properties"]["agent_config"]["required"], Json::array({"provider"}));
    const std::string why = schema["properties"]["agent_config"]["x-opscore-required"]["provider"];
    EXPECT_THAT(why, HasSubstr(*name ? "OPENAI_API_KEY" : "AGENTKIT_LLM_PROVIDER"));
  }
}

}  // namespace
}  // namespace opscore
