#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/actor/actor.h"
#include "opscore/actor/recorded_context.h"

namespace opscore {
namespace {

using testing::HasSubstr;

std::string problem_of(const std::function<void()>& add) {
  try {
    add();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid);
    return error.what();
  }
  return "accepted";
}

std::string nothing(TaskContext&) {
  return "null";
}

TEST(Registry, RunsFunctionsOfBothKinds) {
  Registry registry;
  registry.add("text", [](TaskContext& task) { return task.input(); });
  registry.add("outcome", [](TaskContext&) { return Outcome::snooze(Duration(5)); });
  RecordedContext task("[1]");
  EXPECT_EQ(registry.find("text")->actor->run(task).result, "[1]");
  EXPECT_EQ(registry.find("outcome")->actor->run(task).kind, Outcome::Kind::snoozed);
  EXPECT_EQ(registry.find("text")->entry.kind, "native");
}

TEST(Registry, KeepsWhatWasSaidAboutAnActor) {
  Registry registry;
  registry.add("mail.send", nothing,
               {.queue = "mail",
                .version = "2",
                .description = "Sends",
                .input_schema = "{}",
                .timeout = Duration(5000),
                .max_attempts = 2,
                .concurrency = 4,
                .aliases = {"send_mail"}});
  const RegisteredActor* actor = registry.find("send_mail");
  ASSERT_NE(actor, nullptr);
  EXPECT_EQ(actor, registry.find("mail.send"));
  EXPECT_EQ(actor->entry.type, "mail.send");
  EXPECT_EQ(actor->entry.queue, "mail");
  EXPECT_EQ(actor->entry.timeout, Duration(5000));
  EXPECT_EQ(actor->entry.max_attempts, 2);
  EXPECT_EQ(actor->entry.concurrency, 4);
}

TEST(Registry, ListsByType) {
  Registry registry;
  registry.add("b", nothing, {.aliases = {"a2"}});
  registry.add("a", nothing);
  auto all = registry.all();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0]->entry.type, "a");
  EXPECT_EQ(registry.find("c"), nullptr);
}

TEST(Registry, RefusesBadAndTakenNames) {
  Registry registry;
  registry.add("one", nothing, {.aliases = {"uno"}});
  EXPECT_THAT(problem_of([&] { registry.add("", nothing); }), HasSubstr("is empty"));
  EXPECT_THAT(problem_of([&] { registry.add("a b", nothing); }), HasSubstr("may only contain"));
  EXPECT_THAT(problem_of([&] { registry.add("x", nothing, {.aliases = {"1"}}); }),
              HasSubstr("alias '1'"));
  EXPECT_THAT(problem_of([&] { registry.add("x", nothing, {.queue = "q.DQ"}); }),
              HasSubstr("queue 'q.DQ'"));
  EXPECT_THAT(problem_of([&] { registry.add("x", nothing, {.input_schema = "{"}); }),
              HasSubstr("not JSON"));
  EXPECT_THAT(problem_of([&] { registry.add("one", nothing); }),
              HasSubstr("taken by actor 'one' (native)"));
  EXPECT_THAT(problem_of([&] { registry.add("uno", nothing); }), HasSubstr("taken by actor 'one'"));
  EXPECT_THAT(problem_of([&] { registry.add("x", nothing, {.aliases = {"uno"}}); }),
              HasSubstr("taken"));
  EXPECT_THAT(problem_of([&] { registry.add("x", nothing, {.aliases = {"x"}}); }),
              HasSubstr("given twice"));
  EXPECT_THAT(problem_of([&] { registry.add("x", std::function<Outcome(TaskContext&)>()); }),
              HasSubstr("needs a function"));
  // Nothing of the refused ones stayed.
  EXPECT_EQ(registry.find("x"), nullptr);
  EXPECT_EQ(registry.all().size(), 1u);
}

}  // namespace
}  // namespace opscore
