#include "opscore/base/json.h"

#include <gtest/gtest.h>

#include <random>

#include "opscore/base/hash.h"
#include "opscore/base/json_cursor.h"

namespace opscore {
namespace {

bool ours(std::string_view text) {
  return check_json(text).has_value();
}

// A valid or invalid document each; the library's strict parser is the judge of which.
const std::vector<std::string> kTexts{
    "",
    " ",
    "null",
    "true",
    "false",
    "nul",
    "nulll",
    "tru",
    "True",
    "NaN",
    "Infinity",
    "-Infinity",
    "undefined",
    "0",
    "-0",
    "-",
    "+1",
    "01",
    "-01",
    "00",
    "1.",
    ".5",
    "1.5",
    "1.5e",
    "1e5",
    "1E+5",
    "1e-5",
    "1e+",
    "1e05",
    "0e0",
    "0x10",
    "1_000",
    "1e308",
    "1e309",
    "-1e309",
    "1.8e308",
    "1e-400",
    "1e0000000000000000000000000000001",
    "1e99999999999999999999",
    "0e99999999999999999999",
    "1e-99999999999999999999",
    "0.0000000000000001e320",
    "12345678901234567890123456789",
    "1" + std::string(308, '0'),
    "1" + std::string(309, '0'),
    "0." + std::string(400, '0') + "1",
    "0." + std::string(400, '0') + "1e500",
    "0." + std::string(400, '0') + "1e800",
    "[]",
    "[ ]",
    "[1]",
    "[1,2]",
    "[1,]",
    "[,1]",
    "[,]",
    "[1 2]",
    "[",
    "]",
    "[[]]",
    "[[]",
    "[]]",
    "{}",
    "{ }",
    R"({"a":1})",
    R"({"a":1,})",
    R"({,"a":1})",
    R"({"a"})",
    R"({"a":})",
    R"({"a" 1})",
    R"({a:1})",
    R"({'a':1})",
    R"({1:1})",
    R"({"a":1 "b":2})",
    R"({"a":1,"b":2})",
    "{",
    "}",
    "{]",
    "[}",
    R"({"a":[{"b":[]},{}]})",
    R"({"a":1,"a":2})",
    R"({"":0})",
    R"([1]x)",
    "1 2",
    "1,2",
    "1 ",
    "\t\n\r 1\t\n\r ",
    "\v1",
    "\f1",
    "\xc2\xa0"
    "1",
    "/*c*/1",
    "1//c",
    "#1",
    R"("")",
    R"("a)",
    R"(a")",
    R"("a"b")",
    "'a'",
    R"("\"")",
    R"("\\")",
    R"("\/")",
    R"("\b\f\n\r\t")",
    R"("\a")",
    R"("\x41")",
    R"("\v")",
    R"("\0")",
    R"("\)",
    R"("\")",
    R"("\u")",
    R"("\u12")",
    R"("\u123")",
    R"("\u123g")",
    R"("\u0000")",
    R"("\u00e9")",
    R"("\U00e9")",
    R"("\ud800")",
    R"("\udc00")",
    R"("\ud800\udc00")",
    R"("\udbff\udfff")",
    R"("\ud800\ud800")",
    R"("\ud800x")",
    R"("\ud800\n")",
    R"("\ud800\u0041")",
    R"("\udc00\ud800")",
    R"("\ud83d\ude00 x")",
    R"("\ud800\u")",
    R"("\ud800\udc0")",
    "\"\x01\"",
    "\"\x1f\"",
    "\"\x7f\"",
    "\"\n\"",
    "\"\t\"",
    "\"\xc3\xa9\"",
    "\"\xe2\x82\xac\"",
    "\"\xf0\x9f\x98\x80\"",
    "\"\x80\"",
    "\"\xbf\"",
    "\"\xc0\x80\"",
    "\"\xc1\xbf\"",
    "\"\xc3\"",
    "\"\xc3(\"",
    "\"\xe0\x80\x80\"",
    "\"\xe0\x9f\xbf\"",
    "\"\xe0\xa0\x80\"",
    "\"\xed\x9f\xbf\"",
    "\"\xed\xa0\x80\"",
    "\"\xed\xbf\xbf\"",
    "\"\xee\x80\x80\"",
    "\"\xef\xbf\xbf\"",
    "\"\xe2\x82\"",
    "\"\xf0\x80\x80\x80\"",
    "\"\xf0\x8f\xbf\xbf\"",
    "\"\xf0\x90\x80\x80\"",
    "\"\xf4\x8f\xbf\xbf\"",
    "\"\xf4\x90\x80\x80\"",
    "\"\xf5\x80\x80\x80\"",
    "\"\xf0\x9f\x98\"",
    "\"\xf8\x88\x80\x80\x80\"",
    "\"\xfe\"",
    "\"\xff\"",
    "\xff",
    "\xc3\xa9",
    "{\"\xff\":1}",
    "[\"\\ud800\",\"\\udc00\"]",
    "[1e1000]",
    "[-]",
    "[tru]",
    "[nullx]",
    "[1.e1]",
    "[\"a\",\"b\",{\"c\":null}]",
    R"({"k":"v","n":[0,-1,2.5e-3,true,false,null],"o":{"deep":{"er":[[[]]]}}})",
};

