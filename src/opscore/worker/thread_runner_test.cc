#include "opscore/worker/thread_runner.h"

#include "opscore/store/memory/memory_store.h"
#include "opscore/worker/conformance/runner_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;

ThreadRunnerOptions options_of(const RunnerParts& parts) {
  ThreadRunnerOptions options;
  options.slots = parts.slots;
  options.page = &parts.page;
  options.on_room = parts.on_room;
  return options;
}

std::unique_ptr<Runner> make_thread_runner(RunnerParts parts) {
  auto runner = std::make_unique<ThreadRunner>(parts.actors, parts.store, parts.clock, parts.log,
                                               options_of(parts), parts.post);
  runner->start_threads();
  return runner;
}

// What only a runner of threads has.
struct ThreadRunnerTest : testing::Test {
  ThreadRunnerTest() {
    registry.add("report", std::function<std::string(TaskContext&)>([this](TaskContext& task) {
                   task.progress("1");
                   task.progress("{\"done\": 2}");
                   gate.pass(task.stop());
                   return "null";
                 }));
  }
  ~ThreadRunnerTest() override { gate.open(); }

  ClaimedTask task(int64_t key, bool suspect = false) {
    ClaimedTask task;
    task.key = TaskKey{key};
    task.type = "report";
    task.live.state = State::running;
    task.live.attempt = 1;
    task.live.suspect = suspect;
    return task;
  }

  FakeClock clock;
  SeededRandom random{3};
  std::unique_ptr<Log> log = silent_log();
  std::unique_ptr<Store> store = open_memory_store(clock, random);
  std::shared_ptr<Registry> actors = std::make_shared<Registry>();
  Registry& registry = *actors;
  Gate gate;
  std::atomic<size_t> posted{0};
  ThreadRunner runner{
      actors, *store,       clock,
      *log,   {.slots = 2}, [this](std::vector<Finished> finished) { posted += finished.size(); }};
};

TEST_F(ThreadRunnerTest, the_last_progress_is_taken_once) {
  std::atomic<int> wakes{0};
  runner.on_progress([&] { ++wakes; });
  runner.start_threads();
  runner.start({task(1)});
  ASSERT_TRUE(gate.wait_entered(1));
  auto updates = runner.take_progress();
  ASSERT_EQ(updates.size(), 1u);
  EXPECT_EQ(updates[0].lease, (Lease{TaskKey{1}, 1}));
  EXPECT_EQ(updates[0].progress, "{\"done\": 2}");
  EXPECT_EQ(wakes, 2);
  EXPECT_TRUE(runner.take_progress().empty());
}

TEST_F(ThreadRunnerTest, suspects_count_from_start_to_end) {
  runner.start_threads();
  EXPECT_EQ(runner.suspects(), 0u);
  runner.start({task(1, true), task(2)});
  EXPECT_EQ(runner.suspects(), 1u);
  gate.open();
  EXPECT_TRUE(eventually([&] { return runner.suspects() == 0; }));
}

TEST_F(ThreadRunnerTest, stopping_says_when_a_thread_is_still_inside_an_actor) {
  runner.start_threads();
  runner.start({task(1)});
  ASSERT_TRUE(gate.wait_entered(1));
  EXPECT_FALSE(runner.stop_threads(Deadline::at({})));
  gate.open();
  EXPECT_TRUE(runner.stop_threads(Deadline::after(kTestPatience)));
  EXPECT_EQ(posted, 1u);
}

TEST_F(ThreadRunnerTest, an_actor_that_does_not_stop_holds_its_slot_until_it_returns) {
  registry.add("heedless", std::function<std::string(TaskContext&)>([this](TaskContext&) {
                 gate.pass_heedless();
                 return "null";
               }));
  ClaimedTask heedless = task(1);
  heedless.type = "heedless";
  heedless.options.timeout = 1s;
  runner.start_threads();
  runner.start({heedless});
  ASSERT_TRUE(gate.wait_entered(1));
  ASSERT_TRUE(eventually([&] {
    clock.advance(1s);
    return runner.abandoned() == 1;
  }));
  EXPECT_EQ(runner.free(), 1u);
  EXPECT_TRUE(runner.idle());
  gate.open();
  EXPECT_TRUE(eventually([&] { return runner.abandoned() == 0 && runner.free() == 2; }));
}

TEST_F(ThreadRunnerTest, what_is_started_after_a_drain_began_is_handed_back) {
  runner.start_threads();
  runner.drain();
  runner.start({task(1, true), task(2)});
  EXPECT_EQ(posted, 2u);
  EXPECT_TRUE(runner.idle());
  EXPECT_EQ(runner.suspects(), 0u);
}

TEST_F(ThreadRunnerTest, starting_and_stopping_may_come_in_any_order) {
  EXPECT_TRUE(runner.stop_threads(Deadline::never()));
  EXPECT_TRUE(runner.stop_threads(Deadline::never()));
}

}  // namespace

}  // namespace opscore

INSTANTIATE_RUNNER_CONFORMANCE(thread, opscore::make_thread_runner);
