#include "opscore/process/cgroup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "opscore/base/log.h"
#include "opscore/process/run_program.h"

namespace opscore {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string words(const std::vector<CgroupPlace>& places) {
  std::string text;
  for (const CgroupPlace& place : places) {
    text += "v" + std::to_string(place.version) + " " + place.folder;
    for (const std::string& controller : place.controllers) text += " " + controller;
    text += "; ";
  }
  return text;
}

TEST(CgroupPlaces, OfVersionTwo) {
  EXPECT_EQ(words(cgroup_places("0::/system.slice/opscore.service\n",
                                "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 "
                                "rw,nsdelegate\n")),
            "v2 /sys/fs/cgroup/system.slice/opscore.service memory pids cpu; ");
}

TEST(CgroupPlaces, OfAContainerThatSeesItsOwnPartOnly) {
  EXPECT_EQ(words(cgroup_places("0::/docker/abc/inner\n",
                                "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n")),
            "v2 /sys/fs/cgroup/inner memory pids cpu; ");
  EXPECT_EQ(words(cgroup_places("0::/\n", "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n")),
            "v2 /sys/fs/cgroup memory pids cpu; ");
  EXPECT_EQ(words(cgroup_places("0::/elsewhere\n",
                                "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n")),
            "");
  EXPECT_EQ(words(cgroup_places("0::/docker/abcdef\n",
                                "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n")),
            "")
      << "a sibling";
  EXPECT_EQ(words(cgroup_places("0::/docker/abc\n",
                                "30 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
                                "31 23 0:26 /docker/other /mnt rw - cgroup2 cgroup rw\n")),
            "v2 /sys/fs/cgroup memory pids cpu; ")
      << "mounted twice";
}

TEST(CgroupPlaces, OfBothVersions) {
  EXPECT_EQ(words(cgroup_places("4:memory:/a/b\n1:cpu,cpuacct:/\n0::/x\n",
                                "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup c "
                                "rw,cpu,cpuacct\n"
                                "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup c rw,memory\n"
                                "36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 c rw\n")),
            "v1 /sys/fs/cgroup/cpu,cpuacct cpu; v1 /sys/fs/cgroup/memory/a/b memory; "
            "v2 /sys/fs/cgroup/unified/x pids; ");
}

TEST(CgroupPlaces, OfNothing) {
  EXPECT_EQ(words(cgroup_places("", "")), "");
  EXPECT_EQ(words(cgroup_places("garbage\n::\n", "1 2 3 - cgroup2\n\n")), "");
}

TEST(CgroupSettings, SayOnlyWhatIsLimited) {
  auto shown = [](int version, const CgroupLimits& limits) {
    std::vector<std::string> text;
    for (const CgroupSetting& setting : cgroup_settings(version, limits))
      text.push_back(setting.controller + " " + setting.file + "=" + setting.value);
    return text;
  };
  EXPECT_THAT(
      shown(2, {1 << 20, 10, 1.5}),
      ElementsAre("pids pids.max=10", "memory memory.max=1048576", "memory memory.swap.max=0",
                  "memory memory.oom.group=1", "cpu cpu.max=150000 100000"));
  EXPECT_THAT(shown(1, {1 << 20, 10, 0.5}),
              ElementsAre("pids pids.max=10", "memory memory.limit_in_bytes=1048576",
                          "cpu cpu.cfs_period_us=100000", "cpu cpu.cfs_quota_us=50000"));
  EXPECT_TRUE(shown(1, {}).empty());
  EXPECT_TRUE(shown(2, {}).empty());
}

// On a machine where groups can be made; elsewhere the reason is what there is to see.
TEST(Cgroups, HoldARunToItsProcesses) {
  auto groups = Cgroups::open();
  if (!groups || !(*groups)->bounds("pids")) {
    EXPECT_THAT(groups ? "no pids" : groups.error().message(), testing::Not(testing::IsEmpty()));
    return;
  }
  auto log = silent_log();
  Reaper reaper(*log);
  ProgramRun run;
  run.child = {.program = "/bin/sh",
               .argv = {"sh", "-c",
                        "cat /proc/self/cgroup; for i in 1 2 3 4 5 6 7 8; do sleep 60 "
                        "& done; echo all started"},
               .env = {"PATH=/usr/bin:/bin"}};
  run.mark = "task_x#1";
  run.output_bytes_max = 1 << 20;
  run.on_err = [](std::string_view) {};
  {
    auto group = (*groups)->make({0, 5, 0});
    run.child.groups = group->entrances();
    ProgramEnd end = run_program(reaper, run);
    EXPECT_FALSE(end.status.success());
    EXPECT_THAT(end.output, HasSubstr("opscore-run-"));
    EXPECT_THAT(end.output, testing::Not(HasSubstr("all started")));
  }
  auto next = (*groups)->make({0, 20, 0});
  run.child.groups = next->entrances();
  EXPECT_THAT(run_program(reaper, run).output, HasSubstr("all started"));
}

TEST(Cgroups, LeaveTheGroupsOfAnotherLivingServerAlone) {
  auto first = Cgroups::open();
  if (!first) return;                      // said by the test above
  auto group = (*first)->make({0, 5, 0});  // and nobody is in it yet
  const pid_t other = ::fork();
  if (other == 0) ::_exit(Cgroups::open() ? 0 : 1);
  int status = 0;
  ::waitpid(other, &status, 0);
  EXPECT_EQ(status, 0);
  auto log = silent_log();
  Reaper reaper(*log);
  ProgramRun run;
  run.child = {.program = "/bin/true", .argv = {"true"}, .groups = group->entrances()};
  run.mark = "task_x#1";
  run.on_err = [](std::string_view) {};
  EXPECT_TRUE(run_program(reaper, run).status.success());
}

}  // namespace
}  // namespace opscore
