// What submit refuses, and what it makes of what it accepts.

#include <gmock/gmock.h>

#include "opscore/engine/service_fixture.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using SubmitTest = ServiceTest;

constexpr double kFactor = limits::kBackoffFactorMax;
constexpr double kJitter = limits::kBackoffJitterMax;

struct Refusal {
  std::string what;
  std::function<void(SubmitRequest&, TimePoint)> spoil;
  std::string field;
  Errc code = Errc::invalid;
};

// One wrong field each; everything else is fine.
std::vector<Refusal> refusals() {
  using R = SubmitRequest;
  using T = TimePoint;
  return {
      {"no type", [](R& r, T) { r.type = ""; }, "task_type"},
      {"bad type", [](R& r, T) { r.type = "1mail"; }, "task_type"},
      {"unknown type", [](R& r, T) { r.type = "fax.send"; }, "task_type"},
      {"no queue name", [](R& r, T) { r.queue = ""; }, "queue"},
      {"bad queue", [](R& r, T) { r.queue = "a b"; }, "queue"},
      {"delay queue", [](R& r, T) { r.queue = "mail.DQ"; }, "queue"},
      {"dead queue", [](R& r, T) { r.queue = "mail.XQ"; }, "queue"},
      {"long queue", [](R& r, T) { r.queue = std::string(129, 'q'); }, "queue"},
      {"large input", [](R& r, T) { r.input = '"' + std::string(999, 'x') + '"'; }, "input_data",
       Errc::too_large},
      {"high priority", [](R& r, T) { r.priority = 101; }, "priority"},
      {"low priority", [](R& r, T) { r.priority = -101; }, "priority"},
      {"lowest int priority", [](R& r, T) { r.priority = std::numeric_limits<int>::min(); },
       "priority"},
      {"delay and run_at", [](R& r, T now) { r.delay = 1s, r.run_at = now + 1s; }, "delay"},
      {"negative delay", [](R& r, T) { r.delay = -1s; }, "delay"},
      {"no timeout", [](R& r, T) { r.timeout = 0s; }, "timeout"},
      {"long timeout", [](R& r, T) { r.timeout = limits::kTimeoutMax + 1ms; }, "timeout"},
      {"deadline now", [](R& r, T now) { r.deadline = now; }, "deadline"},
      {"past deadline", [](R& r, T now) { r.deadline = now - 1h; }, "deadline"},
      {"deadline in nothing", [](R& r, T) { r.deadline_in = 0s; }, "deadline"},
      {"two deadlines", [](R& r, T now) { r.deadline_in = 1s, r.deadline = now + 1s; }, "deadline"},
      {"negative attempts", [](R& r, T) { r.max_attempts = -1; }, "max_attempts"},
      {"many attempts", [](R& r, T) { r.max_attempts = limits::kAttemptsMax + 1; }, "max_attempts"},
      {"max below min", [](R& r, T) { r.retry = RetryPolicy{.min = 2s, .max = 1s}; }, "backoff"},
      {"growing fast", [](R& r, T) { r.retry = RetryPolicy{.factor = kFactor + 0.1}; },
       "backoff.factor"},
      {"shrinking", [](R& r, T) { r.retry = RetryPolicy{.factor = 0.5}; }, "backoff.factor"},
      {"jitter", [](R& r, T) { r.retry = RetryPolicy{.jitter_low = 2}; }, "backoff.jitter"},
      {"wild jitter", [](R& r, T) { r.retry = RetryPolicy{.jitter_high = kJitter + 0.1}; },
       "backoff.jitter"},
      {"bad label", [](R& r, T) { r.labels = {{"a b", "x"}}; }, "labels"},
      {"long label", [](R& r, T) { r.labels = {{"a", std::string(257, 'x')}}; }, "labels.a"},
      {"many labels", [](R& r, T) { r.labels.assign(33, {"a", "x"}); }, "labels"},
      {"long name", [](R& r, T) { r.name = std::string(257, 'x'); }, "name"},
      {"long key", [](R& r, T) { r.idempotency_key = std::string(257, 'x'); }, "idempotency_key"},
      {"reserved id", [](R& r, T) { r.task_id = "batch"; }, "task_id"},
      {"bad id", [](R& r, T) { r.task_id = "-x"; }, "task_id"},
      {"long id", [](R& r, T) { r.task_id = std::string(129, 'x'); }, "task_id"},
      {"metadata", [](R& r, T) { r.metadata = '"' + std::string(64 << 10, 'x') + '"'; },
       "metadata"},
  };
}

