#include "opscore/process/surroundings.h"

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>

namespace opscore {
namespace {

using testing::AllOf;
using testing::Each;
using testing::Gt;
using testing::HasSubstr;
using testing::Not;

TEST(Surroundings, TheParentComesFirst) {
  auto above = ancestors();
  ASSERT_FALSE(above.empty());
  EXPECT_EQ(above[0].pid, ::getppid());
  EXPECT_THAT(arguments_of(::getpid()).at(0), HasSubstr("process_test"));
}

TEST(Surroundings, LimitsAreThoseInForce) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_CORE, &before), 0);
  rlimit lower{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_CORE, &lower), 0);
  const std::string words = resource_limits().at("core_bytes");
  ASSERT_EQ(::setrlimit(RLIMIT_CORE, &before), 0);
  EXPECT_EQ(words.substr(0, words.find(' ')), "0");
}

TEST(Surroundings, TheBuildHasAnId) {
  EXPECT_THAT(build_id().size(), Gt(16u));
  EXPECT_EQ(build_id().find_first_not_of("0123456789abcdef"), std::string::npos);
}

TEST(Surroundings, TheNarrowestVariableNamesTheLocale) {
  ::setenv("LANG", "de_DE.UTF-8", 1);
  ::unsetenv("LC_ALL");
  ::unsetenv("LC_CTYPE");
  EXPECT_EQ(locale_name(), "de_DE.UTF-8");
  ::setenv("LC_ALL", "POSIX", 1);
  EXPECT_EQ(locale_name(), "POSIX");
  ::unsetenv("LC_ALL");
  ::unsetenv("LANG");
  EXPECT_EQ(locale_name(), "C");
}

TEST(Surroundings, TheZoneIsTheOneOfTheEnvironmentFirst) {
  ::setenv("TZ", "Europe/Paris", 1);
  EXPECT_EQ(time_zone(), "Europe/Paris");
  ::unsetenv("TZ");
  EXPECT_NE(time_zone(), "");
}

TEST(Surroundings, TheRestIsSaid) {
  EXPECT_NE(host_name(), "");
  EXPECT_NE(user_name(), "");
  EXPECT_EQ(process_umask().size(), 4u);
  for (const auto& [name, value] : cgroup_limits()) EXPECT_NE(value, "max") << name;
}

}  // namespace
}  // namespace opscore
