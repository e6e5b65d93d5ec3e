#include "opscore/engine/input_schema.h"

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
}

}  // namespace
}  // namespace opscore