TEST(Json, AgreesWithAStrictParser) {
  for (const auto& text : kTexts) EXPECT_EQ(ours(text), Json::accept(text)) << text;
}

TEST(Json, AgreesWithAStrictParserOnMutations) {
  constexpr unsigned kSeed = 20261120;
  SCOPED_TRACE(kSeed);
  std::mt19937 random(kSeed);
  const std::string alphabet =
      "{}[]:,\"\\u0123456789abcdefDd89nrtl.eE+- \n\x01\x7f\x80\xc3\xa9\xed\xf0";
  auto below = [&](size_t bound) { return static_cast<size_t>(random() % bound); };
  for (int round = 0; round < 100'000; ++round) {
    std::string text = kTexts[below(kTexts.size())];
    if (text.size() > 100) continue;
    for (size_t edits = 1 + below(4); edits > 0; --edits) {
      size_t at = below(text.size() + 1);
      char byte = alphabet[below(alphabet.size())];
      switch (below(4)) {
        case 0:
          text.insert(at, 1, byte);
          break;
        case 1:
          text.erase(at, 1);
          break;
        case 2:
          if (at < text.size()) text[at] = byte;
          break;
        case 3:
          text.insert(at, kTexts[below(kTexts.size())].substr(0, 40));
          break;
      }
    }
    ASSERT_EQ(ours(text), Json::accept(text)) << text;
  }
}

// The three places where we are stricter than the library, on purpose.
TEST(Json, RefusesByteOrderMarkNulByteAndBottomlessNesting) {
  EXPECT_FALSE(ours("\xef\xbb\xbf{}"));
  EXPECT_FALSE(ours(std::string_view("1\0", 2)));
  EXPECT_FALSE(ours(std::string_view("{}\0x", 4)));
  auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(ours(nested(128)));
  EXPECT_FALSE(ours(nested(129)));
  EXPECT_FALSE(ours(std::string(1'000'000, '[')));
  std::string objects;
  for (int i = 0; i < 129; ++i) objects += "{\"a\":";
  EXPECT_FALSE(ours(objects + "1" + std::string(129, '}')));
}

TEST(Json, PayloadsOfFullDepthFitIntoDocuments) {
  std::string payload = std::string(128, '[') + std::string(128, ']');
  EXPECT_NO_THROW(parse_json("{\"tasks\":[{\"input_data\":" + payload + "}]}"));
  EXPECT_THROW(parse_json(std::string(257, '[') + std::string(257, ']')), Error);
}

