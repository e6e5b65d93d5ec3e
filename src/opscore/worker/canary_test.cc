// Canaries of whole workers in this process.

#include "opscore/worker/canary.h"

#include <gmock/gmock.h>

#include "opscore/broker/memory/memory_broker.h"
#include "opscore/model/canary.h"
#include "opscore/store/hidden_canaries.h"
#include "opscore/store/intercepted_store.h"
#include "opscore/store/memory/memory_store.h"
#include "opscore/worker/conformance/runner_conformance.h"
#include "opscore/worker/thread_runner.h"
#include "opscore/worker/worker.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct CanaryTest : testing::Test {
  CanaryTest() {
    actors->add("gate", std::function<Outcome(TaskContext&)>([this](TaskContext& task) {
                  gate.pass(task.stop());
                  return Outcome::complete("1");
                }));
  }
  ~CanaryTest() override { gate.open(); }

  // Fails the named operation while that is set.
  std::unique_ptr<Store> open() {
    return inject_faults(open_memory_store(clock, random), random,
                         {.before = 1, .enabled = [this](std::string_view operation) {
                            MutexLock lock(mutex);
                            return operation == failing;
                          }});
  }
  void fail(const std::string& operation) {
    MutexLock lock(mutex);
    failing = operation;
  }
  WorkerOptions options() {
    WorkerOptions options;
    options.slots = 2;
    options.session_name = "test:1";
    options.session_context = "{}";
    options.drain_grace = 0ms;
    options.broker = broker.get();
    return options;
  }
  void start(WorkerOptions options) {
    worker.emplace(actors, *store, clock, random, *log, metrics, std::move(options));
    worker->start();
  }
  SessionReport report() {
    auto sessions = store->fleet().sessions(24h);
    return sessions.empty() ? SessionReport() : sessions[0].report;
  }
  TaskKey submit(const std::string& type, const std::string& queue, const std::string& input) {
    InsertItem item;
    item.spec.type = type;
    item.spec.queue = queue;
    item.spec.input = input;
    return store->tasks().insert({item}, InsertMode::all_or_nothing).at(0).key;
  }
  std::vector<Task> tasks() { return store->reader().list({}, std::nullopt, 100).tasks; }

  SystemClock clock;
  SystemRandom random;
  std::unique_ptr<Log> log = silent_log();
  Metrics metrics;
  std::shared_ptr<Registry> actors = std::make_shared<Registry>();
  Gate gate;
  Mutex mutex;
  std::string failing OPSCORE_GUARDED_BY(mutex);
  std::shared_ptr<MemoryBrokerHub> hub = open_memory_broker();
  std::unique_ptr<Broker> broker;
  std::unique_ptr<Store> store = open();
  std::optional<Worker> worker;
};

TEST_F(CanaryTest, a_session_consumes_once_its_canary_has_gone_the_whole_way) {
  start(options());
  ASSERT_TRUE(worker->wait_consuming(Deadline::after(kTestPatience)))
      << worker->why_not_consuming();
  EXPECT_EQ(worker->why_not_consuming(), "");
  EXPECT_TRUE(eventually([&] { return report().state == "consuming"; }));
  EXPECT_EQ(report().canary.state, "arrived");
  EXPECT_THAT(report().canary.words, HasSubstr("store, intake, claim, slot and finish took"));
}

TEST_F(CanaryTest, nothing_of_it_is_left_or_counted) {
  start(options());
  ASSERT_TRUE(worker->wait_consuming(Deadline::after(kTestPatience)))
      << worker->why_not_consuming();
  EXPECT_THAT(tasks(), IsEmpty());
  EXPECT_TRUE(worker->stop("done"));
  EXPECT_THAT(metrics.expose(), Not(HasSubstr("opscore.canary")));
}

TEST_F(CanaryTest, its_hint_goes_through_the_broker) {
  broker = hub->connect();
  start(options());
  ASSERT_TRUE(worker->wait_consuming(Deadline::after(kTestPatience)))
      << worker->why_not_consuming();
  EXPECT_THAT(report().canary.words, HasSubstr("store, broker, intake, claim"));
}

TEST_F(CanaryTest, without_the_broker_it_is_connecting_and_says_why) {
  broker = hub->connect();
  hub->set_away(true);
  start(options());
  EXPECT_TRUE(eventually([&] { return report().canary.state == "lost"; }));
  EXPECT_EQ(worker->state(), "connecting");
  EXPECT_EQ(worker->why_not_consuming(), "its canary: the broker is away");
  // What can be done is done all the same.
  const TaskKey key = submit("gate", "default", "1");
  EXPECT_TRUE(gate.wait_entered(1));
  gate.open();
  EXPECT_TRUE(eventually([&] { return store->reader().find(key)->state() == State::completed; }));
  hub->set_away(false);
  EXPECT_TRUE(worker->wait_consuming(Deadline::after(kTestPatience)));
}

TEST_F(CanaryTest, a_broker_that_refuses_its_queue_is_named) {
  broker = hub->connect();
  hub->set_refused("opscore.canary.1", "user 'u' may not use it");
  start(options());
  EXPECT_TRUE(eventually([&] { return report().canary.state == "lost"; }));
  EXPECT_EQ(worker->why_not_consuming(), "its canary: user 'u' may not use it");
  EXPECT_THAT(tasks(), IsEmpty());
}

