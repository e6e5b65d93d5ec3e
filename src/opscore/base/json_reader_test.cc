#include "opscore/base/json_reader.h"

#include <gtest/gtest.h>

#include "opscore/base/json.h"

namespace opscore {
namespace {

// The error that `read` throws on `text`.
template <class F>
Error error_of(std::string_view text, F&& read) {
  JsonReader in(text);
  try {
    read(in);
    in.end();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error for " << text;
  return Error(Errc::internal, "none");
}

// Reads any document, the way a caller does, into the library's form.
Json read(JsonReader& in) {
  switch (in.peek()) {
    case JsonReader::Type::object: {
      Json object = Json::object();
      in.object([&](std::string_view name) { object[std::string(name)] = read(in); });
      return object;
    }
    case JsonReader::Type::array: {
      Json array = Json::array();
      in.array([&](size_t index) {
        EXPECT_EQ(index, array.size());
        array.push_back(read(in));
      });
      return array;
    }
    case JsonReader::Type::string:
      return in.string();
    case JsonReader::Type::number:
      return in.number();
    case JsonReader::Type::boolean:
      return in.boolean();
    case JsonReader::Type::null:
      EXPECT_TRUE(in.null_or_skip_null());
      return nullptr;
  }
  return nullptr;
}

TEST(JsonReader, ReadsWhatTheLibraryReads) {
  for (const char* text :
       {R"({})", R"([])", R"("x")", R"(-12.5e-3)", R"(true)", R"(false)", R"(null)",
        R"( { "a" : [ 1 , { "b\n\"" : "c\u00e9\ud83d\ude00\/\b\f\r\t\\" } , [ ] ] , "d" : { } } )",
        R"({"e\u0041":1,"eB":2})", R"(["", "\u0000x", 1e308, -0.0, 1e-400])"}) {
    JsonReader in(text);
    EXPECT_EQ(read(in), Json::parse(text)) << text;
    EXPECT_NO_THROW(in.end());
  }
}

TEST(JsonReader, RawGivesTheExactBytes) {
  JsonReader in(R"( { "a" :  {"x" : 1.0e0, "y":"\u00e9"}  , "b":[1 , 2] , "c" : -0 } )");
  std::vector<std::string> raws;
  in.object([&](std::string_view) { raws.emplace_back(in.raw()); });
  in.end();
  EXPECT_EQ(raws, (std::vector<std::string>{R"({"x" : 1.0e0, "y":"\u00e9"})", "[1 , 2]", "-0"}));
}

TEST(JsonReader, NamesThePlaceOfAWrongValue) {
  auto submit = [](JsonReader& in) {
    in.object([&](std::string_view name) {
      if (name == "tasks")
        in.array([&](size_t) {
          in.object([&](std::string_view field) {
            if (field == "priority")
              in.integer();
            else if (field == "labels")
              in.object([&](std::string_view) { in.string(); });
            else if (field == "wait")
              in.boolean();
            else
              in.fail(Errc::invalid, "unknown field");
          });
        });
      else
        in.raw();
    });
  };
  const std::vector<std::tuple<std::string, std::string, std::string>> cases{
      {R"({"tasks":[{},{"priority":"high"}]})", "tasks[1].priority",
       "expected an integer, found a string"},
      {R"({"tasks":[{"priority":1.5}]})", "tasks[0].priority", "expected an integer, found 1.5"},
      {R"({"tasks":[{"priority":1e2}]})", "tasks[0].priority", "expected an integer, found 1e2"},
      {R"({"tasks":[{"priority":99999999999999999999}]})", "tasks[0].priority",
       "99999999999999999999 is too large for an integer"},
      {R"({"tasks":[{"labels":{"a":"b","c":null}}]})", "tasks[0].labels.c",
       "expected a string, found null"},
      {R"({"tasks":[{"wait":0}]})", "tasks[0].wait", "expected true or false, found a number"},
      {R"({"x":1,"tasks":{}})", "tasks", "expected an array, found an object"},
      {R"({"tasks":[[]]})", "tasks[0]", "expected an object, found an array"},
      {R"({"tasks":[{"colour":1}]})", "tasks[0].colour", "unknown field"},
  };
  for (const auto& [text, field, words] : cases) {
    Error error = error_of(text, submit);
    EXPECT_EQ(error.code(), Errc::invalid) << text;
    EXPECT_EQ(error.field(), field);
    EXPECT_EQ(error.message(), field + ": " + words);
  }
  EXPECT_EQ(error_of("[]", submit).message(), "expected an object, found an array");
}

TEST(JsonReader, AMissingMemberIsReportedAtItsObject) {
  Error error = error_of(R"({"a":{"b":1}})", [](JsonReader& in) {
    in.object([&](std::string_view) {
      in.object([&](std::string_view) { in.raw(); });
      in.fail(Errc::invalid, "needs c");
    });
  });
  EXPECT_EQ(error.field(), "a");
}

