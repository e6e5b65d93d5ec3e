#include "opscore/worker/child_runner.h"

#include <gmock/gmock.h>

#include "opscore/base/json.h"
#include "opscore/model/error_kind.h"
#include "opscore/store/memory/memory_store.h"
#include "opscore/worker/conformance/runner_conformance.h"
#include "opscore/worker/conformance/thread_children.h"
#include "opscore/worker/split_runner.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

// The same actors, as somebody sees them whose code is elsewhere.
std::shared_ptr<Registry> hosted(const Registry& actors) {
  auto registry = std::make_shared<Registry>();
  for (const RegisteredActor* actor : actors.all())
    registry->add_hosted(actor->entry, actor->stop_grace);
  return registry;
}

// Answers the key that it was given, and takes no bodies but objects.
std::string submit(const std::string& body, const std::string& key) {
  if (body == "0") throw Error(Errc::unavailable, "not now");
  if (body[0] != '{') throw Error(Errc::invalid, "not this");
  return quote_json(key);
}

// A runner with its children, which end after it.
class Hosting final : public Runner {
 public:
  Hosting(const RunnerParts& parts, size_t children)
      : children_(parts.actors, parts.clock, children, parts.slots),
        runner_(hosted(*parts.actors), children_, parts.store, parts.clock, parts.log,
                {.page = &parts.page, .on_room = parts.on_room, .submit = submit}, parts.post) {
    runner_.start_threads();
    EXPECT_TRUE(eventually([&] { return runner_.free() == parts.slots; }));
  }
  ~Hosting() override { runner_.stop_threads(); }

  void start(std::vector<ClaimedTask> tasks) override { runner_.start(std::move(tasks)); }
  void stop(const Lease& lease, StopReason reason) override { runner_.stop(lease, reason); }
  void stop_all(StopReason reason) override { runner_.stop_all(reason); }
  size_t hand_back_unstarted(Duration age) override { return runner_.hand_back_unstarted(age); }
  std::shared_ptr<const std::vector<std::string>> types() const override { return runner_.types(); }
  std::vector<ClaimRequest::Room> room() const override { return runner_.room(); }
  void set_concurrency(std::map<std::string, int64_t> chosen) override {
    runner_.set_concurrency(std::move(chosen));
  }
  bool holds(const Lease& lease) const override { return runner_.holds(lease); }
  size_t free() const override { return runner_.free(); }
  size_t appetite(Duration ahead) const override { return runner_.appetite(ahead); }
  bool idle() const override { return runner_.idle(); }
  void fill(SessionReport& report) const override { runner_.fill(report); }

  ThreadChildren& children() { return children_; }
  ChildRunner& runner() { return runner_; }

 private:
  ThreadChildren children_;
  ChildRunner runner_;
};

std::unique_ptr<Runner> with_one_child(RunnerParts parts) {
  return std::make_unique<Hosting>(parts, 1);
}
std::unique_ptr<Runner> with_two_children(RunnerParts parts) {
  return std::make_unique<Hosting>(parts, 2);
}

// What only a runner of children has.
class ChildRunnerTest : public RunnerConformance {
 protected:
  Hosting& hosting() { return static_cast<Hosting&>(*runner_); }
  std::map<TaskKey, Finished> by_key(size_t count) {
    std::map<TaskKey, Finished> found;
    for (Finished& one : posted(count)) found[one.task.key] = std::move(one);
    return found;
  }
};

TEST_P(ChildRunnerTest, a_crash_is_blamed_on_whose_thread_it_was) {
  start_runner(2);
  auto leases = run("gate", 2);
  ASSERT_TRUE(gate_.wait_entered(2));
  hosting().children().end(1, ChildEnd::Why::crashed, 2);
  auto ends = by_key(2);
  const Outcome& guilty = ends[leases[1].key].outcome;
  EXPECT_EQ(guilty.kind, Outcome::Kind::crashed);
  EXPECT_EQ(guilty.error, (ErrorInfo{error_kind::kWorkerCrashed, "child died", "its stack"}));
  EXPECT_EQ(ends[leases[0].key].outcome.kind, Outcome::Kind::lost);
  EXPECT_EQ(ends[leases[0].key].started_at, clock_.now());
}

TEST_P(ChildRunnerTest, when_nobody_knows_whose_crash_it_was_all_that_ran_are_suspect) {
  start_runner(2);
  run("gate", 2);
  ASSERT_TRUE(gate_.wait_entered(2));
  hosting().children().end(1, ChildEnd::Why::crashed, {});
  for (const Finished& one : posted(2)) EXPECT_EQ(one.outcome.kind, Outcome::Kind::crashed);
}

TEST_P(ChildRunnerTest, what_a_dead_child_had_not_entered_is_handed_back) {
  start_runner(1);
  run("noop", 50);  // so that more is sent ahead than fits its slot
  posted(50);
  ASSERT_TRUE(eventually([&] { return runner_->idle(); }));
  Lease entered = run("gate")[0];
  ASSERT_TRUE(gate_.wait_entered(1));
  Lease behind = run("noop")[0];
  hosting().children().end(51, ChildEnd::Why::gone, {});
  auto ends = by_key(52);
  EXPECT_EQ(ends[entered.key].outcome.kind, Outcome::Kind::lost);
  EXPECT_TRUE(ends.contains(behind.key));
  EXPECT_NE(ends[behind.key].outcome.kind, Outcome::Kind::lost);
}

