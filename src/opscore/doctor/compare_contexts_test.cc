#include "opscore/doctor/compare_contexts.h"

#include <gmock/gmock.h>

namespace opscore {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// As a worker that somebody has started in a shell.
Json by_hand() {
  return {{"executable", "/usr/bin/opscore"},
          {"argv", {"opscore", "worker"}},
          {"pid", 100},
          {"ppid", 90},
          {"cwd", "/srv/app"},
          {"stdin", "terminal /dev/pts/1"},
          {"stdout", "terminal /dev/pts/1"},
          {"stderr", "terminal /dev/pts/1"},
          {"has_terminal", true},
          {"parents", {{{"pid", 90}, {"argv", {"-bash"}}}}},
          {"signals", {{"blocked", Json::array()}, {"ignored", Json::array()}}},
          {"services", {{"store", "postgresql://app@db/x, schema opscore"}}},
          {"store_identity", "abc"},
          {"environment", {{"PATH", "/usr/bin"}, {"LANG", "C.UTF-8"}, {"SHLVL", "1"}}},
          {"python", {{"path", {"/srv/app", "/usr/lib/python3"}}}}};
}

std::vector<std::string> names_of(const std::vector<Difference>& differences) {
  std::vector<std::string> names;
  for (const Difference& each : differences) names.push_back(each.what);
  return names;
}

TEST(CompareContexts, TheSamePlaceHasNoDifferences) {
  Json again = by_hand();
  again["pid"] = 101;
  again["ppid"] = 91;
  again["parents"][0]["pid"] = 91;
  again["environment"]["SHLVL"] = "3";
  EXPECT_THAT(compare_contexts(by_hand(), again), IsEmpty());
}

// The model case: started by a test through subprocess, with a pipe that nobody reads.
TEST(CompareContexts, StartedByATestAgainstStartedByHand) {
  Json by_test = by_hand();
  by_test["pid"] = 200;
  by_test["stdin"] = "/dev/null";
  by_test["stdout"] = "pipe";
  by_test["stderr"] = "pipe";
  by_test["has_terminal"] = false;
  by_test["parents"] = {{{"pid", 150}, {"argv", {"python3", "-m", "pytest"}}}};
  by_test["signals"]["ignored"] = {"SIGPIPE"};
  by_test["environment"]["DRAMATIQ_TESTING"] = "1";
  by_test["environment"]["PYTEST_VERSION"] = "7.2.1";
  by_test["environment"]["API_BASE"] = "";
  auto found = compare_contexts(by_hand(), by_test);
  EXPECT_THAT(names_of(found),
              ElementsAre("environment.DRAMATIQ_TESTING", "stderr", "stdout", "signals.ignored",
                          "environment.API_BASE", "stdin", "has_terminal", "parents",
                          "environment.PYTEST_VERSION"));
  EXPECT_EQ(found[0].first, "-");
  EXPECT_EQ(found[0].second, "1");
  EXPECT_THAT(found[1].why, HasSubstr("blocks"));
  EXPECT_EQ(found[3].first, "-");
  EXPECT_EQ(found[3].second, "SIGPIPE");
  EXPECT_EQ(found[7].first, "-bash");
  EXPECT_EQ(found[7].second, "python3 -m pytest");
}

TEST(CompareContexts, AnotherStoreIsTheFirstThingToSay) {
  Json other = by_hand();
  other["store_identity"] = "def";
  other["services"]["store"] = "/tmp/opscore.db";
  other["stdout"] = "closed";
  other["cwd"] = "/tmp";
  EXPECT_THAT(names_of(compare_contexts(by_hand(), other)),
              ElementsAre("store_identity", "services.store", "stdout", "cwd"));
}

TEST(CompareContexts, OfAFileOnlyTroubleIsSuspicious) {
  Json file = by_hand(), full = by_hand();
  file["stderr"] = "file /var/log/worker.log";
  full["stderr"] = "/dev/full";
  const auto to_file = compare_contexts(by_hand(), file),
             to_full = compare_contexts(by_hand(), full);
  ASSERT_EQ(to_file.size(), 1u);
  ASSERT_EQ(to_full.size(), 1u);
  EXPECT_LT(to_file[0].rank, to_full[0].rank);
}

TEST(CompareContexts, OfLongListsOnlyWhatDiffersIsShown) {
  Json other = by_hand();
  other["python"]["path"] = {"/srv/old", "/usr/lib/python3"};
  auto found = compare_contexts(by_hand(), other);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].first, "/srv/app");
  EXPECT_EQ(found[0].second, "/srv/old");
  other["python"]["path"] = {"/usr/lib/python3", "/srv/app"};
  EXPECT_EQ(compare_contexts(by_hand(), other).at(0).second, "/usr/lib/python3 /srv/app");
}

TEST(CompareContexts, WhatOneDoesNotHaveIsADifference) {
  Json without = by_hand();
  without.erase("python");
  auto found = compare_contexts(without, by_hand());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].what, "python.path");
  EXPECT_EQ(found[0].first, "-");
}

TEST(CompareContexts, WhatNobodyKnowsComesLast) {
  Json other = by_hand();
  other["something_new"] = 1;
  other["umask"] = "0077";
  EXPECT_THAT(names_of(compare_contexts(by_hand(), other)), ElementsAre("umask", "something_new"));
}

}  // namespace
}  // namespace opscore
