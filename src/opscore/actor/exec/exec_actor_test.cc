// Real programs: small scripts for /bin/sh.

#include "opscore/actor/exec/exec_actor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

#include "opscore/actor/recorded_context.h"
#include "opscore/base/json.h"
#include "opscore/model/error_kind.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using Output = OutputFormat;

class ExecActor : public testing::Test {
 protected:
  static ExecOptions script(const std::string& text, Output output = Output::text) {
    ExecOptions options;
    options.command = {"sh", "-c", text};
    options.output = output;
    return options;
  }
  Outcome run(ExecOptions options) {
    return make_exec_actor(reaper_, std::move(options))->run(task_);
  }
  Outcome run(const std::string& text, Output output = Output::text) {
    return run(script(text, output));
  }
  std::string refusal(const ExecOptions& options) {
    try {
      make_exec_actor(reaper_, options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid);
      return error.what();
    }
    return "accepted";
  }
  static void expect_bad(const Outcome& outcome, const std::string& kind,
                         const std::string& words) {
    EXPECT_EQ(outcome.kind, Outcome::Kind::failed);
    EXPECT_EQ(outcome.error.kind, kind);
    EXPECT_FALSE(outcome.retryable);
    EXPECT_THAT(outcome.error.message, HasSubstr(words));
  }

  std::unique_ptr<Log> log_ = silent_log();
  Reaper reaper_{*log_};
  RecordedContext task_{R"({"name":"Zoé"})"};
};