TEST_P(ChildRunnerTest, after_a_death_the_next_child_takes_what_waits) {
  start_runner(1);
  run("gate");
  ASSERT_TRUE(gate_.wait_entered(1));
  Lease waiting = run("noop")[0];
  hosting().children().end(1, ChildEnd::Why::gone, {});
  EXPECT_EQ(by_key(2)[waiting.key].outcome.kind, Outcome::Kind::completed);
}

TEST_P(ChildRunnerTest, a_time_limit_costs_the_child_and_the_others_are_handed_back) {
  start_runner(2);
  TaskOptions options, patient;
  options.timeout = 1s;
  patient.timeout = 24h * 365 * 20;  // the clock runs fast here
  Lease heedless = run("heedless", 1, options)[0];
  Lease neighbour = run("gate", 1, patient)[0];
  ASSERT_TRUE(gate_.wait_entered(2));
  ASSERT_TRUE(eventually([&] {
    clock_.advance(1s);
    return !runner_->holds(heedless);
  }));
  auto ends = by_key(2);
  EXPECT_EQ(ends[heedless.key].outcome.kind, Outcome::Kind::timed_out);
  EXPECT_THAT(ends[heedless.key].outcome.error.detail, HasSubstr("its process was killed"));
  EXPECT_EQ(ends[neighbour.key].outcome.kind, Outcome::Kind::handed_back);
}

TEST_P(ChildRunnerTest, a_child_that_retires_ends_what_it_has_and_gets_no_more) {
  start_runner(1);
  run("gate");
  ASSERT_TRUE(gate_.wait_entered(1));
  hosting().children().retire_all();
  ASSERT_TRUE(eventually([&] { return runner_->free() == 0; }));
  gate_.open();
  EXPECT_EQ(only_posted().outcome.kind, Outcome::Kind::completed);
  EXPECT_TRUE(eventually([&] { return runner_->free() == 1; }));  // its successor
  run("noop");
  EXPECT_EQ(posted(2)[1].outcome.kind, Outcome::Kind::completed);
}

TEST_P(ChildRunnerTest, steps_are_journaled_and_replayed) {
  std::atomic<int> done{0};
  registry_.add("steps", std::function<std::string(TaskContext&)>([&](TaskContext& task) {
                  return task.step("python", "add", "[1]", [&] {
                    ++done;
                    return std::string("42");
                  });
                }));
  start_runner(1);
  auto task = claimed("steps")[0];
  runner_->start({task});
  EXPECT_EQ(only_posted().outcome.result, "42");
  runner_->start({task});
  EXPECT_EQ(posted(2)[1].outcome.result, "42");
  EXPECT_EQ(done, 1);
}

TEST_P(ChildRunnerTest, a_task_that_an_actor_submits_is_a_step) {
  auto never = [] { return std::string("the child was to do it"); };
  registry_.add("parent", std::function<std::string(TaskContext&)>([&](TaskContext& task) {
                  EXPECT_THROW(task.step(kSubmitStep, "x", "0", never), Error);
                  EXPECT_THROW(task.step(kSubmitStep, "x", "1", never), std::runtime_error);
                  task.step("python", "add", "[1]", [] { return std::string("42"); });
                  return task.step(kSubmitStep, "x", "{}", never);
                }));
  start_runner(1);
  auto task = claimed("parent")[0];
  runner_->start({task});
  const std::string key = quote_json(store_->id_of(task) + "#2");
  EXPECT_EQ(only_posted().outcome.result, key);
  EXPECT_EQ(store_->reader().steps(task.key).size(), 2u);
}

TEST_P(ChildRunnerTest, the_last_progress_is_taken_once) {
  registry_.add("report", std::function<std::string(TaskContext&)>([&](TaskContext& task) {
                  task.progress("1");
                  task.progress("2");
                  gate_.pass(task.stop());
                  return "null";
                }));
  start_runner(1);
  Lease lease = run("report")[0];
  std::vector<ProgressUpdate> seen;
  ASSERT_TRUE(eventually([&] {
    for (ProgressUpdate& update : hosting().runner().take_progress())
      seen.push_back(std::move(update));
    return !seen.empty() && seen.back().progress == "2";
  }));
  EXPECT_EQ(seen.back().lease, lease);
  EXPECT_TRUE(hosting().runner().take_progress().empty());
}

TEST_P(ChildRunnerTest, what_is_started_after_a_drain_began_is_handed_back) {
  start_runner(1);
  hosting().runner().drain();
  run("noop");
  EXPECT_EQ(only_posted().outcome.kind, Outcome::Kind::handed_back);
}

INSTANTIATE_TEST_SUITE_P(child, ChildRunnerTest, testing::Values(RunnerFactory(with_one_child)));

}  // namespace
}  // namespace opscore

INSTANTIATE_RUNNER_CONFORMANCE(one_child, opscore::with_one_child);
INSTANTIATE_RUNNER_CONFORMANCE(two_children, opscore::with_two_children);
