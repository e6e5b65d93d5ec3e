#include "opscore/model/task.h"

#include <gtest/gtest.h>

#include "opscore/base/json.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;

TEST(AttemptEnd, WordsReadBackAndNumbersAreFixed) {
  const std::vector<std::string> words{"completed", "error",   "fatal",   "timeout",    "cancelled",
                                       "lost",      "crashed", "snoozed", "handed_back"};
  for (size_t i = 0; i < words.size(); ++i) {
    auto end = static_cast<AttemptEnd>(i);
    EXPECT_EQ(to_string(end), words[i]);
    EXPECT_EQ(attempt_end_from(words[i]), end);
  }
  EXPECT_FALSE(attempt_end_from(""));
  EXPECT_FALSE(attempt_end_from("done"));
}

TaskOptions full_options() {
  TaskOptions options;
  options.id = "order:42";
  options.name = "a \"name\" with \\ and\nlines, é";
  options.labels = {{"a", ""}, {"b", "x\ty"}};
  options.metadata = R"({"n": 1.0,"big":12345678901234567890 ,"t":"\u00e9"})";
  options.retry = RetryPolicy{250ms, 7min, 1.1, 0.1, 0.30000000000000004};
  options.timeout = 1ms;
  options.deadline = from_ms(1'750'000'000'123);
  options.idempotency_key = "k\x01";
  options.unchecked = true;
  return options;
}

TEST(TaskOptions, NothingToSayIsEmpty) {
  EXPECT_EQ(encode_options({}), "");
  EXPECT_EQ(decode_options(""), TaskOptions{});
  EXPECT_EQ(decode_options("{}"), TaskOptions{});
}

TEST(TaskOptions, RoundTrip) {
  std::string text = encode_options(full_options());
  EXPECT_TRUE(check_json(text)) << text;
  EXPECT_EQ(decode_options(text), full_options());
  EXPECT_NE(text.find(full_options().metadata), std::string::npos) << "metadata moves untouched";
}

// Each member alone, so that none hides behind another.
TEST(TaskOptions, EveryMemberRoundTripsAlone) {
  TaskOptions full = full_options();
  std::vector<TaskOptions> each(9);
  each[0].id = full.id;
  each[1].name = full.name;
  each[2].labels = full.labels;
  each[3].metadata = full.metadata;
  each[4].retry = full.retry;
  each[5].timeout = Duration(0);
  each[6].deadline = from_ms(0);
  each[7].idempotency_key = full.idempotency_key;
  each[8].unchecked = true;
  for (const auto& options : each) {
    EXPECT_NE(encode_options(options), "");
    EXPECT_EQ(decode_options(encode_options(options)), options) << encode_options(options);
  }
}

TEST(TaskOptions, WhatIsNotOursIsCorrupt) {
  for (const char* text : {"x", "[]", "1", "{", "{} x", R"({"colour":1})", R"({"id":1})",
                           R"({"timeout_ms":"1"})", R"({"labels":[]})", R"({"labels":{"a":1}})",
                           R"({"retry":{"min":1}})", R"({"id":"a","id":"b"})"}) {
    try {
      decode_options(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::corrupt) << text;
      EXPECT_NE(error.message().find("stored task options"), std::string::npos);
    }
    std::string problem;
    EXPECT_EQ(usable_options(text, problem), TaskOptions{});
    EXPECT_NE(problem.find("stored task options"), std::string::npos) << text;
  }
  std::string problem;
  EXPECT_EQ(usable_options(R"({"name":"a"})", problem).name, "a");
  EXPECT_EQ(problem, "");
}

TEST(ErrorInfo, RoundTrip) {
  for (const ErrorInfo& error :
       {ErrorInfo{}, ErrorInfo{"k", "", ""}, ErrorInfo{"", "", "only detail"},
        ErrorInfo{"actor_error", "one \"line\"", "Traceback:\n\t\x1b[31mé\n"}}) {
    std::string text = encode_error(error);
    EXPECT_TRUE(text.empty() || check_json(text)) << text;
    EXPECT_EQ(decode_error(text), error) << text;
  }
}

// A program may print anything; its error must still be storable.
TEST(ErrorInfo, BytesThatAreNotTextAreReplaced) {
  std::string text = encode_error({"exit", "bad \xff byte", "\xc3"});
  EXPECT_TRUE(check_json(text)) << text;
  EXPECT_EQ(decode_error(text).message, "bad \xef\xbf\xbd byte");
}

TEST(ErrorInfo, WhatIsNotOursIsCorrupt) {
  EXPECT_THROW(decode_error("null"), Error);
  EXPECT_THROW(decode_error(R"({"kind":null})"), Error);
  EXPECT_EQ(decode_error(R"({"kind":"a","later":[1]})").kind, "a");
}

TEST(Task, OrderPutsSixSecondsAgainstOneStepOfPriority) {
  TimePoint at = from_ms(1'750'000'000'000);
  EXPECT_LT(order_of(at, 1), order_of(at, 0));
  EXPECT_EQ(order_of(at + 6s, 1), order_of(at, 0));
  EXPECT_GT(order_of(at + 6001ms, 1), order_of(at, 0));
  EXPECT_LT(order_of(at, 0), order_of(at + 1ms, 0));
}

}  // namespace
}  // namespace opscore