TEST(Json, SaysWhereAndWhat) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "line 1, column 1: expected a value, found the end of the text"},
      {"{\n  \"a\": 1,\n  \"b\" x}",
       "line 3, column 7: expected ':' after the member's name, found 'x'"},
      {"{\"a\":1,}", "line 1, column 8: expected a member's name in double quotes, found '}'"},
      {"[1 2]", "line 1, column 4: expected ',' or ']', found '2'"},
      {"{\"a\":1\n", "line 2, column 1: expected ',' or '}', found the end of the text"},
      {"[01]", "line 1, column 3: a number must not start with 0"},
      {"[1e999]", "line 1, column 2: the number is too large for a double"},
      {"[\"\\ud800\"]", "line 1, column 3: \\u escape of half a surrogate pair"},
      {"\"a\xff\"", "line 1, column 3: the string is not UTF-8"},
      {"\"a\nb\"", "line 1, column 3: control characters in a string must be escaped"},
      {"\"abc",
       "line 1, column 5: expected '\"' at the end of the string, found the end of the text"},
      {"{} x", "line 1, column 4: expected the end of the text, found 'x'"},
      {"\x01", "line 1, column 1: expected a value, found byte 0x01"},
      {std::string(129, '['),
       "line 1, column 129: too many levels of nesting; at most 128 are read"},
  };
  for (const auto& [text, words] : cases) {
    auto checked = check_json(text);
    ASSERT_FALSE(checked) << text;
    EXPECT_EQ(checked.error().message(), "malformed JSON at " + words) << text;
    EXPECT_EQ(checked.error().code(), Errc::malformed);
  }
}

TEST(Json, ParseThrowsTheSameError) {
  try {
    parse_json("[1,\n]");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), check_json("[1,\n]").error().message());
  }
  EXPECT_EQ(parse_json(R"({"a":[1,"\u20ac"]})"), Json({{"a", {1, "€"}}}));
}

TEST(Json, QuotedTextReadsBackTheSame) {
  std::string all;
  for (int byte = 0; byte < 0x80; ++byte) all += static_cast<char>(byte);
  all += "é€😀";
  EXPECT_TRUE(ours(quote_json(all)));
  EXPECT_EQ(Json::parse(quote_json(all)).get<std::string>(), all);
  EXPECT_EQ(unescape_json(quote_json(all)), all);
  EXPECT_EQ(quote_json("a\"b\\c\n\x01"), R"("a\"b\\c\n\u0001")");
  std::string out = "x";
  append_quoted(out, "y");
  EXPECT_EQ(out, "x\"y\"");
}

TEST(Json, InvalidUtf8BecomesTheReplacementCharacter) {
  const std::string r = "\xef\xbf\xbd";
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", ""},
      {"abc", "abc"},
      {"\xff", r},
      {"a\xff"
       "b",
       "a" + r + "b"},
      {"\xc3", r},
      {"\xe2\x82", r},
      {"\xe2\x82x", r + "x"},
      {"\xf0\x9f\x98", r},
      {"\xc0\x80", r + r},
      {"\xed\xa0\x80", r + r + r},
      {"\xf4\x90\x80\x80", r + r + r + r},
      {"\x80\x80", r + r},
      {"é\xffé", "é" + r + "é"},
      {std::string("\0x", 2), std::string("\0x", 2)},
  };
  for (const auto& [bytes, text] : cases) {
    EXPECT_EQ(to_valid_utf8(bytes), text);
    EXPECT_EQ(Json::parse(quote_json(bytes)).get<std::string>(), text);
    EXPECT_EQ(is_valid_utf8(bytes), bytes == text);
    EXPECT_TRUE(is_valid_utf8(text));
  }
}

TEST(Json, EveryTwoAndThreeByteSequenceIsJudgedAsTheLibraryDoes) {
  auto judge = [](const std::string& bytes) {
    ASSERT_EQ(is_valid_utf8(bytes), Json::accept("\"" + bytes + "\"")) << to_hex(bytes);
  };
  for (int a = 0x80; a < 0x100; ++a)
    for (int b = 0x80; b < 0x100; ++b) {
      std::string bytes{static_cast<char>(a), static_cast<char>(b)};
      judge(bytes);
      for (char c : {'\x7f', '\x80', '\x9f', '\xa0', '\xbf', '\xc0'}) {
        judge(bytes + c);
        judge(bytes + c + '\x80');
      }
    }
}

}  // namespace
}  // namespace opscore
