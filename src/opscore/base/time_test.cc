#include "opscore/base/time.h"

#include <gtest/gtest.h>

namespace opscore {
namespace {

using namespace std::chrono_literals;

TEST(Time, FormatsRfc3339) {
  EXPECT_EQ(to_rfc3339(from_ms(0)), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(to_rfc3339(from_ms(1'750'000'000'123)), "2025-06-15T15:06:40.123Z");
  EXPECT_EQ(to_rfc3339(from_ms(951'782'399'999)), "2000-02-28T23:59:59.999Z");
  EXPECT_EQ(to_rfc3339(from_ms(-1)), "1969-12-31T23:59:59.999Z");
}

TEST(Time, ParsesRfc3339) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"2026-11-20T10:03:00.123Z", "2026-11-20T10:03:00.123Z"},
      {"2026-11-20T10:03:00Z", "2026-11-20T10:03:00.000Z"},
      {"2026-11-20t10:03:00z", "2026-11-20T10:03:00.000Z"},
      {"2026-11-20 10:03:00Z", "2026-11-20T10:03:00.000Z"},
      {"2026-11-20T10:03:00.1Z", "2026-11-20T10:03:00.100Z"},
      {"2026-11-20T10:03:00.123456789Z", "2026-11-20T10:03:00.123Z"},
      {"2026-11-20T10:03:00+02:30", "2026-11-20T07:33:00.000Z"},
      {"2026-11-20T10:03:00-02:30", "2026-11-20T12:33:00.000Z"},
      {"2026-01-01T00:00:00+00:01", "2025-12-31T23:59:00.000Z"},
      {"2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"},
      {"2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"},
  };
  for (const auto& [text, wanted] : cases) {
    auto at = parse_rfc3339(text);
    ASSERT_TRUE(at) << text;
    EXPECT_EQ(to_rfc3339(*at), wanted) << text;
  }
}

TEST(Time, RefusesWhatIsNotRfc3339) {
  for (const char* text : {"",
                           "now",
                           "1750000000",
                           "2026-11-20",
                           "2026-11-20T10:03Z",
                           "2026-11-20T10:03:00",
                           "2026-13-01T00:00:00Z",
                           "2026-02-29T00:00:00Z",
                           "2026-00-10T00:00:00Z",
                           "2026-01-00T00:00:00Z",
                           "2026-01-32T00:00:00Z",
                           "2026-11-20T24:00:00Z",
                           "2026-11-20T10:60:00Z",
                           "2026-11-20T10:03:61Z",
                           "2026-11-20T10:03:00.Z",
                           "2026-11-20T10:03:00.1234567890Z",
                           "2026-11-20T10:03:00+0200",
                           "2026-11-20T10:03:00+24:00",
                           "2026-11-20T10:03:00+02:60",
                           "2026-11-20T10:03:00Zx",
                           " 2026-11-20T10:03:00Z",
                           "2026-11-20T10:03:00Z ",
                           "-026-11-20T10:03:00Z",
                           "2026-+1-20T10:03:00Z",
                           "2026-11-20T-1:03:00Z",
                           "26-11-20T10:03:00Z",
                           "9999-12-31T23:59:60Z",
                           "9999-12-31T23:59:59-00:01",
                           "0000-01-01T00:00:00+00:01",
                           "2026-11-20X10:03:00Z"}) {
    auto at = parse_rfc3339(text);
    EXPECT_FALSE(at) << text;
    if (!at) {
      EXPECT_EQ(at.error().code(), Errc::invalid);
      EXPECT_NE(at.error().message().find("RFC 3339"), std::string::npos);
    }
  }
}

TEST(Time, ParsesDurations) {
  const std::vector<std::pair<std::string, Duration>> cases{
      {"250ms", 250ms}, {"30s", 30s}, {"10m", 10min}, {"1h", 1h},
      {"7d", 168h},     {"0", 0ms},   {"0s", 0ms},    {"1.5", 1500ms},
      {"1.5h", 90min},  {"2", 2s},    {"0.4ms", 0ms}, {"36500d", 876000h}};
  for (const auto& [text, wanted] : cases) {
    auto duration = parse_duration(text);
    ASSERT_TRUE(duration) << text;
    EXPECT_EQ(*duration, wanted) << text;
  }
  for (const char* text : {"", "s", "-1s", "-0.1", "1 s", " 1s", "1s ", "1w", "1S", "inf", "nan",
                           "infs", "1e300d", "1000000d", "1h30m", "0x10", "one"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(Time, SaysWhatIsWrongInAFewWords) {
  const std::string endless(1'000'000, '1');
  EXPECT_LT(parse_rfc3339(endless).error().message().size(), 200u);
  EXPECT_LT(parse_duration(endless + "x").error().message().size(), 200u);
  EXPECT_NE(parse_duration("100000d").error().message().find("too long"), std::string::npos);
}

TEST(Time, WritesTheShortestExactDuration) {
  EXPECT_EQ(to_text(0ms), "0s");
  EXPECT_EQ(to_text(1ms), "1ms");
  EXPECT_EQ(to_text(1500ms), "1500ms");
  EXPECT_EQ(to_text(90s), "90s");
  EXPECT_EQ(to_text(10min), "10m");
  EXPECT_EQ(to_text(36h), "36h");
  EXPECT_EQ(to_text(48h), "2d");
  for (Duration duration : {1ms, Duration(999), Duration(60'000), Duration(86'400'000)})
    EXPECT_EQ(parse_duration(to_text(duration)).value(), duration);
}

TEST(Time, FakeClockMovesOnlyWhenTold) {
  FakeClock clock(from_ms(1000));
  SteadyPoint steady = clock.steady();
  EXPECT_EQ(clock.now(), from_ms(1000));
  clock.advance(5s);
  EXPECT_EQ(clock.now(), from_ms(6000));
  EXPECT_EQ(clock.steady() - steady, 5s);
  clock.jump(-1h);
  EXPECT_EQ(clock.now(), from_ms(6000) - 1h);
  EXPECT_EQ(clock.steady() - steady, 5s);
}

TEST(Time, DeadlinesBoundWhatIsLeft) {
  EXPECT_EQ(Deadline::after(-1s).left(), 0ms);
  EXPECT_TRUE(Deadline::after(-1s).passed());
  EXPECT_FALSE(Deadline::never().passed());
  EXPECT_EQ(Deadline::never().left(), 24h);
  Duration left = Deadline::after(1h).left();
  EXPECT_LE(left, 1h);
  EXPECT_GT(left, 50min);
}

}  // namespace
}  // namespace opscore