TEST_F(CanaryTest, another_connection_to_the_broker_gets_another_one) {
  broker = hub->connect();
  start(options());
  ASSERT_TRUE(worker->wait_consuming(Deadline::after(kTestPatience)))
      << worker->why_not_consuming();
  hub->set_refused("opscore.canary.1", "not any more");
  hub->set_away(true);
  EXPECT_TRUE(eventually([&] { return report().canary.words == "the broker is away"; }));
  hub->set_away(false);
  EXPECT_TRUE(eventually([&] { return report().canary.words == "not any more"; }));
  EXPECT_EQ(worker->state(), "consuming") << "it has shown that it works, and polls meanwhile";
  hub->set_refused("opscore.canary.1", "");
  EXPECT_TRUE(eventually([&] { return report().canary.state == "arrived"; }));
}

TEST_F(CanaryTest, the_hint_of_one_that_was_given_up_is_answered) {
  broker = hub->connect();
  Hints hints(*broker, clock, *log, metrics);
  ThreadRunner runner(actors, *store, clock, *log, {.slots = 2}, [](std::vector<Finished>) {});
  Canary canary(*store, runner, clock, random, *log, &hints);
  const SessionId session{1};
  const std::string queue = canary_queue(session);
  ASSERT_TRUE(hints.listen({"default"}));
  fail("claim");
  canary.step(session);
  hints.receive(Deadline::after(kTestPatience));
  ASSERT_TRUE(hints.holds(queue));
  canary.step(session);
  ASSERT_EQ(canary.report().state, "lost");
  canary.step(session);
  EXPECT_FALSE(hints.holds(queue));
}

TEST_F(CanaryTest, full_slots_are_no_failure) {
  submit("gate", "default", "1");
  submit("gate", "default", "2");
  start(options());  // what waits is taken before the canary is sent
  ASSERT_TRUE(gate.wait_entered(2));
  ASSERT_TRUE(worker->wait_consuming(Deadline::after(kTestPatience)))
      << worker->why_not_consuming();
  EXPECT_TRUE(eventually([&] { return report().canary.state == "busy"; }));
  EXPECT_EQ(worker->why_not_consuming(), "");
  gate.open();
  EXPECT_TRUE(eventually([&] { return report().canary.state == "arrived"; }));
}

TEST_F(CanaryTest, a_store_that_does_not_take_it_is_the_reason) {
  fail("insert");
  start(options());
  EXPECT_TRUE(eventually([&] { return report().canary.state == "lost"; }));
  EXPECT_EQ(worker->state(), "connecting");
  fail("");
  EXPECT_TRUE(worker->wait_consuming(Deadline::after(kTestPatience)));
}

TEST_F(CanaryTest, anothers_is_left_alone) {
  const TaskKey others = submit(std::string(kCanaryType), "opscore.canary.1", "65");
  start(options());
  ASSERT_TRUE(worker->wait_consuming(Deadline::after(kTestPatience)))
      << worker->why_not_consuming();
  const Task left = store->reader().find(others).value();
  EXPECT_FALSE(is_terminal(left.state()));
  EXPECT_EQ(left.live.charged, 0);
}

TEST_F(CanaryTest, what_else_has_to_be_ready_is_waited_for) {
  std::atomic<bool> ready{false};
  WorkerOptions waiting = options();
  waiting.unready = [&] { return ready ? std::string() : std::string("it adopts nothing"); };
  start(waiting);
  EXPECT_TRUE(eventually([&] { return report().canary.state == "arrived"; }));
  EXPECT_EQ(worker->state(), "connecting");
  EXPECT_EQ(worker->why_not_consuming(), "it adopts nothing");
  ready = true;
  EXPECT_TRUE(worker->wait_consuming(Deadline::after(kTestPatience)));
  EXPECT_TRUE(worker->stop("done"));
}

TEST(HiddenCanaries, AreNowhereToBeSeen) {
  SystemClock clock;
  SystemRandom random;
  auto store = hide_canaries(open_memory_store(clock, random));
  InsertItem canary, task;
  canary.spec.type = kCanaryType;
  canary.spec.queue = canary_queue(SessionId{65});
  task.spec.type = "t";
  const uint64_t before = store->changes().position();
  auto inserted = store->tasks().insert({canary, task}, InsertMode::all_or_nothing);
  EXPECT_FALSE(store->reader().find(inserted[0].key));
  EXPECT_TRUE(store->reader().find(inserted[1].key));
  EXPECT_EQ(store->reader().list({}, std::nullopt, 10).tasks.size(), 1u);
  ASSERT_EQ(store->reader().queues().size(), 1u);
  EXPECT_EQ(store->reader().queues()[0].name, "default");
  auto news = store->changes().wait(before, Changes::Interest::work, Deadline::at({}));
  EXPECT_EQ(news.queues, std::vector<std::string>{"default"});
}

}  // namespace
}  // namespace opscore
