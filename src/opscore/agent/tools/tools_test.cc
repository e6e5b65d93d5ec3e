#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/agent/journaled_task.h"
#include "opscore/agent/tools/builtin_tools.h"
#include "opscore/agent/tools/exec_tool.h"
#include "opscore/agent/tools/expression.h"

namespace opscore {
namespace {

using testing::HasSubstr;

TEST(Expression, Values) {
  const std::vector<std::pair<const char*, const char*>> cases{
      {"1+2*3", "7"},
      {"(1+2)*3", "9"},
      {"2^10", "1024"},
      {"2^3^2", "512"},
      {"-2^2", "-4"},
      {"2^-1", "0.5"},
      {"--3", "3"},
      {"+4", "4"},
      {"7 % 4", "3"},
      {"-7 % 4", "-3"},
      {"10/4", "2.5"},
      {"0.1+0.2", "0.3"},
      {"1e3", "1000"},
      {".5*2", "1"},
      {"5.", "5"},
      {"sqrt(16)", "4"},
      {"abs(-3.5)", "3.5"},
      {"min(3,1,2)", "1"},
      {"max(3, 1, 2)", "3"},
      {"round(2.5)", "3"},
      {"max(1)", "1"},
      {" 1 \t+ 1\n", "2"},
      {"8-3-2", "3"},
      {"16/4/2", "2"},
      {"9007199254740992", "9007199254740992"},
      {"1/3", "0.333333333333333"},
      {"2*(3+4)^2", "98"},
      {"-(2+3)", "-5"},
      {"0*-1", "0"},
      {"1e300*10", "1e+301"}};
  for (const auto& [text, expected] : cases) {
    const auto value = evaluate_expression(text);
    ASSERT_TRUE(value) << text << ": " << value.error();
    EXPECT_EQ(format_number(*value), expected) << text;
  }
}

TEST(Expression, Problems) {
  const std::vector<std::pair<std::string, const char*>> cases{
      {"", "the expression ends"},       {"1+", "the expression ends"},
      {"1 2", "unexpected '2'"},         {"(1", "expected ')'"},
      {"1)", "unexpected ')'"},          {"1/0", "division by zero"},
      {"5%0", "division by zero"},       {"sqrt(-1)", "square root"},
      {"2**3", "expected a number"},     {"x+1", "unknown word 'x'"},
      {"foo(1)", "unknown function"},    {"abs(1,2)", "takes one value"},
      {"inf", "unknown word 'inf'"},     {"nan", "unknown word"},
      {"10^400", "not a finite number"}, {"1e400", "not a number"},
      {"(-8)^0.5", "not a finite"},      {"1e308*10", "not a finite number"},
      {"1 + ü", "instead of 'ü'"},       {"max()", "expected a number"},
      {"0x10", "unexpected 'x'"},        {"1/(2-2)", "division by zero"}};
  for (const auto& [text, words] : cases) {
    const auto value = evaluate_expression(text);
    ASSERT_FALSE(value) << text << " = " << *value;
    EXPECT_THAT(value.error(), HasSubstr(words)) << text;
  }
}

TEST(Expression, DepthAndLengthAreBounded) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '(') + "1" + std::string(depth, ')');
  };
  EXPECT_TRUE(evaluate_expression(nested(60)));
  EXPECT_THAT(evaluate_expression(nested(400)).error(), HasSubstr("nested deeper"));
  EXPECT_THAT(evaluate_expression(std::string(900, '-') + "1").error(), HasSubstr("nested deeper"));
  EXPECT_THAT(evaluate_expression(std::string(2000, '1')).error(), HasSubstr("longer than"));
}

class ToolsTest : public testing::Test {
 protected:
  std::expected<std::string, std::string> call(const Tool& tool, const Json& arguments) {
    return tool.call(arguments, {task_, task_.limit});
  }
  Journal journal_;
  JournaledTask task_{"{}", journal_};
  Registry registry_;
};

TEST_F(ToolsTest, Calculator) {
  const auto tool = make_calculator();
  EXPECT_EQ(call(*tool, {{"expression", "6*7"}}), "42");
  EXPECT_FALSE(call(*tool, Json::object()));
  EXPECT_FALSE(call(*tool, {{"expression", 5}}));
  EXPECT_THAT(call(*tool, {{"expression", "1"}, {"precision", 2}}).error(),
              HasSubstr("'precision'"));
}

TEST_F(ToolsTest, CurrentTimeIsTheTasks) {
  const auto tool = make_current_time();
  EXPECT_EQ(Json::parse(*call(*tool, Json::object())),
            (Json{{"utc", "2025-06-15T15:06:40.000Z"}, {"weekday", "Sunday"}}));
}

