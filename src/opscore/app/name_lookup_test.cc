#include "opscore/app/name_lookup.h"

#include <gmock/gmock.h>

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(NameLookup, HostsAreReadFromUrls) {
  EXPECT_THAT(hosts_of({"postgresql://u:p@db.internal:5432/x?y=1",
                        "amqp://one,amqp://u:p/@,q@two:5672/v amqp://[::1]:5672", "",
                        "postgresql:///x", "redis://db.internal/0"}),
              ElementsAre("db.internal", "one", "two", "::1"));
}

TEST(NameLookup, AHostHasAddressesOrAReason) {
  auto found = look_up({"127.0.0.1", "::1", "no-such-host.invalid"}, 10s);
  EXPECT_EQ(found["127.0.0.1"], "127.0.0.1");
  EXPECT_EQ(found["::1"], "::1");
  EXPECT_NE(found["no-such-host.invalid"], "");
  EXPECT_THAT(found["no-such-host.invalid"], Not(HasSubstr("127.0.0.1")));
}

}  // namespace
}  // namespace opscore
