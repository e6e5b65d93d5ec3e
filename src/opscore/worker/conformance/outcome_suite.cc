// What comes back for what an actor does.

#include <gmock/gmock.h>

#include <set>

#include "opscore/model/error_kind.h"
#include "opscore/worker/conformance/runner_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST_P(RunnerConformance, a_task_comes_back_with_its_result) {
  start_runner();
  Lease lease = run("echo")[0];
  Finished finished = only_posted();
  EXPECT_EQ(finished.task.lease(), lease);
  EXPECT_EQ(finished.outcome.kind, Outcome::Kind::completed);
  EXPECT_EQ(finished.outcome.result, "0");
  EXPECT_EQ(finished.started_at, clock_.now());
  EXPECT_EQ(finished.ended_at, clock_.now());
}

TEST_P(RunnerConformance, ten_thousand_tasks_come_back_exactly_once) {
  start_runner(8);
  std::set<Lease> sent;
  for (int batch = 0; batch < 10; ++batch)
    for (const Lease& lease : run("noop", 1000)) sent.insert(lease);
  auto all = posted(10'000);
  ASSERT_TRUE(eventually([&] { return runner_->idle(); }));
  EXPECT_EQ(posted(10'000).size(), 10'000u);
  std::set<Lease> back;
  for (const Finished& finished : all) back.insert(finished.task.lease());
  EXPECT_EQ(back, sent);
}

TEST_P(RunnerConformance, an_actor_sees_its_task) {
  std::string seen;
  TaskOptions options;
  options.id = "mine-1";
  registry_.add("look", std::function<std::string(TaskContext&)>([&](TaskContext& task) {
                  seen = fmt::format("{} {} {} {}", task.id(), task.type(), task.input(),
                                     task.attempt());
                  return "null";
                }));
  start_runner();
  run("look", 1, options);
  only_posted();
  EXPECT_EQ(seen, "mine-1 look 0 1");
}

TEST_P(RunnerConformance, a_failure_that_is_returned_comes_back_as_it_is) {
  Finished finished = run_function([](TaskContext&) {
    return Outcome::fail({"no_paper", "tray 2 is empty", "trace"}, false, 7s);
  });
  EXPECT_EQ(finished.outcome.kind, Outcome::Kind::failed);
  EXPECT_EQ(finished.outcome.error, (ErrorInfo{"no_paper", "tray 2 is empty", "trace"}));
  EXPECT_FALSE(finished.outcome.retryable);
  EXPECT_EQ(finished.outcome.delay, Duration(7s));
}

TEST_P(RunnerConformance, a_snooze_comes_back_as_it_is) {
  Finished finished = run_function([](TaskContext&) { return Outcome::snooze(1min, "busy"); });
  EXPECT_EQ(finished.outcome.kind, Outcome::Kind::snoozed);
  EXPECT_EQ(finished.outcome.delay, Duration(1min));
  EXPECT_EQ(finished.outcome.error.message, "busy");
}

TEST_P(RunnerConformance, an_error_says_itself_whether_another_try_helps) {
  struct Case {
    Error error;
    bool retryable;
  };
  const std::vector<Case> cases = {{Error(Errc::unavailable, "away"), true},
                                   {Error(Errc::invalid, "wrong"), false},
                                   {Error(Errc::invalid, "odd", true), true},
                                   {Error(Errc::unavailable, "gone for good", false), false}};
  std::atomic<size_t> next{0};
  registry_.add("throws", std::function<Outcome(TaskContext&)>(
                              [&](TaskContext&) -> Outcome { throw cases[next++].error; }));
  start_runner(1);
  run("throws", cases.size());
  auto all = posted(cases.size());
  ASSERT_EQ(all.size(), cases.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(all[i].outcome.kind, Outcome::Kind::failed);
    EXPECT_EQ(all[i].outcome.error.kind, error_kind::kActorError);
    EXPECT_EQ(all[i].outcome.error.message, cases[i].error.message());
    EXPECT_EQ(all[i].outcome.retryable, cases[i].retryable) << cases[i].error.what();
  }
}

TEST_P(RunnerConformance, an_exception_is_a_failure_with_its_words) {
  Finished finished =
      run_function([](TaskContext&) -> Outcome { throw std::out_of_range("index 9"); });
  EXPECT_EQ(finished.outcome.kind, Outcome::Kind::failed);
  EXPECT_EQ(finished.outcome.error.kind, error_kind::kActorError);
  EXPECT_EQ(finished.outcome.error.message, "index 9");
  EXPECT_TRUE(finished.outcome.retryable);
}

TEST_P(RunnerConformance, what_is_not_an_exception_is_a_failure_too) {
  Finished finished = run_function([](TaskContext&) -> Outcome { throw 42; });
  EXPECT_EQ(finished.outcome.kind, Outcome::Kind::failed);
  EXPECT_EQ(finished.outcome.error.kind, error_kind::kActorError);
  EXPECT_TRUE(finished.outcome.retryable);
}

TEST_P(RunnerConformance, a_slot_goes_on_after_an_exception) {
  std::atomic<int> runs{0};
  registry_.add("sometimes", std::function<Outcome(TaskContext&)>([&](TaskContext&) -> Outcome {
                  if (runs++ == 0) throw std::runtime_error("once");
                  return Outcome::complete("1");
                }));
  start_runner(1);
  run("sometimes", 2);
  auto all = posted(2);
  EXPECT_EQ(all[0].outcome.kind, Outcome::Kind::failed);
  EXPECT_EQ(all[1].outcome.kind, Outcome::Kind::completed);
}

TEST_P(RunnerConformance, another_step_than_the_journal_has_fails_for_good) {
  Finished finished =
      run_function([](TaskContext&) -> Outcome { throw JournalMismatch("step 1: other"); });
  EXPECT_EQ(finished.outcome.error.kind, error_kind::kJournalMismatch);
  EXPECT_EQ(finished.outcome.error.message, "step 1: other");
  EXPECT_FALSE(finished.outcome.retryable);
}

TEST_P(RunnerConformance, a_type_without_an_actor_is_left_to_other_workers) {
  start_runner();
  run("stranger");
  Finished finished = only_posted();
  EXPECT_EQ(finished.outcome.kind, Outcome::Kind::handed_back);
  EXPECT_EQ(finished.started_at, TimePoint{});
  EXPECT_THAT(finished.outcome.error.message, HasSubstr("stranger"));
}

TEST_P(RunnerConformance, a_result_that_is_not_json_fails_for_good) {
  Finished finished = run_function([](TaskContext&) { return Outcome::complete("{oops"); });
  EXPECT_EQ(finished.outcome.kind, Outcome::Kind::failed);
  EXPECT_EQ(finished.outcome.error.kind, error_kind::kBadOutput);
  EXPECT_FALSE(finished.outcome.retryable);
}

TEST_P(RunnerConformance, a_result_may_be_as_large_as_the_limit_and_no_larger) {
  auto text = [](size_t bytes) { return '"' + std::string(bytes - 2, 'x') + '"'; };
  std::atomic<size_t> size{limits::kPayloadBytes};
  registry_.add("large", std::function<std::string(TaskContext&)>(
                             [&](TaskContext&) { return text(size++); }));
  start_runner(1);
  run("large", 2);
  auto all = posted(2);
  EXPECT_EQ(all[0].outcome.kind, Outcome::Kind::completed);
  EXPECT_EQ(all[1].outcome.kind, Outcome::Kind::failed);
  EXPECT_EQ(all[1].outcome.error.kind, error_kind::kResultTooLarge);
  EXPECT_FALSE(all[1].outcome.retryable);
}

TEST_P(RunnerConformance, the_crash_page_names_the_attempt_while_its_actor_runs) {
  start_runner(2);
  Lease lease = run("gate")[0];
  ASSERT_TRUE(gate_.wait_entered(1));
  ASSERT_TRUE(eventually([&] { return page_.entered().size() == 1; }));
  auto cells = page_.entered();
  EXPECT_EQ(cells[0].key, lease.key.value);
  EXPECT_EQ(cells[0].attempt, lease.attempt);
  EXPECT_EQ(cells[0].started_at, clock_.now());
  gate_.open();
  only_posted();
  EXPECT_TRUE(page_.entered().empty());
}

}  // namespace
}  // namespace opscore