TEST_F(SubmitTest, each_wrong_field_is_named) {
  for (const Refusal& refusal : refusals()) {
    SubmitRequest wrong = request();
    refusal.spoil(wrong, clock_.now());
    Error error = refusal_of(wrong);
    EXPECT_EQ(error.field(), refusal.field) << refusal.what;
    EXPECT_EQ(error.code(), refusal.code) << refusal.what;
    EXPECT_THAT(error.what(), HasSubstr(refusal.field)) << refusal.what;
  }
  EXPECT_THAT(service_->list({}, "", 10).tasks, IsEmpty());
}

TEST_F(SubmitTest, a_name_with_a_nul_is_refused_in_full) {
  SubmitRequest wrong = request();
  wrong.type = std::string("mail\0send", 9);
  EXPECT_THAT(refusal_of(wrong).what(), HasSubstr("'mail send' may only contain letters"));
}

TEST_F(SubmitTest, the_bounds_themselves_are_fine) {
  SubmitRequest one = request();
  one.priority = 100;
  one.max_attempts = 0;
  one.input = '"' + std::string(998, 'x') + '"';
  one.queue = std::string(128, 'q');
  one.task_id = std::string(128, 'x');
  one.idempotency_key = std::string(256, 'k');
  one.delay = 0s;
  one.deadline = clock_.now() + 1ms;
  Task task = submit_and_get(one);
  EXPECT_EQ(task.state(), State::pending);
  EXPECT_EQ(task.live.budget, kUnlimitedAttempts);
  EXPECT_EQ(task.priority, 100);
}

TEST_F(SubmitTest, the_largest_bounds_are_fine) {
  SubmitRequest one = request();
  one.max_attempts = limits::kAttemptsMax;
  one.timeout = limits::kTimeoutMax;
  one.retry = RetryPolicy{.factor = kFactor, .jitter_low = kJitter, .jitter_high = kJitter};
  Task task = submit_and_get(one);
  EXPECT_EQ(task.max_attempts, limits::kAttemptsMax);
  EXPECT_EQ(task.options.timeout, limits::kTimeoutMax);
  EXPECT_EQ(task.options.retry, one.retry);
}

TEST_F(SubmitTest, an_unknown_type_is_answered_with_the_nearest) {
  EXPECT_THAT(refusal_of(request("mail.sned")).what(), HasSubstr("did you mean mail.send?"));
  EXPECT_THAT(refusal_of(request("zzzzzzzzzzzzzzzzzz")).what(), HasSubstr("opscore actors"));
}

TEST_F(SubmitTest, an_input_is_held_to_the_schema_of_its_type) {
  SubmitRequest wrong = request("strict");
  wrong.input = R"({"to": {"age": "old"}})";
  EXPECT_EQ(refusal_of(wrong).field(), "input_data.to.age");
  wrong.input = "{}";
  EXPECT_THAT(refusal_of(wrong).field(), HasSubstr("input_data"));
  wrong.input = R"({"to": {"age": 7}})";
  EXPECT_NO_THROW(submit(wrong));
}

TEST_F(SubmitTest, a_schema_that_cannot_be_used_refuses_its_own_type_only) {
  Error error = refusal_of(request("broken"));
  EXPECT_EQ(error.field(), "task_type");
  EXPECT_THAT(error.message(), HasSubstr("'broken'"));
  EXPECT_THAT(error.message(), HasSubstr("strin"));
  EXPECT_NO_THROW(submit());
}