TEST_F(ExecActor, TextIsAStringWithoutOneLineEnd) {
  EXPECT_EQ(run("cat").result, R"("{\"name\":\"Zoé\"}")");
  EXPECT_EQ(run("printf 'a\\n\\n'").result, R"("a\n")");
  EXPECT_EQ(run("printf '\\n'").result, R"("")");
  EXPECT_EQ(run("true").result, R"("")");
  EXPECT_EQ(run("printf '  x\\t'").result, R"("  x\t")");
}

TEST_F(ExecActor, JsonIsTakenByteForByte) {
  EXPECT_EQ(run("cat", Output::json).result, R"({"name":"Zoé"})");
  EXPECT_EQ(run("echo; echo ' { \"big\": 12345678901234567890.10 } '", Output::json).result,
            R"({ "big": 12345678901234567890.10 })");
}

TEST_F(ExecActor, BadOutputIsNotWorthAnotherTry) {
  expect_bad(run("printf 'a\\377b'"), error_kind::kBadOutput, "is not UTF-8");
  expect_bad(run("true", Output::json), error_kind::kBadOutput, "is empty");
  expect_bad(run("echo hello", Output::json), error_kind::kBadOutput, "line 1");
  expect_bad(run("echo 1; echo 2", Output::json), error_kind::kBadOutput, "line 2");
  expect_bad(run("echo NaN", Output::json), error_kind::kBadOutput, "begins with \"NaN");
  expect_bad(run("printf '\"\\377\"'", Output::json), error_kind::kBadOutput, "not one JSON value");
}

TEST_F(ExecActor, OutputOverTheLimitIsNotWorthAnotherTry) {
  expect_bad(run("exec cat /dev/zero"), error_kind::kResultTooLarge, "1048576 bytes");
  ExecOptions small = script("printf '\\n\\n\\n\\n\\n\\n\\n\\n'");  // each two characters in JSON
  small.result_bytes_max = 10;
  expect_bad(run(small), error_kind::kResultTooLarge, "as JSON");
}

TEST_F(ExecActor, ExitCodesMeanSomething) {
  Outcome retry = run("echo why >&2; exit 3");
  EXPECT_EQ(retry.kind, Outcome::Kind::failed);
  EXPECT_TRUE(retry.retryable);
  EXPECT_EQ(retry.error, (ErrorInfo{error_kind::kActorError, "exit code 3", "why\n"}));

  EXPECT_FALSE(run("exit 65").retryable);

  Outcome snooze = run("exit 75");
  EXPECT_EQ(snooze.kind, Outcome::Kind::snoozed);
  EXPECT_EQ(snooze.delay, Duration(30'000));

  ExecOptions other = script("exit 9");
  other.exit_codes[9] = {ExitMeaning::Kind::snooze, Duration(5)};
  EXPECT_EQ(run(other).delay, Duration(5));
  other = script("exit 65");
  other.exit_codes[65] = {ExitMeaning::Kind::retry};
  EXPECT_TRUE(run(other).retryable);
}

TEST_F(ExecActor, ADeathBySignalIsNamedAndRetried) {
  Outcome outcome = run("kill -SEGV $$");
  EXPECT_THAT(outcome.error.message, HasSubstr("killed by SIGSEGV"));
  EXPECT_TRUE(outcome.retryable);
}

TEST_F(ExecActor, LogsAndProgressComeFromStderr) {
  Outcome outcome =
      run("echo starting >&2; echo '::progress {\"done\":1}' >&2; echo '::progress half' >&2; "
          "printf last >&2; echo out");
  EXPECT_EQ(outcome.result, R"("out")");
  EXPECT_THAT(task_.progresses(), ElementsAre(R"({"done":1})"));
  EXPECT_THAT(task_.lines(),
              ElementsAre("starting", HasSubstr("::progress half (not JSON"), "last"));
}

TEST_F(ExecActor, TheEnvironmentHoldsNoSecrets) {
  ::setenv("OPENAI_API_KEY", "sk-secret", 1);
  ::setenv("OPSCORE_API_TOKEN", "secret", 1);
  ::setenv("TZ", "Europe/Berlin", 1);
  ExecOptions options =
      script("env | grep -v '^PWD=\\|^_=\\|^SHLVL=' | cut -d= -f1 | sort | xargs");
  options.env = {{"MODE", "test"}};
  ::setenv("HOME", "/root", 1);
  ::setenv("LANG", "C.UTF-8", 1);
  EXPECT_EQ(run(options).result, R"("HOME LANG MODE OPSCORE_ATTEMPT OPSCORE_TASK_ID PATH TZ")");
  EXPECT_EQ(run("echo $OPSCORE_TASK_ID $OPSCORE_ATTEMPT $TZ").result,
            R"("task_test task_test#3 Europe/Berlin")");
  options = script("echo \"$TZ $HOME\"");
  options.env = {{"TZ", "UTC"}, {"HOME", ""}};
  EXPECT_EQ(run(options).result, R"("UTC ")");
}

TEST_F(ExecActor, StopsWhenAsked) {
  task_.on_line = [&](std::string_view) { task_.request_stop(); };
  ExecOptions options = script("trap '' TERM; echo ready >&2; while :; do sleep 1; done");
  options.stop_grace = 20ms;
  Outcome outcome = run(options);
  EXPECT_EQ(outcome.kind, Outcome::Kind::failed);
  EXPECT_EQ(outcome.error.message, "stopped: killed by SIGKILL");
}

TEST_F(ExecActor, AnExitWithZeroAfterTheStopIsNoResult) {
  task_.on_line = [&](std::string_view) { task_.request_stop(); };
  Outcome outcome = run("trap 'echo part; exit 0' TERM; echo go >&2; while :; do sleep 0.1; done");
  EXPECT_EQ(outcome.kind, Outcome::Kind::failed);
  EXPECT_EQ(outcome.error.message, "stopped: exit code 0");
}

TEST_F(ExecActor, TheDeadlineIsATimeout) {
  task_.set_deadline(Deadline::after(30ms));
  Outcome outcome = run("exec sleep 1000");
  EXPECT_EQ(outcome.kind, Outcome::Kind::timed_out);
  EXPECT_EQ(outcome.error.kind, error_kind::kTimeout);
}

TEST_F(ExecActor, IgnoresItsInputIfItLikes) {
  RecordedContext big("\"" + std::string(1 << 20, 'x') + "\"");
  EXPECT_EQ(make_exec_actor(reaper_, script("exec <&-; echo done"))->run(big).result, R"("done")");
}

TEST_F(ExecActor, IsCheckedWhenItIsMade) {
  ExecOptions options;
  EXPECT_THAT(refusal(options), HasSubstr("needs a command"));
  options.command = {"no-such-program"};
  EXPECT_THAT(refusal(options), HasSubstr("no program 'no-such-program' in PATH"));
  options.env["PATH"] = "/only/here";
  EXPECT_THAT(refusal(options), HasSubstr("(/only/here)"));
  options = script("true");
  options.env["A=B"] = "x";
  EXPECT_THAT(refusal(options), HasSubstr("'A=B' is no name"));
  options.env = {{"OPSCORE_ATTEMPT", "x"}};
  EXPECT_THAT(refusal(options), HasSubstr("set by opscore"));
  options.env = {{"A", std::string("x\0y", 3)}};
  EXPECT_THAT(refusal(options), HasSubstr("NUL"));
}

}  // namespace
}  // namespace opscore
