#include "opscore/broker/dramatiq/python_json.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "opscore/base/json.h"
#include "opscore/broker/dramatiq/strict_view.h"

namespace opscore {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string compact(std::string_view text) {
  auto result = compact_python(text);
  return result ? *result : "refused: " + result.error().message();
}

TEST(PythonJson, TextIsWrittenAsPythonWritesIt) {
  EXPECT_EQ(compact(" { \"b\" : [ 1 , true , null ] , \"a\" : { } , \"c\" : [ ] } "),
            R"({"b":[1,true,null],"a":{},"c":[]})");
  EXPECT_EQ(compact("\"h\xc3\xa9\xf0\x9f\x98\x80\""), R"("h\u00e9\ud83d\ude00")");
  EXPECT_EQ(compact(R"("\u00E9\/\u0041\u007f")"), R"("\u00e9/A\u007f")");
  EXPECT_EQ(compact("\"\x7f\\u0008\\u000A\""), R"("\u007f\b\n")");
}

TEST(PythonJson, NumbersStayTheTextThatTheyWere) {
  for (const char* number : {"0", "-0", "-0.0", "1.50", "1E+2", "1e400", "NaN", "Infinity",
                             "-Infinity", "100000000000000000000000000000000000000001"})
    EXPECT_EQ(compact(number), number);
}

TEST(PythonJson, TheLastOfARepeatedNameWinsAtThePlaceOfTheFirst) {
  EXPECT_EQ(compact(R"({"a":1,"b":2,"a":3})"), R"({"a":3,"b":2})");
  EXPECT_EQ(compact(R"([{"\u0061":{"x":1,"x":[{"y":1,"y":2}]},"b":0,"a":4,"b":{}}])"),
            R"([{"a":4,"b":{}}])");
  std::string many = "{";
  for (int i = 0; i < 100; ++i) many += fmt::format("\"{}\":{},", i, i);
  EXPECT_EQ(PythonMembers::of_object(compact(many + R"("40":"last","7":"last"})")).members.size(),
            100u);
  EXPECT_EQ(*PythonMembers::of_object(compact(many + R"("40":"last"})")).find("40"), "\"last\"");
}

TEST(PythonJson, WhatPythonRefusesIsRefused) {
  for (const char* text : {"",           " ",
                           "{",          "[1,]",
                           "{\"a\":1,}", "{a:1}",
                           "{\"a\" 1}",  "01",
                           "1.",         ".5",
                           "+1",         "-",
                           "-NaN",       "nan",
                           "1e",         "\"\t\"",
                           "\"\\x\"",    "\"\\u12g4\"",
                           "\"",         "tru",
                           "1 2",        "[1}",
                           "'a'",        "\xef\xbb\xbf{}",
                           "\"\xff\"",   "\"\xed\xa0\x80\"",
                           "]",          ","})
    EXPECT_THAT(compact(text), HasSubstr("refused: not JSON at line 1")) << text;
  EXPECT_THAT(compact(std::string(4301, '9')), HasSubstr("4300 digits"));
  EXPECT_EQ(compact(std::string(4300, '9')).size(), 4300u);
  EXPECT_THAT(compact(std::string(1'000'000, '[')), HasSubstr("too many levels"));
  EXPECT_EQ(compact(std::string(500, '[') + std::string(500, ']')).size(), 1000u);
}

TEST(PythonJson, EveryStringOfPythonGoesThereAndBack) {
  for (const char* quoted :
       {R"("")", R"("plain")", R"("\ud800 lone \udc00")", R"("\u0000\u001f")", R"("\ud83d\ude00")",
        R"("\ud83d\ud83d\ude00\ude00")", R"("\"\\/\b\f\n\r\t\u007f")", R"("\u20ac")"})
    EXPECT_EQ(quote_python(unquote_python(quoted)), quoted);
  EXPECT_EQ(quote_python("broken \xff\xc3 bytes"), R"("broken \ufffd\ufffd bytes")");
}

TEST(PythonJson, MembersAreSetAsInADict) {
  auto members = PythonMembers::of_object(R"({"a":[1,{"b":2}],"c":"}","d":{}})");
  EXPECT_EQ(members.encode(), R"({"a":[1,{"b":2}],"c":"}","d":{}})");
  members.set("c", "1");
  members.set("e", "2");
  members.erase("a");
  members.erase("none");
  EXPECT_EQ(members.encode(), R"({"c":1,"d":{},"e":2})");
  EXPECT_EQ(members.find("a"), nullptr);
  EXPECT_EQ(PythonMembers::of_object("{}").encode(), "{}");
  EXPECT_THAT(PythonMembers::of_array(R"([1,"a,]",[2,3],{"x":[]}])"),
              ElementsAre("1", "\"a,]\"", "[2,3]", R"({"x":[]})"));
  EXPECT_THAT(PythonMembers::of_array("[]"), testing::IsEmpty());
}

TEST(StrictView, WhatIsNoNumberBecomesNullAndIsListed) {
  StrictView view = strict_view(
      R"({"args":[NaN,1,[Infinity,{"x":-Infinity}]],"kwargs":{"a":{"b":1e400},"NaN":"NaN"}})");
  EXPECT_EQ(view.json,
            R"({"args":[null,1,[null,{"x":null}]],"kwargs":{"a":{"b":null},"NaN":"NaN"}})");
  EXPECT_THAT(view.lossy, ElementsAre("args[0]", "args[2][0]", "args[2][1].x", "kwargs.a.b"));
  EXPECT_EQ(view.lossy_total, 4u);
}

TEST(StrictView, LoneSurrogatesAreEscaped) {
  StrictView view = strict_view(R"(["\ud800 x","\ud83d\ude00","\ud83d\ud83d\ude00","\\ud800"])");
  EXPECT_EQ(view.json, R"(["\\ud800 x","\ud83d\ude00","\\ud83d\ud83d\ude00","\\ud800"])");
  EXPECT_TRUE(check_json(view.json));
}

TEST(StrictView, OnlyTheFirstPlacesAreListed) {
  std::string all = "[NaN";
  for (int i = 1; i < 1000; ++i) all += ",NaN";
  StrictView view = strict_view(all + "]");
  EXPECT_EQ(view.lossy_total, 1000u);
  EXPECT_EQ(view.lossy.size(), kLossyPlacesMax);
  EXPECT_TRUE(check_json(view.json));
}

}  // namespace
}  // namespace opscore