TEST(JsonReader, MalformedWinsOverInvalid) {
  auto integer_member = [](JsonReader& in) { in.object([&](std::string_view) { in.integer(); }); };
  EXPECT_EQ(error_of(R"({"a":"x"})", integer_member).code(), Errc::invalid);
  Error error = error_of(R"({"a":"x",})", integer_member);
  EXPECT_EQ(error.code(), Errc::malformed);
  EXPECT_EQ(error.message(),
            "malformed JSON at line 1, column 10: expected a member's name in double quotes, "
            "found '}'");
}

TEST(JsonReader, RefusesRepeatedNamesAtTheLevelsItReads) {
  auto skim = [](JsonReader& in) { in.object([&](std::string_view) { in.raw(); }); };
  Error error = error_of("{\"a\":1,\n \"b\":2, \"a\":3}", skim);
  EXPECT_EQ(error.code(), Errc::malformed);
  EXPECT_EQ(error.message(), "malformed JSON at line 2, column 9: the name 'a' is repeated");
  EXPECT_EQ(error_of(R"({"a":1,"\u0061":2})", skim).code(), Errc::malformed);
  EXPECT_EQ(error_of(R"({"\u0061":1,"a":2})", skim).code(), Errc::malformed);
  JsonReader inside(R"({"a":{"x":1,"x":2},"b":{"a":1}})");
  EXPECT_NO_THROW(skim(inside));
  // The same name at another level is another name.
  JsonReader levels(R"({"a":{"a":1,"b":2},"b":{"a":3}})");
  levels.object([&](std::string_view) { levels.object([&](std::string_view) { levels.raw(); }); });
  EXPECT_NO_THROW(levels.end());
}

TEST(JsonReader, FindsRepetitionsAmongVeryManyNames) {
  constexpr int kNames = 50'000;  // quadratic work would not end
  std::string text = "{";
  for (int i = 0; i < kNames; ++i) text += fmt::format("{}\"n{}\":0", i ? "," : "", i);
  auto skim = [](JsonReader& in) { in.object([&](std::string_view) { in.raw(); }); };
  std::string fine = text + "}";
  JsonReader many(fine);
  EXPECT_NO_THROW(skim(many));
  for (int repeated : {0, 31, 32, 33, kNames - 1})
    EXPECT_EQ(error_of(text + fmt::format(",\"n{}\":1}}", repeated), skim).code(), Errc::malformed);
}

TEST(JsonReader, BoundsTheDepthOfWhatItReadsAndOfRawValues) {
  auto nested = [](size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  auto in_envelope = [&](size_t depth) { return "[{\"input_data\":" + nested(depth) + "}]"; };
  auto skim = [](JsonReader& in) {
    in.array([&](size_t) { in.object([&](std::string_view) { in.raw(); }); });
  };
  std::string fits = in_envelope(128);
  JsonReader in(fits);
  EXPECT_NO_THROW(skim(in));
  EXPECT_EQ(error_of(in_envelope(129), skim).code(), Errc::malformed);
  EXPECT_EQ(error_of(nested(129), [](JsonReader& deep) { read(deep); }).code(), Errc::malformed);
}

TEST(JsonReader, RefusesWhatIsNotJson) {
  for (const char* text :
       {"",        "{",     "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,",   "{\"a\":1,}",
        "{,}",     "{a:1}", "[",      "[1",      "[1,",      "[1,]",        "[1 2]",
        "tru",     "nul",   "falsy",  "-",       "01",       "1.",          "\"",
        "\"\\x\"", "x",     "[] x",   "{}{}",    "[1e999]",  "\"\\ud800\"", "\"\xff\""})
    EXPECT_EQ(error_of(text, [](JsonReader& in) { read(in); }).code(), Errc::malformed) << text;
}

TEST(JsonReader, LongNamesAreCutInMessages) {
  std::string name(1000, 'n');
  Error error = error_of("{\"" + name + "\":1}", [](JsonReader& in) {
    in.object([&](std::string_view) { in.fail(Errc::invalid, "unknown field"); });
  });
  EXPECT_LT(error.message().size(), 100u);
}

TEST(JsonReader, IntegersAtTheirLimits) {
  JsonReader in("[-9223372036854775808, 9223372036854775807, -0]");
  std::vector<int64_t> values;
  in.array([&](size_t) { values.push_back(in.integer()); });
  EXPECT_EQ(values, (std::vector<int64_t>{INT64_MIN, INT64_MAX, 0}));
}

TEST(TextPlace, CountsLinesAndColumnsFromOne) {
  std::string_view text = "ab\n\nc";
  auto place = [&](size_t offset) {
    TextPlace at = place_of(text, offset);
    return std::pair(at.line, at.column);
  };
  EXPECT_EQ(place(0), std::pair(size_t{1}, size_t{1}));
  EXPECT_EQ(place(2), std::pair(size_t{1}, size_t{3}));
  EXPECT_EQ(place(3), std::pair(size_t{2}, size_t{1}));
  EXPECT_EQ(place(4), std::pair(size_t{3}, size_t{1}));
  EXPECT_EQ(place(5), std::pair(size_t{3}, size_t{2}));
}

}  // namespace
}  // namespace opscore
