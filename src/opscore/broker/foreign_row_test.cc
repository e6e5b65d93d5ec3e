#include "opscore/broker/foreign_row.h"

#include <gtest/gtest.h>

namespace opscore {
namespace {

using namespace std::chrono_literals;

TEST(ForeignRow, KeepsAllOfAMessage) {
  ForeignMessage message{"default.XQ",
                         std::string("\x00\xff{", 3),
                         uint8_t{9},
                         {{"x-opscore-reason", "too \"long\""}, {"x-a", ""}}};
  OutboxRow row = row_of_message(message, TimePoint(5ms));
  EXPECT_EQ(row.kind, OutboxRow::Kind::amqp);
  EXPECT_EQ(row.destination, "default.XQ");
  EXPECT_EQ(row.not_before, TimePoint(5ms));
  EXPECT_EQ(message_of_row(row), message);
}

TEST(ForeignRow, APlainMessageHasNoProperties) {
  ForeignMessage message{"default", "{}", {}, {}};
  OutboxRow row = row_of_message(message, {});
  EXPECT_EQ(row.properties, "");
  EXPECT_EQ(message_of_row(row), message);
}

TEST(ForeignRow, BrokenPropertiesAreCorrupt) {
  OutboxRow row = row_of_message({"q", "{}", {}, {}}, {});
  row.properties = R"({"priority":"high"})";
  EXPECT_THROW(message_of_row(row), Error);
}

}  // namespace
}  // namespace opscore
