#include "opscore/broker/dramatiq/task_message.h"

#include <gtest/gtest.h>

#include "opscore/broker/dramatiq/golden_fixture.h"
#include "opscore/model/decide.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;

// The task that, handed over when the golden message was made, becomes that message.
Task task_like(const DramatiqMessage& message, const std::string& input) {
  Task task;
  task.type = message.actor_name;
  task.queue = canonical_queue(message.queue_name);
  task.input = input;
  PythonMembers options = message.options;
  options.erase("eta");
  task.options.dramatiq = options.encode();
  task.options.id = message.message_id;
  const TimePoint made = from_ms(*made_at_ms(message));
  task.key = TaskKey::first_at(made);
  task.live.run_at = made;
  if (auto eta = integer_option(message.options, "eta")) task.live.run_at = from_ms(*eta);
  return task;
}

void expect_same_bytes(const std::string& name, const std::string& input) {
  const std::string golden = golden_body(name);
  const DramatiqMessage message = decode_dramatiq(golden).value();
  const Task task = task_like(message, input);
  // A UUID as a task's own id gets a prefix, which the golden messages do not have.
  ForeignMessage made = message_of_task(task, "id", 0, from_ms(*made_at_ms(message)));
  DramatiqMessage read = decode_dramatiq(made.body).value();
  EXPECT_EQ(read.message_id, "id");
  read.message_id = message.message_id;
  EXPECT_EQ(encode_dramatiq(read), golden) << name;
  EXPECT_EQ(made.queue, message.queue_name);
}

TEST(TaskMessage, HasTheBytesThatPythonSends) {
  expect_same_bytes("01_plain", "null");
  expect_same_bytes("02_args", "[1, 2]");
  expect_same_bytes(
      "03_args_kwargs",
      R"({"args": ["a@example.com"], "kwargs": {"subject": "Hi", "tags": ["x","y"]}})");
  expect_same_bytes("05_delayed", "[1,2]");
  expect_same_bytes("07_options", "[1,2]");
  expect_same_bytes("08_broker_priority", R"({"args":[1,2]})");
}

TEST(TaskMessage, ItsPriorityIsAlsoRabbitMqs) {
  Task task;
  task.options.dramatiq = R"({"broker_priority":5})";
  EXPECT_EQ(message_of_task(task, "x", 0, {}).priority, 5);
  task.options.dramatiq = "{}";
  EXPECT_FALSE(message_of_task(task, "x", 0, {}).priority);
}

TEST(TaskMessage, InputsBecomeArguments) {
  auto text = [](std::string_view input) {
    auto arguments = arguments_of(input);
    return arguments ? arguments->args + arguments->kwargs : arguments.error().message();
  };
  EXPECT_EQ(text("null"), "[]{}");
  EXPECT_EQ(text("[1, \"\u00e9\"]"), "[1,\"\\u00e9\"]{}");
  EXPECT_EQ(text(R"({"a": 1})"), R"([]{"a":1})");
  EXPECT_EQ(text("{}"), "[]{}");
  EXPECT_EQ(text(R"({"args": [1]})"), "[1]{}");
  EXPECT_EQ(text(R"({"kwargs": {"b": 2}, "args": [1]})"), R"([1]{"b":2})");
  EXPECT_EQ(text(R"({"args": [1], "b": 2})"), R"([]{"args":[1],"b":2})");
  EXPECT_EQ(text(R"({"args": 1})"), R"([]{"args":1})");
  EXPECT_NE(text("7").find("takes an object"), std::string::npos);
}

TEST(TaskMessage, OptionsSayWhatTheTaskSays) {
  TaskSpec spec;
  EXPECT_EQ(message_options(R"({"notify_shutdown":true})", spec, {}, {}),
            R"({"notify_shutdown":true})");
  spec.options.retry = RetryPolicy{1s, 1min, 2, 0, 1};
  spec.options.timeout = 5s;
  spec.options.deadline = TimePoint(90s);
  spec.priority = 7;
  EXPECT_EQ(message_options(R"({"time_limit":1,"x":{}})", spec, 3, TimePoint(30s)),
            R"({"time_limit":5000,"x":{},"max_retries":2,"min_backoff":1000,"max_backoff":60000,)"
            R"("max_age":60000,"broker_priority":7})");
  EXPECT_EQ(message_options("{}", {}, kUnlimitedAttempts, {}), R"({"max_retries":null})");
}

TEST(TaskMessage, OneThatIsSentAgainCountsOn) {
  Task task;
  task.key = TaskKey::first_at(TimePoint(5s));
  task.options.dramatiq = "{}";
  task.live.run_at = TimePoint(60s);
  DramatiqMessage message =
      decode_dramatiq(message_of_task(task, "x", 4, TimePoint(61s)).body).value();
  EXPECT_EQ(message.options.encode(), R"({"opscore_attempts":4})");
  EXPECT_EQ(message.message_timestamp, "60000") << "what its age is counted from";
}

}  // namespace
}  // namespace opscore
