#include "opscore/app/cli/columns.h"

#include <gtest/gtest.h>

namespace opscore {
namespace {

TEST(Columns, CountsWhatATerminalShows) {
  EXPECT_EQ(columns_of(""), 0u);
  EXPECT_EQ(columns_of("mail"), 4u);
  EXPECT_EQ(columns_of("é…▁█"), 4u);
  EXPECT_EQ(columns_of("e\xCC\x81"), 1u) << "a combining accent";
  EXPECT_EQ(columns_of("メール"), 6u);
  EXPECT_EQ(columns_of("한글漢字"), 8u);
  EXPECT_EQ(columns_of("🚀"), 2u);
  EXPECT_EQ(columns_of("\xFFz\xE3\x83"), 4u) << "not UTF-8";
}

TEST(Columns, CutsWithAnEllipsis) {
  EXPECT_EQ(cut("mail", 4), "mail");
  EXPECT_EQ(cut("mails", 4), "mai…");
  EXPECT_EQ(cut("mails", 1), "…");
  EXPECT_EQ(cut("mails", 0), "");
  EXPECT_EQ(cut("メール", 6), "メール");
  EXPECT_EQ(cut("メール", 5), "メー…");
  EXPECT_EQ(cut("メール", 4), "メ…") << "half a character is none";
  EXPECT_EQ(cut("e\xCC\x81tude", 3), "e\xCC\x81t…");
}

TEST(Columns, Fills) {
  EXPECT_EQ(fill_right("メール", 8), "メール  ");
  EXPECT_EQ(fill_right("メール", 4), "メ… ");
  EXPECT_EQ(fill_left("12", 4), "  12");
  EXPECT_EQ(fill_left("12345", 4), "123…");
}

}  // namespace
}  // namespace opscore
