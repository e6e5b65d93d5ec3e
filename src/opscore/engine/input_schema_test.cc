#include "opscore/engine/input_schema.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "opscore/base/error.h"

namespace opscore {
namespace {

TEST(InputSchema, names_the_place_of_a_wrong_type) {
  InputSchema schema(R"({"type": "object", "properties": {"ms": {"type": "integer"}}})");
  EXPECT_FALSE(schema.check(R"({"ms": 5})"));
  auto problem = schema.check(R"({"ms": "five"})");
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->path, "ms");
}

TEST(InputSchema, lists_what_an_enum_allows) {
  InputSchema schema(
      R"({"properties": {"a": {"properties": {"provider": {"enum": ["x", "y"]}}}}})");
  auto problem = schema.check(R"({"a": {"provider": "z"}})");
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->path, "a.provider");
  EXPECT_EQ(problem->message, R"(must be one of ["x","y"], not "z")");
}

TEST(InputSchema, gives_the_reason_for_a_known_but_unusable_value) {
  InputSchema schema(R"({"properties": {"provider": {
      "enum": ["scripted"], "x-opscore-reasons": {"openai": "set OPENAI_API_KEY"}}}})");
  auto problem = schema.check(R"({"provider": "openai"})");
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->message, "set OPENAI_API_KEY");
}

TEST(InputSchema, gives_the_reason_for_a_missing_member) {
  InputSchema schema(R"({"properties": {"c": {"required": ["provider"],
      "x-opscore-required": {"provider": "no default provider is configured"}}}})");
  auto problem = schema.check(R"({"c": {}})");
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->path, "c.provider");
  EXPECT_EQ(problem->message, "no default provider is configured");
}

TEST(InputSchema, lists_what_a_list_may_hold) {
  InputSchema schema(R"({"properties": {"tools": {"type": "array", "items": {"enum": ["a"]}}}})");
  auto problem = schema.check(R"({"tools": ["a", "b"]})");
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->path, "tools[1]");
  EXPECT_EQ(problem->message, R"(must be one of ["a"], not "b")");
}

TEST(InputSchema, names_the_members_of_which_one_is_needed) {
  InputSchema schema(R"({"anyOf": [{"required": ["prompt"]}, {"required": ["goal"]}]})");
  EXPECT_FALSE(schema.check(R"({"goal": 1})"));
  auto problem = schema.check("{}");
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->path, "");
  EXPECT_EQ(problem->message, "needs 'prompt' or 'goal'");
}

TEST(InputSchema, points_at_a_member_that_a_condition_requires) {
  InputSchema schema(R"({"properties": {"c": {"allOf": [{"required": ["model"]}]}}})");
  auto problem = schema.check(R"({"c": {}})");
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->path, "c.model");
  EXPECT_EQ(problem->message, "is required");
}

TEST(InputSchema, refuses_what_is_not_a_schema) {
  EXPECT_THROW(InputSchema(R"({"type": 5})"), Error);
  EXPECT_THROW(InputSchema("{"), Error);
  EXPECT_THROW(InputSchema(R"({"pattern": "("})"), Error);
  EXPECT_THROW(InputSchema(R"({"properties": {"a": {"pattern": "(a)\\1"}}})"), Error);
  EXPECT_THROW(InputSchema(R"({"patternProperties": {"[": {}}})"), Error);
}

TEST(InputSchema, refuses_a_schema_that_refers_to_itself_without_end) {
  EXPECT_THROW(InputSchema(R"({"$ref": "#"})"), Error);
  EXPECT_THROW(InputSchema(R"({"anyOf": [{"type": "null"}, {"$ref": "#"}]})"), Error);
  EXPECT_THROW(InputSchema(R"({"properties": {"x": {"$ref": "#/definitions/a"}}, "definitions": {
                   "a": {"not": {"$ref": "#/definitions/b"}},
                   "b": {"$ref": "#/definitions/a"}}})"),
               Error);
  InputSchema tree(R"({"type": "object", "properties": {"below": {"$ref": "#"}}})");
  EXPECT_FALSE(tree.check(R"({"below": {"below": {}}})"));
  EXPECT_TRUE(tree.check(R"({"below": {"below": 5}})"));
}

TEST(InputSchema, matches_patterns_in_long_texts) {
  InputSchema schema(R"({"pattern": "^a*$"})");
  const std::string many(500'000, 'a');
  EXPECT_FALSE(schema.check("\"" + many + "\""));
  EXPECT_TRUE(schema.check("\"" + many + "b\""));
  EXPECT_FALSE(schema.check("5"));
  // Backtracking would take this until the end of days.
  EXPECT_TRUE(InputSchema(R"({"pattern": "(a+)+$"})").check("\"" + many + "b\""));
}

TEST(InputSchema, finds_a_pattern_anywhere_unless_it_says_where) {
  InputSchema schema(R"({"properties": {"a": {"pattern": "b+|^c"}}})");
  EXPECT_FALSE(schema.check(R"({"a": "abba"})"));
  EXPECT_FALSE(schema.check(R"({"a": "cat"})"));
  auto problem = schema.check(R"({"a": "acc"})");
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->path, "a");
  EXPECT_EQ(problem->message, "does not match the pattern b+|^c");
}

TEST(InputSchema, knows_dates_and_times) {
  InputSchema schema(R"({"format": "date-time"})");
  EXPECT_FALSE(schema.check(R"("2026-01-31T12:00:00.5+01:00")"));
  for (const char* wrong : {"2026-02-30T12:00:00Z", "2026-01-31", "now"})
    EXPECT_TRUE(schema.check(fmt::format("\"{}\"", wrong))) << wrong;
  EXPECT_TRUE(schema.check("\"" + std::string(500'000, '1') + "\""));
  EXPECT_FALSE(schema.check("5"));
  EXPECT_FALSE(InputSchema(R"({"format": "uri"})").check(R"("what people read")"));
}

TEST(InputSchema, does_not_try_patterns_on_endless_names) {
  InputSchema schema(R"({"patternProperties": {"^a*$": {"type": "integer"}}})");
  EXPECT_TRUE(schema.check(R"({"aa": "x"})"));
  EXPECT_FALSE(schema.check(R"({"b": "x"})"));
  EXPECT_TRUE(schema.check("{\"" + std::string(100'000, 'a') + "\": 1}"));
}

TEST(InputSchema, shows_the_beginning_of_a_long_value) {
  InputSchema schema(R"({"enum": ["a"]})");
  auto problem = schema.check("\"" + std::string(500'000, 'x') + "\"");
  ASSERT_TRUE(problem);
  EXPECT_LT(problem->message.size(), 200u);
}

TEST(InputSchema, names_a_member_that_it_does_not_know) {
  InputSchema schema(R"({"properties": {"c": {"properties": {}, "additionalProperties": false}}})");
  auto problem = schema.check(R"({"c": {"it's": 1}})");
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->path, "c.it's");
}

TEST(InputSchema, says_which_type_it_wants) {
  InputSchema schema(R"({"properties": {"ms": {"type": ["integer", "null"]}, "no": false}})");
  auto problem = schema.check(R"({"ms": "5"})");
  ASSERT_TRUE(problem);
  EXPECT_EQ(problem->message, "must be of type integer or null, not string");
  EXPECT_TRUE(schema.check(R"({"no": {}})"));
}

}  // namespace
}  // namespace opscore
