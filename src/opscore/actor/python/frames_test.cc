#include "opscore/actor/python/frames.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/base/json.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

// The payload of the only frame in `bytes`.
std::string payload_of(const std::string& bytes) {
  FrameReader reader;
  reader.feed(bytes);
  auto payload = reader.next();
  EXPECT_TRUE(payload.has_value());
  std::string text(payload.value_or(""));
  EXPECT_FALSE(reader.next().has_value());
  return text;
}

std::string framed(const std::string& payload) {
  const auto length = static_cast<uint32_t>(payload.size());
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + payload;
}

TEST(Frames, tasks_of_a_batch_share_a_frame_and_keep_their_bytes) {
  ClaimedTask first, second;
  first.input = R"({"n": 1.0e0, "s": "é\u0000"})";
  first.live.attempt = 3;
  first.live.charged = 2;
  first.live.budget = 5;
  second.input = "null";
  second.options.metadata = R"({"a": 1})";
  const std::string type = "mail.send";
  std::string payload =
      payload_of(run_frame({{7, type, "task_a", first, 90s}, {8, type, "b\"c", second, 1ms}}));
  EXPECT_EQ(payload,
            R"([["run",7,"mail.send","task_a",3,2,5,90000,{"n": 1.0e0, "s": "é\u0000"},null],)"
            R"(["run",8,"mail.send","b\"c",0,0,0,1,null,{"a": 1}]])");
}

TEST(Frames, what_else_a_child_is_told) {
  EXPECT_EQ(payload_of(stop_frame(4, HostedStop::timeout)), R"([["stop",4,"timeout"]])");
  EXPECT_EQ(payload_of(stop_frame(4, HostedStop::cancel)), R"([["stop",4,"cancelled"]])");
  EXPECT_EQ(payload_of(stop_frame(4, HostedStop::drain)), R"([["stop",4,"draining"]])");
  EXPECT_EQ(payload_of(take_back_frame(4)), R"([["back",4]])");
  EXPECT_EQ(payload_of(step_frame(9, {})), R"([["step",9,"run"]])");
  EXPECT_EQ(payload_of(step_frame(9, {StepReply::Kind::recorded, R"({"a": 1})"})),
            R"([["step",9,"recorded",{"a": 1}]])");
  EXPECT_EQ(payload_of(step_frame(9, {StepReply::Kind::mismatch, "no \"step\""})),
            R"([["step",9,"mismatch","no \"step\""]])");
}

TEST(Frames, what_a_child_says_about_tasks) {
  ChildSpeech speech = parse_speech(
      R"([["log",1,"warn","a line"],["progress",1,{"done": 2}],["done",1,100,250,{"r": 1.50}],)"
      R"(["fail",2,5,6,"no_paper","tray 2","trace",false,null],)"
      R"(["fail",3,5,6,"actor_error","x","",true,1500],["snooze",4,5,6,2000,"busy"],)"
      R"(["dropped",5],["step",6,11,"python","add",[1]],["did",6,11,"python","add",[1],"42",7]])");
  ASSERT_EQ(speech.news.ends.size(), 4u);
  EXPECT_EQ(speech.news.lines[0].level, LogLevel::warn);
  EXPECT_EQ(speech.news.lines[0].text, "a line");
  EXPECT_EQ(speech.news.progress[0].json, R"({"done": 2})");
  const auto& ends = speech.news.ends;
  EXPECT_EQ(ends[0].outcome.result, R"({"r": 1.50})");
  EXPECT_EQ(ends[0].left - ends[0].began, 150ns);
  EXPECT_EQ(ends[1].outcome.error, (ErrorInfo{"no_paper", "tray 2", "trace"}));
  EXPECT_FALSE(ends[1].outcome.retryable);
  EXPECT_EQ(ends[1].outcome.delay, std::nullopt);
  EXPECT_EQ(ends[2].outcome.delay, Duration(1500));
  EXPECT_EQ(ends[3].outcome.kind, Outcome::Kind::snoozed);
  EXPECT_EQ(ends[3].outcome.delay, Duration(2000));
  EXPECT_THAT(speech.news.dropped, ElementsAre(5u));
  ASSERT_EQ(speech.news.steps.size(), 2u);
  EXPECT_EQ(speech.news.steps[0].answer, std::nullopt);
  EXPECT_EQ(speech.news.steps[1].answer, "\"42\"");
  EXPECT_EQ(speech.news.steps[1].took, 7ms);
}

TEST(Frames, what_a_child_says_about_itself) {
  ChildSpeech speech =
      parse_speech(R"([["importing","app.tasks",5000,"  File x"],["refused","import: no","trace"],)"
                   R"(["hello",{"version":"1"}]])");
  EXPECT_EQ(speech.importing->module, "app.tasks");
  EXPECT_EQ(speech.importing->since, 5s);
  EXPECT_EQ(speech.refused->trace, "trace");
  EXPECT_EQ(speech.hello, R"({"version":"1"})");
}

TEST(Frames, what_is_not_of_the_grammar_is_refused) {
  for (const char* text :
       {"", "{}", "[1]", "[[]]", R"([["what",1]])", R"([["done",1,2,3]])",
        R"([["done",1,2,3,4,5]])", R"([["done","1",2,3,4]])", R"([["done",1,2,3,)",
        R"([["log",1,"loud","x"]])", R"([["dropped",1]] [])"})
    EXPECT_THROW(parse_speech(text), Error) << text;
}

TEST(Frames, a_stream_may_be_cut_anywhere) {
  const std::string bytes = framed("[1]") + framed("") + framed("[22]");
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    FrameReader reader;
    std::vector<std::string> payloads;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      reader.feed(bytes.substr(at, piece));
      while (auto payload = reader.next()) payloads.emplace_back(*payload);
    }
    EXPECT_THAT(payloads, ElementsAre("[1]", "", "[22]")) << piece;
  }
}

TEST(Frames, a_frame_that_is_too_large_is_refused_before_it_has_come) {
  FrameReader reader;
  reader.feed(std::string("\xff\xff\xff\x7f", 4));
  EXPECT_THROW(reader.next(), Error);
}

}  // namespace
}  // namespace opscore
