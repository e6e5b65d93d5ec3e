// A whole worker in this process, over a memory store and over a file.

#include "opscore/worker/worker.h"

#include <gmock/gmock.h>

#include <set>

#include "opscore/store/memory/memory_store.h"
#include "opscore/store/sqlite/sqlite_store.h"
#include "opscore/store/sqlite/test_folder.h"
#include "opscore/worker/conformance/runner_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::SizeIs;

enum class Kind { memory, sqlite };

struct WorkerTest : testing::TestWithParam<Kind> {
  WorkerTest() {
    if (GetParam() == Kind::memory)
      store = open_memory_store(clock, random);
    else
      store = open_sqlite_store(clock, random, *log, {.path = folder.path("opscore.db")});
    registry.add("count", std::function<std::string(TaskContext&)>([this](TaskContext& task) {
                   ++runs;
                   return task.input();
                 }));
    registry.add("gate", std::function<Outcome(TaskContext&)>([this](TaskContext& task) {
                   task.progress("{\"percent\": 40}");
                   if (gate.pass(task.stop())) return Outcome::complete("1");
                   return Outcome::fail({"gave_up", "was asked to stop", {}});
                 }));
    registry.add("steps", std::function<Outcome(TaskContext&)>([this](TaskContext& task) {
                   auto action = [this] { return std::to_string(++actions); };
                   std::string answer = task.step("tool", "charge", "{\"cents\": 5}", action);
                   if (task.attempt() == 1)
                     return Outcome::fail({"boom", "after the step", {}}, true, Duration(1));
                   return Outcome::complete(answer);
                 }));
  }
  ~WorkerTest() override { gate.open(); }

  void start(Duration drain_grace = 30s) {
    WorkerOptions options;
    options.slots = 4;
    options.session_name = "test:1";
    options.session_context = "{}";
    options.drain_grace = drain_grace;
    worker = std::make_unique<Worker>(actors, *store, clock, random, *log, metrics, options);
    worker->start();
  }
  std::vector<TaskKey> submit(const std::string& type, size_t count = 1) {
    std::vector<InsertItem> items(count);
    for (size_t i = 0; i < count; ++i) {
      items[i].spec.type = type;
      items[i].spec.input = std::to_string(i);
    }
    std::vector<TaskKey> keys;
    for (const auto& result : store->tasks().insert(items, InsertMode::all_or_nothing))
      keys.push_back(result.key);
    return keys;
  }
  Task task(TaskKey key) { return store->reader().find(key).value(); }
  // Waits on the change feed until all have ended; fails the test when that takes too long.
  void wait_ended(const std::vector<TaskKey>& keys) {
    std::set<TaskKey> open(keys.begin(), keys.end());
    Deadline deadline = Deadline::after(kTestPatience);
    uint64_t position = store->changes().position();
    std::vector<TaskKey> news = keys;
    while (true) {
      for (TaskKey key : news)
        if (open.contains(key) && is_terminal(task(key).state())) open.erase(key);
      if (open.empty()) return;
      ASSERT_FALSE(deadline.passed()) << open.size() << " have not ended";
      ChangeBatch batch = store->changes().wait(position, Changes::Interest::tasks, deadline);
      position = batch.position;
      news = batch.reset ? keys : batch.tasks;
    }
  }

  sqlite::TestFolder folder;
  SystemClock clock;
  SystemRandom random;
  std::unique_ptr<Log> log = silent_log();
  Metrics metrics;
  std::shared_ptr<Registry> actors = std::make_shared<Registry>();
  Registry& registry = *actors;
  Gate gate;
  std::atomic<int> runs{0};
  std::atomic<int> actions{0};
  std::unique_ptr<Store> store;
  std::unique_ptr<Worker> worker;
};

