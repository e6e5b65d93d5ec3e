#include "opscore/app/cli/progress_bar.h"

#include <gmock/gmock.h>

#include <sstream>

namespace opscore {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

TEST(ProgressBar, IsALinePerTenthInAPipe) {
  std::ostringstream out;
  {
    ProgressBar bar(out, {});
    for (int i = 0; i <= 100; ++i) bar.show(i / 100.0, "copied " + std::to_string(i));
  }
  std::string text = out.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 11);
  EXPECT_THAT(text, HasSubstr(" 50 % copied 50\n"));
  EXPECT_THAT(text, EndsWith("100 % copied 100\n"));
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

TEST(ProgressBar, RewritesOneLineOfATerminalThatFits) {
  std::ostringstream out;
  {
    ProgressBar bar(out, {.terminal = true, .width = 40});
    bar.show(0.5, "something with a rather long description");
    EXPECT_THAT(out.str(), HasSubstr("[############............]  50 % "));
    std::string line = out.str().substr(out.str().rfind('K') + 1);
    EXPECT_LT(line.size(), 40u);
    EXPECT_EQ(out.str().find('\n'), std::string::npos);
  }
  EXPECT_THAT(out.str(), EndsWith("\n"));
}

TEST(ProgressBar, IsTakenOffATerminal) {
  std::ostringstream out;
  {
    ProgressBar bar(out, {.terminal = true});
    bar.show(2, "more than everything");
    bar.clear();
  }
  EXPECT_THAT(out.str(), HasSubstr("100 %"));
  EXPECT_THAT(out.str(), EndsWith("\r\x1b[2K"));
}

TEST(ShortBytes, HaveOneUnit) {
  EXPECT_EQ(short_bytes(0), "0 B");
  EXPECT_EQ(short_bytes(1023), "1023 B");
  EXPECT_EQ(short_bytes(1536), "1.5 KiB");
  EXPECT_EQ(short_bytes(int64_t{3} << 30), "3.0 GiB");
}

}  // namespace
}  // namespace opscore