TEST_F(SubmitTest, what_is_not_said_comes_from_the_type) {
  Task task = submit_and_get(request("tuned"));
  EXPECT_EQ(task.queue, "slow");
  EXPECT_EQ(task.max_attempts, 2);
  EXPECT_EQ(task.options.timeout, Duration(90s));
  EXPECT_EQ(task.options.retry, (RetryPolicy{.min = Duration(5), .max = Duration(50)}));
}

TEST_F(SubmitTest, what_is_said_wins_over_the_type) {
  SubmitRequest one = request("tuned_alias");
  one.queue = "fast";
  one.max_attempts = 9;
  one.timeout = 1s;
  one.retry = RetryPolicy{};
  Task task = submit_and_get(one);
  EXPECT_EQ(task.type, "tuned_alias");
  EXPECT_EQ(task.queue, "fast");
  EXPECT_EQ(task.max_attempts, 9);
  EXPECT_EQ(task.options.timeout, Duration(1s));
  EXPECT_EQ(task.options.retry, RetryPolicy{});
}

TEST_F(SubmitTest, without_either_there_are_defaults) {
  Task task = submit_and_get(request());
  EXPECT_EQ(task.queue, "default");
  EXPECT_EQ(task.max_attempts, limits::kMaxAttempts);
  EXPECT_EQ(task.input, "null");
  EXPECT_EQ(task.live.run_at, clock_.now());
}

TEST_F(SubmitTest, a_delay_and_a_relative_deadline_count_from_now) {
  SubmitRequest one = request();
  one.delay = 5s;
  one.deadline_in = 1h;
  Submitted answer = submit(one);
  EXPECT_EQ(answer.state, State::scheduled);
  Task task = service_->get(answer.id);
  EXPECT_EQ(task.live.run_at, clock_.now() + 5s);
  EXPECT_EQ(task.options.deadline, clock_.now() + 1h);
}

TEST_F(SubmitTest, a_run_at_in_the_past_is_due_at_once) {
  SubmitRequest one = request();
  one.run_at = clock_.now() - 1h;
  EXPECT_EQ(submit(one).state, State::pending);
}

TEST_F(SubmitTest, labels_are_sorted_and_metadata_is_kept) {
  SubmitRequest one = request();
  one.labels = {{"b", "2"}, {"a", "1"}};
  one.metadata = R"({"z": [1]})";
  one.name = "Morning mail";
  Task task = submit_and_get(one);
  EXPECT_EQ(task.options.labels,
            (std::vector<std::pair<std::string, std::string>>{{"a", "1"}, {"b", "2"}}));
  EXPECT_EQ(task.options.metadata, R"({"z": [1]})");
  EXPECT_EQ(task.options.name, "Morning mail");
}

TEST_F(SubmitTest, a_type_that_no_live_worker_runs_is_accepted_with_a_warning) {
  EXPECT_THAT(submit().warnings, ElementsAre(HasSubstr("no live worker runs 'mail.send'")));
  report({"default"});
  clock_.advance(100ms);
  EXPECT_THAT(submit().warnings, IsEmpty()) << "whoever would be warned has the latest view";
  clock_.advance(limits::kSessionTtl + 1s);
  EXPECT_THAT(submit().warnings.size(), 1u);
}

TEST_F(SubmitTest, an_announced_type_is_known_for_thirty_days) {
  CatalogueEntry entry;
  entry.type = "announced";
  entry.kind = "native";
  entry.seen_at = clock_.now();
  EXPECT_EQ(refusal_of(request("announced")).field(), "task_type");
  store_->fleet().announce_actors({entry});
  clock_.advance(100ms);
  EXPECT_NO_THROW(submit(request("announced")));
  clock_.advance(limits::kActorSeen + 1s);
  EXPECT_EQ(refusal_of(request("announced")).field(), "task_type");
}

}  // namespace
}  // namespace opscore