TEST_P(WorkerTest, what_runs_ends_with_the_actor_it_began_with) {
  start();
  auto before = submit("gate", 1);
  ASSERT_TRUE(gate.wait_entered(1));
  auto replacement = std::make_shared<Registry>();
  replacement->add("gate", std::function<std::string(TaskContext&)>(
                               [](TaskContext&) { return "\"replaced\""; }));
  replacement->add(
      "fresh", std::function<std::string(TaskContext&)>([](TaskContext&) { return "\"fresh\""; }));
  worker->announce(*replacement);
  worker->replace(replacement);
  std::vector<std::string> types = store->fleet().sessions(0s).at(0).report.types;
  EXPECT_EQ(types, (std::vector<std::string>{"fresh", "gate"})) << "it is on record at once";
  auto after = submit("gate", 1), fresh = submit("fresh", 1);
  wait_ended(after);
  wait_ended(fresh);
  EXPECT_EQ(task(after[0]).result, "\"replaced\"");
  EXPECT_EQ(task(fresh[0]).result, "\"fresh\"");
  EXPECT_EQ(task(before[0]).state(), State::running);
  gate.open();
  wait_ended(before);
  EXPECT_EQ(task(before[0]).state(), State::completed);
  EXPECT_NE(task(before[0]).result, "\"replaced\"");
  auto gone = submit("count", 1);
  EXPECT_EQ(task(gone[0]).state(), State::pending);
  EXPECT_TRUE(worker->stop("done"));
}

TEST_P(WorkerTest, a_thousand_tasks_run_once_each) {
  start();
  auto keys = submit("count", 1000);
  wait_ended(keys);
  EXPECT_EQ(runs, 1000);
  for (size_t i = 0; i < keys.size(); ++i) {
    Task done = task(keys[i]);
    ASSERT_EQ(done.state(), State::completed);
    ASSERT_EQ(done.result, std::to_string(i));
    ASSERT_EQ(done.live.attempt, 1);
  }
  EXPECT_TRUE(worker->stop("done"));
}

TEST_P(WorkerTest, it_announces_its_actors_before_it_takes_work) {
  start();
  std::vector<std::string> types;
  for (const CatalogueEntry& entry : store->fleet().catalogue()) types.push_back(entry.type);
  EXPECT_THAT(types, testing::UnorderedElementsAre("count", "gate", "steps"));
}

TEST_P(WorkerTest, a_retry_replays_the_steps_that_were_journaled) {
  start();
  auto keys = submit("steps");
  wait_ended(keys);
  Task done = task(keys[0]);
  EXPECT_EQ(done.state(), State::completed);
  EXPECT_EQ(done.live.attempt, 2);
  EXPECT_EQ(done.result, "1");
  EXPECT_EQ(actions, 1);
  EXPECT_THAT(store->reader().steps(keys[0]), SizeIs(1));
}

TEST_P(WorkerTest, progress_is_recorded) {
  start();
  auto keys = submit("gate");
  ASSERT_TRUE(gate.wait_entered(1));
  EXPECT_TRUE(eventually([&] { return task(keys[0]).progress == "{\"percent\": 40}"; }));
}

TEST_P(WorkerTest, a_stop_waits_for_what_runs) {
  start();
  auto keys = submit("gate");
  ASSERT_TRUE(gate.wait_entered(1));
  std::jthread opener([this] {
    EXPECT_TRUE(eventually([&] { return worker->state() == "draining"; }));
    gate.open();
  });
  EXPECT_TRUE(worker->stop("told to stop"));
  EXPECT_EQ(task(keys[0]).state(), State::completed);
  auto sessions = store->fleet().sessions(24h);
  ASSERT_THAT(sessions, SizeIs(1));
  EXPECT_TRUE(sessions[0].ended_at);
  EXPECT_EQ(sessions[0].last_words, "told to stop");
}

TEST_P(WorkerTest, what_outlives_the_grace_is_handed_back_uncharged) {
  start(0ms);
  auto keys = submit("gate", 6);  // four run, two wait for a slot
  ASSERT_TRUE(gate.wait_entered(4));
  EXPECT_TRUE(worker->stop("told to stop"));
  for (TaskKey key : keys) {
    EXPECT_EQ(task(key).state(), State::pending);
    EXPECT_EQ(task(key).live.charged, 0);
  }
}

TEST_P(WorkerTest, a_second_worker_takes_over_what_the_first_handed_back) {
  start(0ms);
  auto keys = submit("gate", 2);
  ASSERT_TRUE(gate.wait_entered(2));
  EXPECT_TRUE(worker->stop("told to stop"));
  gate.open();
  start();
  wait_ended(keys);
  for (TaskKey key : keys) EXPECT_EQ(task(key).state(), State::completed);
}

INSTANTIATE_TEST_SUITE_P(memory, WorkerTest, testing::Values(Kind::memory));
INSTANTIATE_TEST_SUITE_P(sqlite, WorkerTest, testing::Values(Kind::sqlite));

}  // namespace
}  // namespace opscore
