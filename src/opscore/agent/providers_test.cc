#include "opscore/agent/providers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/net/loopback_server.h"

namespace opscore {
namespace {

using testing::HasSubstr;
using Kind = ProviderConfig::Kind;
using Environment = std::map<std::string, std::string>;

class ProvidersTest : public testing::Test {
 protected:
  Providers build(const Environment& environment, const std::vector<ProviderConfig>& configs = {},
                  const ProviderDefaults& defaults = {}) {
    const Lookup lookup = [&](const std::string& name) {
      const auto found = environment.find(name);
      return found == environment.end() ? std::string() : found->second;
    };
    return build_providers(configs, defaults, lookup, http_, clock_, random_);
  }
  std::string refusal(const Environment& environment,
                      const std::vector<ProviderConfig>& configs = {},
                      const ProviderDefaults& defaults = {}) {
    try {
      build(environment, configs, defaults);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid);
      return error.message();
    }
    return "not refused";
  }

  SystemClock clock_;
  SeededRandom random_{1};
  HttpClient http_;
};

TEST_F(ProvidersTest, BuiltInOnesWithoutKeys) {
  const Providers providers = build({});
  EXPECT_TRUE(providers.usable.contains("ollama"));
  EXPECT_TRUE(providers.usable.contains("scripted"));
  EXPECT_EQ(providers.unusable.at("openai"), "provider 'openai' has no key: set OPENAI_API_KEY");
  EXPECT_EQ(providers.unusable.at("openrouter"),
            "provider 'openrouter' has no key: set OPENROUTER_API_KEY");
  EXPECT_EQ(providers.default_provider, "");
}

TEST_F(ProvidersTest, AKeyMakesItUsable) {
  const Providers providers = build({{"OPENAI_API_KEY", "sk-1"}});
  EXPECT_TRUE(providers.usable.contains("openai"));
  EXPECT_FALSE(providers.unusable.contains("openai"));
  EXPECT_EQ(providers.default_provider, "") << "a key alone does not choose a provider";
}

TEST_F(ProvidersTest, OpenAiUsesItsEnvironment) {
  LoopbackServer server([](const auto&, auto& reply) {
    reply.send(200, "", R"({"choices":[{"message":{"content":"hello"}}]})");
  });
  const Providers providers = build({{"OPENAI_API_KEY", "sk-1"},
                                     {"OPENAI_BASE_URL", server.url() + "/v1"},
                                     {"OPENAI_ORG_ID", "org"},
                                     {"OPENAI_PROJECT_ID", "proj"}});
  const AgentProvider& openai = providers.usable.at("openai");
  EXPECT_EQ(openai.model, "gpt-4o-mini");
  LlmRequest request{.model = "m"};
  request.messages = {{.role = LlmMessage::Role::user, .text = "hi"}};
  EXPECT_EQ(
      openai.client->complete(request, {}, Deadline::after(std::chrono::seconds(10))).message.text,
      "hello");
  const auto sent = server.requests().at(0);
  EXPECT_EQ(sent.headers.at("authorization"), "Bearer sk-1");
  EXPECT_EQ(sent.headers.at("openai-organization"), "org");
  EXPECT_EQ(sent.headers.at("openai-project"), "proj");
}

TEST_F(ProvidersTest, DefaultsFromTheEnvironment) {
  const Providers providers =
      build({{"AGENTKIT_LLM_PROVIDER", "ollama"}, {"AGENTKIT_LLM_MODEL", "qwen"}});
  EXPECT_EQ(providers.default_provider, "ollama");
  EXPECT_EQ(providers.usable.at("ollama").model, "qwen");
}

TEST_F(ProvidersTest, AModelAloneIsForWhicheverProviderATaskNames) {
  const Providers providers = build({{"AGENTKIT_LLM_MODEL", "qwen"}, {"OPENAI_API_KEY", "k"}});
  EXPECT_EQ(providers.default_provider, "");
  EXPECT_EQ(providers.usable.at("ollama").model, "qwen");
  EXPECT_EQ(providers.usable.at("openai").model, "qwen");
  EXPECT_EQ(providers.usable.at("scripted").model, "scripted");
}

TEST_F(ProvidersTest, ConfiguredDefaultsWin) {
  const Providers providers =
      build({{"AGENTKIT_LLM_PROVIDER", "openai"}, {"AGENTKIT_LLM_MODEL", "gpt"}}, {},
            {.provider = "ollama", .model = "llama"});
  EXPECT_EQ(providers.default_provider, "ollama");
  EXPECT_EQ(providers.usable.at("ollama").model, "llama");
}

TEST_F(ProvidersTest, ADefaultWithoutItsKeyStaysTheDefault) {
  const Providers providers = build({{"AGENTKIT_LLM_PROVIDER", "openai"}});
  EXPECT_EQ(providers.default_provider, "openai");
  EXPECT_TRUE(providers.unusable.contains("openai"));
}

TEST_F(ProvidersTest, UnknownDefaultsAreRefused) {
  EXPECT_THAT(refusal({{"AGENTKIT_LLM_PROVIDER", "opnai"}}),
              HasSubstr("AGENTKIT_LLM_PROVIDER names the unknown LLM provider 'opnai'; there are "
                        "ollama, openai, openrouter, scripted"));
  EXPECT_THAT(refusal({}, {}, {.provider = "x", .model = {}}), HasSubstr("'x'"));
}

TEST_F(ProvidersTest, ConfigurationAddsAndOverrides) {
  const Providers providers =
      build({{"MY_KEY", "k"}},
            {{.name = "mine",
              .base_url = "https://llm.example/v1",
              .api_key_env = "MY_KEY",
              .model = "m1"},
             {.name = "keyless", .base_url = "http://127.0.0.1:8000/v1"},
             {.name = "locked", .base_url = "https://x.example", .api_key_env = "ABSENT"},
             {.name = "openai", .api_key_env = "MY_KEY", .model = "m2"},
             {.name = "replay", .kind = Kind::scripted}});
  EXPECT_EQ(providers.usable.at("mine").model, "m1");
  EXPECT_EQ(providers.usable.at("mine").client->provider(), "mine");
  EXPECT_TRUE(providers.usable.contains("keyless"));
  EXPECT_EQ(providers.unusable.at("locked"), "provider 'locked' has no key: set ABSENT");
  EXPECT_EQ(providers.usable.at("openai").model, "m2");
  EXPECT_EQ(providers.usable.at("replay").client->provider(), "scripted");
}

TEST_F(ProvidersTest, ConfigurationThatCannotBeMeantIsRefused) {
  EXPECT_THAT(refusal({}, {{.name = "a b", .base_url = "http://x"}}), HasSubstr("'a b'"));
  EXPECT_THAT(refusal({}, {{.name = "x"}}), HasSubstr("needs a base_url"));
  EXPECT_THAT(refusal({}, {{.name = "x", .base_url = "llm.example"}}),
              HasSubstr("not an http URL"));
  EXPECT_THAT(refusal({}, {{.name = "ollama"}, {.name = "ollama"}}), HasSubstr("twice"));
  EXPECT_THAT(refusal({}, {{.name = "openai", .script_path = "x.json"}}),
              HasSubstr("not scripted"));
  EXPECT_THAT(refusal({}, {{.name = "scripted", .base_url = "http://x"}}),
              HasSubstr("no base_url"));
}

}  // namespace
}  // namespace opscore
