#include "opscore/actor/exec/stderr_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/base/json.h"

namespace opscore {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Heard {
  std::vector<std::string> log, progress;
  StderrLines lines{[this](std::string line) { log.push_back(std::move(line)); },
                    [this](std::string json) { progress.push_back(std::move(json)); }};
};

TEST(StderrLines, SplitsWhateverThePieces) {
  std::string text =
      "one\n\n::progress {\"done\": 1}\ntwo\r\nthr\xc3\xa9"
      "e";
  for (size_t size = 1; size <= text.size(); ++size) {
    Heard heard;
    for (size_t at = 0; at < text.size(); at += size) heard.lines.feed(text.substr(at, size));
    heard.lines.finish();
    EXPECT_THAT(heard.log, ElementsAre("one", "", "two",
                                       "thr\xc3\xa9"
                                       "e"));
    EXPECT_THAT(heard.progress, ElementsAre("{\"done\": 1}"));
    EXPECT_EQ(heard.lines.tail(),
              "one\n\ntwo\nthr\xc3\xa9"
              "e\n");
  }
}

TEST(StderrLines, BadProgressIsLoggedWithTheReason) {
  Heard heard;
  heard.lines.feed("::progress {oops}\n::progress\n::progress 50\n ::progress 1\n");
  EXPECT_THAT(heard.progress, ElementsAre("50"));
  ASSERT_EQ(heard.log.size(), 3u);
  EXPECT_THAT(heard.log[0], HasSubstr("{oops} (not JSON: "));
  EXPECT_EQ(heard.log[1], "::progress");
  EXPECT_EQ(heard.log[2], " ::progress 1");
}

TEST(StderrLines, WhatIsNoUtf8IsReplaced) {
  Heard heard;
  heard.lines.feed("caf\xe9\n::progress \"\xff\"\n");
  EXPECT_EQ(heard.log[0], "caf\xef\xbf\xbd");
  EXPECT_TRUE(is_valid_utf8(heard.log[1]));
  EXPECT_TRUE(heard.progress.empty());
}

TEST(StderrLines, TheTailIsBoundedAndStartsAtACharacter) {
  Heard heard;
  for (int i = 0; i < 10'000; ++i) heard.lines.feed("\xe2\x82\xac\xe2\x82\xac\n");
  heard.lines.feed("the end\n");
  std::string tail = heard.lines.tail();
  EXPECT_LE(tail.size(), StderrLines::kTailBytes);
  EXPECT_GT(tail.size(), StderrLines::kTailBytes - 4);
  EXPECT_TRUE(is_valid_utf8(tail));
  EXPECT_TRUE(tail.ends_with("\nthe end\n"));
}

TEST(StderrLines, AnEndlessLineComesInPieces) {
  Heard heard;
  std::string piece(StderrLines::kLineBytes / 2 + 1, 'x');
  for (int i = 0; i < 4; ++i) heard.lines.feed(piece);
  heard.lines.feed("\nnext\n");
  ASSERT_EQ(heard.log.size(), 4u);
  EXPECT_EQ(heard.log[0].size(), StderrLines::kLineBytes);
  EXPECT_EQ(heard.log[1].size(), StderrLines::kLineBytes);
  EXPECT_EQ(heard.log[2].size(), 4u);
  EXPECT_EQ(heard.log[3], "next");
}

}  // namespace
}  // namespace opscore
