#include "opscore/api/query.h"

#include <gtest/gtest.h>

#include "opscore/base/error.h"

namespace opscore {
namespace {

TEST(Query, DecodesAndKeepsOrder) {
  Query query("a=1&b=x%20y+z&a=%C3%A9&&c=&d", {"a", "b", "c", "d"});
  EXPECT_EQ(query.all("a"), (std::vector<std::string>{"1", "\xc3\xa9"}));
  EXPECT_THROW(query.one("a"), Error);
  EXPECT_EQ(query.one("b"), "x y z");
  EXPECT_EQ(query.one("c"), std::nullopt);
  EXPECT_EQ(query.one("d"), std::nullopt);
  EXPECT_TRUE(query.flag("a2", true));
}

TEST(Query, RefusesWhatIsUnknownOrBroken) {
  for (const char* text : {"limt=1", "=1", "%6=1", "limit=%", "limit=%g0"}) {
    try {
      Query query(text, {"limit"});
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == Errc::invalid || error.code() == Errc::malformed) << text;
    }
  }
  EXPECT_THROW(Query("wait=maybe", {"wait"}).flag("wait", false), Error);
}

TEST(PercentDecode, KnowsItsLimits) {
  EXPECT_EQ(percent_decode("a%2Fb+c", false), "a/b+c");
  EXPECT_EQ(percent_decode("%4", false), std::nullopt);
  EXPECT_EQ(percent_decode("%zz", false), std::nullopt);
  EXPECT_EQ(percent_decode("%+1", false), std::nullopt);
  EXPECT_EQ(percent_decode("", false), "");
}

}  // namespace
}  // namespace opscore
