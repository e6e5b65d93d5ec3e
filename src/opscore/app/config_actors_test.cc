// [actors.NAME] and [agent.providers.NAME].

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "opscore/app/config.h"
#include "opscore/app/config_show.h"
#include "opscore/base/json.h"

namespace opscore {
namespace {

using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;
using testing::ElementsAre;
using testing::HasSubstr;

class ActorConfigTest : public testing::Test {
 protected:
  ActorConfigTest() {
    std::string name = (std::filesystem::temp_directory_path() / "opscore-actors-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    sources_.directory = folder_;
    sources_.role = Role::up;
  }
  ~ActorConfigTest() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << text;
  }
  Config load(const std::string& toml) {
    write("opscore.toml", toml);
    return load_config(sources_);
  }
  std::string failure(const std::string& toml) {
    try {
      load(toml);
    } catch (const Error& error) {
      return error.message();
    }
    return "";
  }

  std::string folder_;
  ConfigSources sources_;
};

TEST_F(ActorConfigTest, Everything) {
  Config config = load(R"([actors."mail.send"]
kind = "exec"
command = ["sh", "-c", "cat"]
output = "json"
env = {MAIL_HOST = "localhost"}
queue = "mail"
version = "2"
description = "Sends a mail."
aliases = ["send_mail"]
input_schema = {type = "object", required = ["to"], properties.to.type = "string", x = 3}
timeout = "90s"
max_attempts = 3
backoff = {min = "2s", factor = 1.5}
concurrency = 2
stop_grace = 1.5
result_max = "64KiB"
exit_codes = {75 = "retry", 3 = "snooze 1m", 4 = "fatal"}
[actors."mail.send".limits]
memory = "1GiB"
cpu = "10s"
)");
  ASSERT_EQ(config.actors.size(), 1);
  const ActorConfig& actor = config.actors[0];
  EXPECT_EQ(actor.name, "mail.send");
  EXPECT_THAT(actor.command, ElementsAre("sh", "-c", "cat"));
  EXPECT_TRUE(actor.program.ends_with("/sh")) << actor.program;
  EXPECT_EQ(actor.cwd, folder_);
  EXPECT_EQ(actor.output, "json");
  EXPECT_EQ(actor.env.at("MAIL_HOST"), "localhost");
  EXPECT_THAT(actor.aliases, ElementsAre("send_mail"));
  EXPECT_EQ(parse_json(actor.input_schema.json),
            parse_json(R"({"type": "object", "required": ["to"], "x": 3,
                           "properties": {"to": {"type": "string"}}})"));
  EXPECT_EQ(actor.timeout, 90s);
  EXPECT_EQ(actor.max_attempts, 3);
  ASSERT_TRUE(actor.retry());
  EXPECT_EQ(actor.retry()->min, 2s);
  EXPECT_EQ(actor.retry()->max, 600s);
  EXPECT_EQ(actor.retry()->factor, 1.5);
  EXPECT_EQ(actor.stop_grace, 1500ms);
  EXPECT_EQ(actor.result_max.value, 64 << 10);
  using Meaning = ExitCode::Meaning;
  EXPECT_EQ(actor.exit_codes, (std::map<int, ExitCode>{{3, {Meaning::snooze, 60s}},
                                                       {4, {Meaning::fatal, 0s}},
                                                       {65, {Meaning::fatal, 0s}},
                                                       {75, {Meaning::retry, 0s}}}));
  EXPECT_EQ(actor.limits.memory.value, 1 << 30);
  EXPECT_EQ(actor.limits.cpu, 10s);
  EXPECT_THAT(config_text(config), HasSubstr("actors.mail.send.limits.cpu"));
}

TEST_F(ActorConfigTest, ACommandIsEnough) {
  ActorConfig actor = load("[actors.a]\ncommand = [\"true\"]\n").actors[0];
  EXPECT_EQ(actor.output, "");
  EXPECT_EQ(actor.queue, "default");
  EXPECT_EQ(actor.timeout, std::nullopt);
  EXPECT_EQ(actor.max_attempts, std::nullopt);
  EXPECT_EQ(actor.retry(), std::nullopt);
  EXPECT_EQ(actor.stop_grace, 5s);
  EXPECT_EQ(actor.exit_codes.size(), 2);
}

TEST_F(ActorConfigTest, ProblemsNameTheirLine) {
  struct Case {
    const char *line, *expected;
  };
  const Case cases[] = {
      {"comand = [\"true\"]", "toml:3: actors.a.comand is not a setting; did you mean 'command'?"},
      {"kind = \"grpc\"", "toml:3: actors.a.kind must be one of exec, http"},
      {"cwd = \"nowhere\"", "/nowhere is not a directory"},
      {"env = {\"1X\" = \"y\"}", "toml:3: actors.a.env the name \"1X\" must be the name of"},
      {"env = {X = 1}", "toml:3: actors.a.env X must be a text"},
      {"env = {OPSCORE_ATTEMPT = \"1\"}", "toml:3: actors.a.env: OPSCORE_ATTEMPT is set by"},
      {"timeout = \"0s\"", "toml:3: actors.a.timeout must be from 1ms to"},
      {"max_attempts = -1", "toml:3: actors.a.max_attempts must be"},
      {"max_attempts = 1000001", "actors.a.max_attempts must be a whole number from 0 to 1000000"},
      {"timeout = \"31d\"", "toml:3: actors.a.timeout must be from 1ms to 30d"},
      {"backoff = {factor = 1000.5}", "actors.a.backoff.factor must be a number from 1 to 1000"},
      {"backoff = {max = \"40000d\"}", "toml:3: actors.a.backoff.max must be a duration"},
      {"backoff = {jitter_high = 10.5}", "backoff.jitter_high must be a number from 0 to 10"},
      {"backoff = {min = \"2s\", max = \"1s\"}", "actors.a.backoff: min is more than max"},
      {"backoff = {mim = \"2s\"}", "toml:3: actors.a.backoff.mim is not a setting; did you mean"},
      {"backoff = 3", "toml:3: actors.a.backoff must be a table"},
      {"queue = \"a.XQ\"", "toml:3: actors.a.queue must not end in"},
      {"aliases = [\"agent_task\"]", "the name 'agent_task' is taken: built in"},
      {"exit_codes = {0 = \"fatal\"}", "toml:3: actors.a.exit_codes has the exit code \"0\""},
      {"exit_codes = {1 = \"later\"}", "toml:3: actors.a.exit_codes 1 must be \"retry\""},
      {"input_schema = \"no.json\"", "toml:3: actors.a.input_schema: "},
      {"input_schema = \"bad.json\"", "bad.json is not JSON"},
      {"input_schema = \"list.json\"", "toml:3: actors.a.input_schema must be a JSON object"},
      {"input_schema = {default = 2020-01-01}", "which JSON cannot express"},
      {"input_schema = {type = \"strin\"}", "toml:3: actors.a.input_schema is not a JSON Schema: "},
      {"input_schema = {pattern = \"(\"}", "the pattern '(' cannot be used"},
      {"limits.cpu = \"1500ms\"", "toml:3: actors.a.limits.cpu must be whole seconds"},
      {"result_max = \"1GiB\"", "toml:3: actors.a.result_max must be from 1 to 1MiB"},
  };
  write("bad.json", "{");
  write("list.json", "[]");
  for (const auto& [line, expected] : cases)
    EXPECT_THAT(failure(std::string("[actors.a]\ncommand = [\"true\"]\n") + line + "\n"),
                HasSubstr(expected))
        << line;
}

TEST_F(ActorConfigTest, WhatASubmitMayAskForAnActorMayHave) {
  ActorConfig actor = load(
                          "[actors.a]\ncommand = [\"true\"]\nmax_attempts = 1000000\n"
                          "timeout = \"30d\"\nbackoff = {min = \"31d\", max = \"37000d\", "
                          "factor = 1000, jitter_low = 10, jitter_high = 10}\n")
                          .actors[0];
  EXPECT_EQ(actor.max_attempts, limits::kAttemptsMax);
  EXPECT_EQ(actor.timeout, limits::kTimeoutMax);
  EXPECT_EQ(actor.backoff.factor, limits::kBackoffFactorMax);
  EXPECT_EQ(actor.backoff.jitter_high, limits::kBackoffJitterMax);
  EXPECT_GT(actor.backoff.min, limits::kTimeoutMax);
}

TEST_F(ActorConfigTest, ProgramsAreLookedUp) {
  EXPECT_THAT(failure("[actors.a]\ncommand = [\"no-such-program\"]\n"),
              HasSubstr("opscore.toml:2: actors.a.command: no program 'no-such-program'"));
  EXPECT_THAT(failure("[actors.a]\ncommand = []\n"),
              HasSubstr("toml:2: actors.a.command names no"));
  EXPECT_THAT(failure("[actors.a]\ncommand = \"true\"\n"), HasSubstr("must be an array"));
  EXPECT_THAT(failure("[actors.a]\n"), HasSubstr("opscore.toml:1: actors.a needs a command"));
  write("tool", "#!/bin/sh\n");
  EXPECT_THAT(failure("[actors.a]\ncommand = [\"./tool\"]\n"),
              HasSubstr("toml:2: actors.a.command"));
  std::filesystem::permissions(folder_ + "/tool", std::filesystem::perms::owner_all);
  EXPECT_EQ(load("[actors.a]\ncommand = [\"./tool\"]\n").actors[0].program, folder_ + "/tool");
  sources_.role = Role::client;  // does not run it
  EXPECT_EQ(failure("[actors.a]\ncommand = [\"no-such-program\"]\n"), "");
}

TEST_F(ActorConfigTest, NamesAreUnique) {
  EXPECT_THAT(
      failure("[actors.a]\ncommand=[\"true\"]\n[actors.b]\ncommand=[\"true\"]\naliases=[\"a\"]"),
      HasSubstr("toml:3: actors.b: the name 'a' is taken: actors.a"));
  EXPECT_THAT(failure("[actors.\"opscore.noop\"]\ncommand=[\"true\"]\n"), HasSubstr("reserved"));
  EXPECT_THAT(failure("[actors.\"a b\"]\ncommand=[\"true\"]\n"), HasSubstr("is not a good name"));
}

TEST_F(ActorConfigTest, SchemasFromFiles) {
  write("schema.json", " {\"type\": \"object\"}\n");
  EXPECT_EQ(load("[actors.a]\ncommand=[\"true\"]\ninput_schema=\"schema.json\"\n")
                .actors[0]
                .input_schema.json,
            " {\"type\": \"object\"}\n");
}

TEST_F(ActorConfigTest, Providers) {
  Config config = load(
      "[agent]\nprovider = \"local\"\n[agent.providers.local]\nbase_url = \"http://h/v1\"\n"
      "api_key_env = \"LOCAL_KEY\"\nmodel = \"m\"\n[agent.providers.openai]\nmodel = \"n\"\n");
  ASSERT_EQ(config.agent.providers.size(), 2);
  EXPECT_EQ(config.agent.providers[0].base_url, "http://h/v1");
  EXPECT_EQ(config.agent.providers[0].api_key_env, "LOCAL_KEY");
  EXPECT_THAT(failure("[agent.providers.local]\nmodel = \"m\"\n"), HasSubstr("needs a base_url"));
  EXPECT_THAT(failure("[agent.providers.local]\nkind = \"scripted\"\n"),
              HasSubstr("needs a script"));
  EXPECT_THAT(failure("[agent.providers.local]\nkind = \"scripted\"\nscript = \"no.json\"\n"),
              HasSubstr("toml:3: agent.providers.local.script"));
  const std::string scripted = "[agent.providers.local]\nkind = \"scripted\"\nscript = ";
  write("turns.json", R"({"turns": [{"txt": "hi"}]})");
  EXPECT_THAT(failure(scripted + "\"turns.json\"\n"),
              HasSubstr("toml:3: agent.providers.local.script: " + folder_ +
                        "/turns.json: script: turns[0].txt: unknown member"));
  write("turns.json", R"({"turns": [{"text": "hi"}]})");
  EXPECT_EQ(failure(scripted + "\"turns.json\"\n"), "");
  EXPECT_THAT(failure("[agent.providers.openai]\nkind = \"scripted\"\n"), HasSubstr("built in"));
  EXPECT_THAT(failure("[agent.providers.x]\nbase_url=\"http://h\"\napi_key_env = \"sk-123\"\n"),
              HasSubstr("must be the name of an environment variable"));
}

TEST_F(ActorConfigTest, HttpActors) {
  sources_.environment = {{"API_KEY", "k3y"}, {"HOOK_SECRET", "s3cret"}};
  Config config = load(R"([actors.hook]
kind = "http"
url = "https://user:pw@example.com/hook"
headers = {Authorization = "Bearer ${API_KEY}", X-Plain = "}{ $x"}
secret_env = "HOOK_SECRET"
output = "json"
timeout = "3s"
)");
  const ActorConfig& actor = config.actors.at(0);
  EXPECT_EQ(actor.kind, "http");
  EXPECT_EQ(actor.headers.at("Authorization"), "Bearer k3y");
  EXPECT_EQ(actor.headers.at("X-Plain"), "}{ $x");
  EXPECT_EQ(actor.secret, "s3cret");
  const std::string shown = config_text(config);
  for (const char* secret : {"k3y", "s3cret", "pw@"})
    EXPECT_EQ(shown.find(secret), std::string::npos) << shown;
  EXPECT_EQ(shown.find("actors.hook.command"), std::string::npos);
}

TEST_F(ActorConfigTest, HttpActorsThatCannotBe) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "needs a url"},
      {"url = \"example.com\"", "opscore.toml:3: actors.hook.url must be a URL"},
      {"url = \"http://a b/\"", "opscore.toml:3: actors.hook.url is not a URL"},
      {"url = \"ftp://a/\"", "opscore.toml:3: actors.hook.url must be a URL"},
      {"url = \"http://a/\"\ncommand = [\"x\"]",
       "opscore.toml:4: actors.hook.command is for kind = \"exec\""},
      {"url = \"http://a/\"\nlimits.memory = \"1GiB\"",
       "opscore.toml:4: actors.hook.limits.memory"},
      {"url = \"http://a/\"\nheaders = {Host = \"x\"}", "opscore.toml:4: actors.hook.headers"},
      {"url = \"http://a/\"\nheaders = {A = \"${NOT_SET}\"}", "NOT_SET is not set"},
      {"url = \"http://a/\"\nheaders = {A = \"${B\"}", "without its }"},
      {"url = \"http://a/\"\nheaders = {A = \"a\\nb\"}", "line break"},
      {"url = \"http://a/\"\nsecret_env = \"NOT_SET\"", "opscore.toml:4: actors.hook.secret_env"},
      {"url = \"http://a/\"\nsecret = \"a\"\nsecret_env = \"HOME\"", "keep one"}};
  for (const auto& [lines, words] : cases)
    EXPECT_THAT(failure("[actors.hook]\nkind = \"http\"\n" + lines + "\n"), HasSubstr(words))
        << lines;
  EXPECT_THAT(failure("[actors.x]\ncommand = [\"sh\"]\nurl = \"http://a/\"\n"),
              HasSubstr("opscore.toml:3: actors.x.url is for kind = \"http\""));
}

TEST_F(ActorConfigTest, WhatUrlsOfOthersMayReach) {
  EXPECT_THAT(load("[net]\nallow = [\"10.0.0.0/8\", \"::1\"]\n").net.allow,
              ElementsAre("10.0.0.0/8", "::1"));
  EXPECT_THAT(failure("[net]\nallow = [\"10.0.0.0/33\"]\n"),
              HasSubstr("opscore.toml:2: net.allow item 1 must be an IP address"));
  sources_.environment = {{"OPSCORE_NET_ALLOW", "127.0.0.1,fd00::/8"}};
  EXPECT_THAT(load("").net.allow, ElementsAre("127.0.0.1", "fd00::/8"));
}

}  // namespace
}  // namespace opscore