// An actor of kind exec, without a program behind it.
class Program final : public Actor {
 public:
  explicit Program(std::function<Outcome(TaskContext&)> body) : body_(std::move(body)) {}
  Outcome run(TaskContext& task) override { return body_(task); }

 private:
  std::function<Outcome(TaskContext&)> body_;
};

TEST_F(ToolsTest, ExecActorsAreTools) {
  const auto echo = [](TaskContext& task) { return Outcome::complete(task.input()); };
  registry_.add("shell.word_count", "exec", std::make_unique<Program>(echo),
                {.description = "counts words"});
  registry_.add("native.thing", [](TaskContext& task) { return task.input(); });
  const auto tools = make_exec_tools(registry_);
  ASSERT_EQ(tools.size(), 1u) << "only exec actors";
  const ToolSpec& spec = tools[0]->spec();
  EXPECT_EQ(spec.name, "shell_word_count");
  EXPECT_EQ(spec.description, "counts words");
  EXPECT_THAT(spec.aliases, testing::ElementsAre("shell.word_count"));
  EXPECT_EQ(spec.parameters, (Json{{"type", "object"}, {"properties", Json::object()}}));
  EXPECT_EQ(call(*tools[0], {{"text", "a b"}}), R"({"text":"a b"})");
}

TEST_F(ToolsTest, ExecToolNamesAreUniqueAndAllowed) {
  const auto nothing = [](TaskContext&) { return Outcome::complete("null"); };
  for (const std::string& type : {std::string("a.b"), std::string("a_b"), std::string("calculator"),
                                  "x" + std::string(99, '.')})
    registry_.add(type, "exec", std::make_unique<Program>(nothing));
  std::set<std::string> names;
  for (const auto& tool : make_exec_tools(registry_, {"calculator"})) {
    const std::string& name = tool->spec().name;
    EXPECT_THAT(name, testing::MatchesRegex("[A-Za-z0-9_-]+"));
    EXPECT_LE(name.size(), 64u);
    names.insert(name);
  }
  EXPECT_EQ(names.size(), 4u);
  EXPECT_FALSE(names.contains("calculator"));
  EXPECT_TRUE(names.contains("a_b"));
  EXPECT_TRUE(names.contains("a_b_2"));
}

TEST_F(ToolsTest, ExecResultsAndFailuresAreText) {
  const auto by_input = [](TaskContext& task) {
    const Json input = parse_json(task.input());
    task.log(LogLevel::info, "hello");
    if (input.contains("throw")) throw Error(Errc::unavailable, "cannot start");
    if (input.contains("fail")) return Outcome::fail({"actor_error", "exit code 3", "on stderr"});
    if (input.contains("snooze")) return Outcome::snooze(Duration(30000), "busy");
    return Outcome::complete(R"("plain text")");
  };
  registry_.add("p", "exec", std::make_unique<Program>(by_input));
  const auto tools = make_exec_tools(registry_);
  EXPECT_EQ(call(*tools.at(0), Json::object()), "plain text");
  EXPECT_EQ(call(*tools[0], {{"fail", 1}}).error(), "exit code 3\non stderr");
  EXPECT_THAT(call(*tools[0], {{"snooze", 1}}).error(), HasSubstr("try again later: busy"));
  EXPECT_EQ(call(*tools[0], {{"throw", 1}}).error(), "cannot start");
  EXPECT_EQ(task_.log_seen.at(0), "p: hello");
}

TEST_F(ToolsTest, ASchemaOfAnotherTypeIsWrapped) {
  const auto echo = [](TaskContext& task) { return Outcome::complete(task.input()); };
  registry_.add("p", "exec", std::make_unique<Program>(echo),
                {.input_schema = R"({"type": "string"})"});
  const auto tools = make_exec_tools(registry_, {}, [](const auto& schema, const auto& json) {
    EXPECT_EQ(schema, R"({"type": "string"})");
    return parse_json(json).is_string() ? std::nullopt
                                        : std::optional<std::string>("must be a string");
  });
  EXPECT_EQ(tools.at(0)->spec().parameters["properties"]["input"]["type"], "string");
  EXPECT_EQ(call(*tools[0], {{"input", "a b"}}), "a b");
  EXPECT_THAT(call(*tools[0], {{"input", 5}}).error(), HasSubstr("must be a string"));
  EXPECT_FALSE(call(*tools[0], {{"text", "a b"}}));
}

TEST_F(ToolsTest, AProgramGetsTheShorterDeadline) {
  Deadline seen = Deadline::never();
  registry_.add("p", "exec", std::make_unique<Program>([&](TaskContext& task) {
                  seen = task.deadline();
                  return Outcome::complete("null");
                }),
                {.timeout = Duration(1000)});
  const auto tools = make_exec_tools(registry_);
  (void)call(*tools.at(0), Json::object());
  EXPECT_LT(seen.when(), task_.limit.when());
}

}  // namespace
}  // namespace opscore
