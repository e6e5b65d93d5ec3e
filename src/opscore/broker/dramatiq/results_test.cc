#include "opscore/broker/dramatiq/results.h"

#include <gtest/gtest.h>

#include "opscore/base/json.h"
#include "opscore/broker/dramatiq/golden_fixture.h"

namespace opscore {
namespace {

TEST(Results, KeysAndValuesAreThoseOfTheRealDramatiq) {
  const Json real = parse_json(golden_body("results_keys"));
  auto of = [&](const char* name) { return real.at(name).get<std::string>(); };
  const std::string id = of("message_id"), queue = of("queue_name_in_message");
  EXPECT_EQ(result_key({}, queue, "mul", id), of("md5_key"));
  EXPECT_EQ(result_key({.plain = true}, queue, "mul", id), of("plain"));
  EXPECT_EQ(result_value("42"), of("result_value_for_42"));
  EXPECT_EQ(failure_value({"ValueError", "boom"}), of("result_value_for_exception"));
}

TEST(Results, ANamespaceOfItsOwn) {
  EXPECT_EQ(result_key({.name_space = "mine", .plain = true}, "q", "a", "id"), "mine:q:a:id");
}

TEST(Results, ValuesAreWrittenAsPythonDoes) {
  EXPECT_EQ(result_value(R"({ "x": "é" })"), R"({"x":"\u00e9"})");
}

}  // namespace
}  // namespace opscore
