#include "opscore/app/command_options.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "opscore/app/cli/client_commands.h"
#include "opscore/app/command_line.h"
#include "opscore/app/config_show.h"

namespace opscore {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

CommandLine parsed(std::vector<std::string> args) {
  auto line = parse_command_line(std::move(args));
  if (!line) ADD_FAILURE() << line.error().err;
  return line.value_or(CommandLine{});
}

TEST(CommandLine, WhatEachCommandIs) {
  struct Case {
    std::vector<std::string> args;
    const char* command;
  };
  const Case cases[] = {
      {{"up"}, "up"},
      {{"api"}, "api"},
      {{"worker"}, "worker"},
      {{"maintenance"}, "maintenance"},
      {{"submit", "a"}, "submit"},
      {{"tasks"}, "tasks list"},
      {{"tasks", "--json"}, "tasks list"},
      {{"tasks", "list"}, "tasks list"},
      {{"tasks", "show", "x"}, "tasks show"},
      {{"tasks", "watch", "x"}, "tasks watch"},
      {{"tasks", "cancel", "x", "y"}, "tasks cancel"},
      {{"tasks", "retry", "x"}, "tasks retry"},
      {{"tasks", "delete", "x"}, "tasks delete"},
      {{"tasks", "delete", "--status", "failed", "--yes"}, "tasks delete"},
      {{"tasks", "export", "-o", "x"}, "tasks export"},
      {{"jobs"}, "jobs list"},
      {{"jobs", "watch", "job_1"}, "jobs watch"},
      {{"backup", "x"}, "backup"},
      {{"restore", "x", "--data", "y"}, "restore"},
      {{"queues"}, "queues list"},
      {{"queues", "list"}, "queues list"},
      {{"queues", "pause", "q"}, "queues pause"},
      {{"queues", "resume", "q"}, "queues resume"},
      {{"queues", "purge", "q", "--yes"}, "queues purge"},
      {{"workers"}, "workers list"},
      {{"workers", "list"}, "workers list"},
      {{"actors"}, "actors list"},
      {{"actors", "list"}, "actors list"},
      {{"explain", "x"}, "explain"},
      {{"config", "show"}, "config show"},
      {{"config", "check"}, "config check"},
      {{"migrate"}, "migrate"},
      {{"bench"}, "bench"},
      {{"version"}, "version"},
  };
  for (const auto& [args, command] : cases) {
    EXPECT_EQ(parsed(args).command, command);
    bool local = command == std::string_view("version") || role_of(command) != Role::client ||
                 command == std::string_view("bench");
    EXPECT_EQ(find_client_command(command) == nullptr, local) << command;
  }
}

TEST(CommandLine, Submit) {
  CommandLine line =
      parsed({"submit",     "mail.send", "--input",    "-",     "--queue",           "q",
              "--priority", "-5",        "--delay",    "10m",   "--max-attempts",    "0",
              "--timeout",  "1s",        "--deadline", "1h",    "--idempotency-key", "k",
              "--task-id",  "t",         "--label",    "a=b",   "--label",           "c=d",
              "--name",     "n",         "--wait",     "--json"});
  EXPECT_EQ(line.submit.type, "mail.send");
  EXPECT_EQ(line.submit.input, "-");
  EXPECT_EQ(line.submit.priority, -5);
  EXPECT_EQ(line.submit.max_attempts, 0);
  EXPECT_THAT(line.submit.labels, ElementsAre("a=b", "c=d"));
  EXPECT_EQ(line.wait, "forever");
  EXPECT_TRUE(line.json);
  EXPECT_EQ(parsed({"submit", "--wait=30s", "a"}).wait, "30s");
  EXPECT_EQ(parsed({"submit", "--wait", "a"}).submit.type, "a");
  EXPECT_EQ(parsed({"submit", "a"}).wait, "");
  EXPECT_EQ(parsed({"submit", "--label", "a=b", "t"}).submit.type, "t");
  EXPECT_EQ(parsed({"submit", "a"}).submit.input, std::nullopt);
}

TEST(CommandLine, List) {
  CommandLine line = parsed({"tasks", "list", "--status", "failed,cancelled", "--status", "running",
                             "--limit", "3", "--label", "a=b"});
  EXPECT_THAT(line.list.statuses, ElementsAre("failed", "cancelled", "running"));
  EXPECT_EQ(line.list.limit, 3);
  EXPECT_EQ(parsed({"tasks", "list"}).list.limit, 50);
}

TEST(CommandLine, FlagsAreSettings) {
  CommandLine line = parsed({"up", "--port", "0", "--allow-unauthenticated", "--data", "x.db",
                             "--no-supervise", "--no-dotenv", "--config", "c.toml"});
  EXPECT_THAT(line.flags, ElementsAre(Pair("server.allow_unauthenticated", "true"),
                                      Pair("server.port", "0"), Pair("store.path", "x.db")));
  EXPECT_FALSE(line.run.supervise);
  EXPECT_TRUE(line.no_dotenv);
  EXPECT_EQ(line.config_file, "c.toml");
  EXPECT_TRUE(parsed({"up"}).run.supervise);
  EXPECT_THAT(parsed({"tasks", "list", "--url", "http://h"}).flags,
              ElementsAre(Pair("client.url", "http://h")));
}

TEST(CommandLine, Bench) {
  BenchOptions bench = parsed({"bench", "--tasks", "5", "--mode", "server", "--url", "http://h",
                               "--payload", "10", "--runs", "1", "--json", "--suite", "all"})
                           .bench;
  EXPECT_EQ(bench.tasks, 5);
  EXPECT_EQ(bench.mode, BenchOptions::Mode::server);
  EXPECT_EQ(bench.url, "http://h");
  EXPECT_EQ(bench.payload_bytes, 10);
  EXPECT_EQ(bench.suite, "all");
  EXPECT_TRUE(bench.json);
}

TEST(CommandLine, MistakesExitWith2AndSayWhereHelpIs) {
  const std::vector<std::string> mistakes[] = {
      {"nonsense"},
      {"submit"},
      {"submit", "a", "--nonsense"},
      {"submit", "a", "--priority", "many"},
      {"submit", "a", "--delay", "1s", "--run-at", "2030-01-01T00:00:00Z"},
      {"tasks", "show"},
      {"tasks", "show", "a", "b"},
      {"tasks", "nonsense"},
      {"tasks", "list", "--limit", "0"},
      {"queues", "pause"},
      {"config"},
      {"bench", "--suite", "none"},
      {"bench", "--mode", "none"},
      {"up", "--port"},
  };
  for (const auto& args : mistakes) {
    auto line = parse_command_line(args);
    ASSERT_FALSE(line) << fmt::format("{}", args[0]);
    EXPECT_EQ(line.error().code, 2);
    EXPECT_THAT(line.error().err, HasSubstr("--help")) << args[0];
    EXPECT_THAT(line.error().out, "");
  }
  EXPECT_EQ(parse_command_line({}).error().code, 2);
}

TEST(CommandLine, WhatIsNotExpectedIsNamedInTheOrderItWasTyped) {
  auto words = [](const std::vector<std::string>& args) {
    auto line = parse_command_line(args);
    return line ? "fine" : line.error().err;
  };
  EXPECT_THAT(words({"queues", "sett", "mail"}),
              HasSubstr("there is no 'opscore queues sett'; there is: list, show, set, watch"));
  EXPECT_THAT(words({"queue"}), HasSubstr("there is no 'opscore queue'; there is: up, api"));
  EXPECT_THAT(words({"queues", "pause", "a", "b", "c"}), HasSubstr("not expected: b c\n"));
  EXPECT_THAT(words({"queues", "set", "mail", "--max-pendng", "5"}),
              HasSubstr("not expected: --max-pendng 5\n  see: opscore queues set --help"));
}

TEST(CommandLine, EveryCommandHasHelpWithAnExample) {
  auto commands = all_command_help();
  EXPECT_GE(commands.size(), 27u);
  for (const auto& [command, help] : commands) {
    EXPECT_THAT(help, HasSubstr("Example:\n  ")) << command;
    EXPECT_THAT(help, HasSubstr("opscore " + command)) << command;
    std::vector<std::string> args;
    size_t space = command.find(' ');
    args.push_back(command.substr(0, space));
    if (space != std::string::npos) args.push_back(command.substr(space + 1));
    args.push_back("--help");
    auto line = parse_command_line(args);
    ASSERT_FALSE(line);
    EXPECT_EQ(line.error().code, 0);
    EXPECT_THAT(line.error().out, HasSubstr("Example:"));
  }
}

// The references are written from the code. UPDATE_DOCS=1 writes them again.
TEST(Reference, IsWhatTheCodeSays) {
  auto root = std::filesystem::path(__FILE__).parent_path() / "../../..";
  const std::pair<const char*, std::string> pages[] = {
      {"docs/reference/cli.md", command_reference()},
      {"docs/reference/config.md", config_reference()}};
  for (const auto& [name, expected] : pages) {
    if (std::getenv("UPDATE_DOCS")) std::ofstream(root / name, std::ios::binary) << expected;
    std::ifstream in(root / name, std::ios::binary);
    std::string page(std::istreambuf_iterator<char>(in), {});
    EXPECT_EQ(page, expected) << name << ": run UPDATE_DOCS=1 app_test --gtest_filter=Reference.*";
  }
}

TEST(ErrorText, IndentsWhatToDo) {
  EXPECT_EQ(error_text("up", "no\ndo this\nor that"), "opscore: up: no\n  do this\n  or that\n");
}

}  // namespace
}  // namespace opscore
