#include "opscore/app/config_change.h"

#include <gmock/gmock.h>

namespace opscore {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Config config(const std::string& toml) {
  std::vector<std::string> problems;
  Config config = read_config({}, toml, std::nullopt, problems);
  EXPECT_THAT(problems, IsEmpty());
  return config;
}

TEST(ConfigChange, nothing) {
  constexpr char kText[] = "[log]\nlevel = \"warn\"\n[queues.a]\nmax_pending = 1\n";
  ConfigChange change = compare_configs(config(kText), config(kText));
  EXPECT_THAT(change.changed, IsEmpty());
  EXPECT_THAT(change.needs_restart, IsEmpty());
}

TEST(ConfigChange, actors_queues_and_providers_come_change_and_go) {
  ConfigChange change = compare_configs(
      config("[actors.gone]\ncommand = [\"a\"]\n[actors.same]\ncommand = [\"a\"]\n"
             "[actors.other]\ncommand = [\"a\"]\nenv = {A = \"1\"}\n"
             "[queues.mail]\nmax_pending = 1\n"),
      config("[actors.same]\ncommand = [\"a\"]\n[actors.new]\ncommand = [\"a\"]\n"
             "[actors.other]\ncommand = [\"a\"]\nenv = {A = \"2\"}\n"
             "[queues.mail]\nmax_pending = 2\n[agent.providers.p]\nmodel = \"m\"\n"));
  EXPECT_THAT(change.changed,
              ElementsAre("actors.new (added)", "actors.other", "actors.gone (removed)",
                          "queues.mail", "agent.providers.p (added)"));
  EXPECT_THAT(change.needs_restart, IsEmpty());
}

TEST(ConfigChange, what_cannot_change_while_running_is_left_as_it_is) {
  Config before = config("[server]\nport = 1\n[log]\nlevel = \"info\"\nformat = \"text\"\n");
  Config after = config(
      "[server]\nport = 2\n[log]\nlevel = \"warn\"\nformat = \"json\"\n"
      "[retention]\ncompleted = \"1h\"\n");
  ConfigChange change = compare_configs(before, after);
  EXPECT_THAT(change.changed, ElementsAre("retention.completed", "log.level"));
  EXPECT_THAT(change.needs_restart, ElementsAre("server.port", "log.format"));
  Config merged = with_reloadable(before, after);
  EXPECT_EQ(merged.server.port, 1);
  EXPECT_EQ(merged.log.format, "text");
  EXPECT_EQ(merged.log.level, "warn");
  EXPECT_EQ(merged.retention.completed, after.retention.completed);
  EXPECT_THAT(compare_configs(merged, after).changed, IsEmpty());
  EXPECT_THAT(compare_configs(merged, after).needs_restart,
              ElementsAre("server.port", "log.format"));
}

}  // namespace
}  // namespace opscore
