#include "opscore/actor/native/builtin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "opscore/actor/recorded_context.h"
#include "opscore/base/json.h"
#include "opscore/model/error_kind.h"

namespace opscore {
namespace {

Outcome run(const std::string& type, const std::string& input) {
  Registry registry;
  add_builtin_actors(registry);
  RecordedContext task(input);
  return registry.find(type)->actor->run(task);
}

TEST(Builtin, NoopDoesNothing) {
  Outcome outcome = run("opscore.noop", R"({"any":"thing"})");
  EXPECT_EQ(outcome.kind, Outcome::Kind::completed);
  EXPECT_EQ(outcome.result, "null");
}

TEST(Builtin, EchoKeepsEveryByte) {
  for (const char* input : {R"({ "a" : 1.0e+2,"b":"\u00e9" })", "12345678901234567890", "null"})
    EXPECT_EQ(run("opscore.echo", input).result, input);
}

TEST(Builtin, SleepSleeps) {
  auto before = std::chrono::steady_clock::now();
  EXPECT_EQ(run("opscore.sleep", R"({"ms":30})").kind, Outcome::Kind::completed);
  EXPECT_GE(std::chrono::steady_clock::now() - before, Duration(30));
  EXPECT_EQ(run("opscore.sleep", R"({"ms":0})").kind, Outcome::Kind::completed);
}

TEST(Builtin, SleepStopsWhenAsked) {
  Registry registry;
  add_builtin_actors(registry);
  RecordedContext task(R"({"ms":31536000000})");
  Outcome outcome;
  {
    std::jthread slot([&] { outcome = registry.find("opscore.sleep")->actor->run(task); });
    task.request_stop();
  }
  EXPECT_EQ(outcome.kind, Outcome::Kind::failed);
}

TEST(Builtin, FailFailsAsAsked) {
  Outcome fatal = run("opscore.fail", R"({"message":"no \"luck\"","retryable":false})");
  EXPECT_EQ(fatal.kind, Outcome::Kind::failed);
  EXPECT_EQ(fatal.error.kind, error_kind::kActorError);
  EXPECT_EQ(fatal.error.message, "no \"luck\"");
  EXPECT_FALSE(fatal.retryable);
  EXPECT_TRUE(run("opscore.fail", "{}").retryable);
  EXPECT_EQ(run("opscore.fail", "null").error.kind, error_kind::kActorError);
}

TEST(Builtin, BadInputIsNotWorthAnotherTry) {
  const std::pair<const char*, const char*> bad[] = {
      {"opscore.sleep", "{}"},
      {"opscore.sleep", "5"},
      {"opscore.sleep", R"({"ms":-1})"},
      {"opscore.sleep", R"({"ms":"1"})"},
      {"opscore.sleep", R"({"ms":99999999999999})"},
      {"opscore.sleep", R"({"ms":1,"s":1})"},
      {"opscore.fail", R"({"retryable":"no"})"},
      {"opscore.fail", R"({"reason":"x"})"},
  };
  for (const auto& [type, input] : bad) {
    Outcome outcome = run(type, input);
    EXPECT_EQ(outcome.kind, Outcome::Kind::failed) << type << input;
    EXPECT_EQ(outcome.error.kind, error_kind::kInvalidInput) << type << input;
    EXPECT_FALSE(outcome.retryable) << type << input;
    EXPECT_FALSE(outcome.error.message.empty());
  }
}

TEST(Builtin, SchemasAreJson) {
  Registry registry;
  add_builtin_actors(registry);
  EXPECT_EQ(registry.all().size(), 5u);
  EXPECT_EQ(parse_json(registry.find("opscore.sleep")->entry.input_schema)["required"][0], "ms");
  EXPECT_TRUE(parse_json(registry.find("opscore.fail")->entry.input_schema).is_object());
}

TEST(Builtin, CrashCrashes) {
  pid_t child = ::fork();
  if (child == 0) {
    rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    std::signal(SIGSEGV, SIG_DFL);  // a sanitizer has a handler of its own
    run("opscore.crash", "{}");
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGSEGV);
}

}  // namespace
}  // namespace opscore
