#include "opscore/net/signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/net/retry_after.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::Pair;

// Checked with: printf '1763632800.{"a":1}' | openssl dgst -sha256 -hmac secret
TEST(Signature, IsAnHmacOfTimestampAndBody) {
  EXPECT_THAT(
      signature_headers("secret", R"({"a":1})", from_ms(1'763'632'800'999)),
      ElementsAre(Pair("X-Opscore-Timestamp", "1763632800"),
                  Pair("X-Opscore-Signature",
                       "v1=8061623f06df739e7c3d2ddfd07a0482240f13012889f304d7cfafa5548916fd")));
}

TEST(Signature, WithoutASecretThereIsOnlyTheTimestamp) {
  EXPECT_THAT(signature_headers("", "body", from_ms(5000)),
              ElementsAre(Pair("X-Opscore-Timestamp", "5")));
}

TEST(RetryAfter, SecondsAndDates) {
  const TimePoint now = parse_rfc3339("2026-11-20T08:47:55Z").value();
  const std::vector<std::pair<std::string, std::optional<Duration>>> cases{
      {"120", 120s},
      {"0", 0s},
      {"0.5", 500ms},
      {"1000000000", 24h * 7},
      {"Fri, 20 Nov 2026 08:49:55 GMT", 120s},
      {"Fri, 20 Nov 2020 08:49:55 GMT", 0s},
      {"Fri, 31 Feb 2026 08:49:55 GMT", std::nullopt},
      {"-5", std::nullopt},
      {"soon", std::nullopt},
      {"12 s", std::nullopt},
      {"inf", std::nullopt},
      {"", std::nullopt}};
  for (const auto& [text, expected] : cases)
    EXPECT_EQ(parse_retry_after(text, now), expected) << text;
}

}  // namespace
}  // namespace opscore
