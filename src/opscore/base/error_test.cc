#include "opscore/base/error.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace opscore {
namespace {

TEST(Error, TheTableKnowsEveryCode) {
  const std::map<Errc, int> statuses{{Errc::malformed, 400},
                                     {Errc::unauthenticated, 401},
                                     {Errc::forbidden, 403},
                                     {Errc::not_found, 404},
                                     {Errc::method_not_allowed, 405},
                                     {Errc::conflict, 409},
                                     {Errc::handed_over, 409},
                                     {Errc::too_large, 413},
                                     {Errc::invalid, 422},
                                     {Errc::queue_full, 429},
                                     {Errc::cancelled, 499},
                                     {Errc::timeout, 504},
                                     {Errc::unavailable, 503},
                                     {Errc::overloaded, 503},
                                     {Errc::disk_low, 507},
                                     {Errc::corrupt, 500},
                                     {Errc::internal, 500}};
  ASSERT_EQ(statuses.size(), static_cast<size_t>(kErrcCount));
  std::set<std::string_view> slugs;
  for (int i = 0; i < kErrcCount; ++i) {
    auto code = static_cast<Errc>(i);
    const ErrcInfo& row = info(code);
    EXPECT_EQ(row.http_status, statuses.at(code)) << row.slug;
    EXPECT_TRUE(slugs.insert(row.slug).second) << row.slug;
    EXPECT_EQ(errc_from_slug(row.slug), code);
    EXPECT_FALSE(row.title.empty());
    EXPECT_GE(row.grpc_code, 1);
    EXPECT_LE(row.grpc_code, 16);
    for (char c : row.slug) EXPECT_TRUE((c >= 'a' && c <= 'z') || c == '-') << row.slug;
  }
  EXPECT_FALSE(errc_from_slug(""));
  EXPECT_FALSE(errc_from_slug("no-such"));
}

TEST(Error, IsRetryableByItsCodeUnlessItSaysOtherwise) {
  EXPECT_TRUE(Error(Errc::unavailable, "x").retryable());
  EXPECT_FALSE(Error(Errc::invalid, "x").retryable());
  EXPECT_FALSE(Error(Errc::queue_full, "out of credit", false).retryable());
  EXPECT_TRUE(Error(Errc::internal, "x", true).retryable());
}

TEST(Error, ContextKeepsEverythingElse) {
  Error error = Error(Errc::queue_full, "connection refused", false)
                    .at("queue")
                    .with_context("claim on queue 'mail'");
  EXPECT_EQ(error.message(), "claim on queue 'mail': connection refused");
  EXPECT_EQ(error.code(), Errc::queue_full);
  EXPECT_FALSE(error.retryable());
  EXPECT_EQ(error.field(), "queue");
}

TEST(ErrorDeathTest, ABrokenInvariantAborts) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(OPSCORE_ASSERT(1 == 2, "sums are wrong"), "bug: sums are wrong \\(1 == 2\\) at ");
}

}  // namespace
}  // namespace opscore
