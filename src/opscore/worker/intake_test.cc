#include "opscore/worker/intake.h"

#include <gmock/gmock.h>

#include "opscore/broker/memory/memory_broker.h"
#include "opscore/model/decide.h"
#include "opscore/store/intercepted_store.h"
#include "opscore/store/memory/memory_store.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::IsEmpty;
using testing::SizeIs;

// A runner that takes what it is given and does nothing with it until the test says so.
class HoldingRunner final : public Runner {
 public:
  void start(std::vector<ClaimedTask> tasks) override {
    for (ClaimedTask& task : tasks) held.push_back(std::move(task));
  }
  void stop(const Lease& lease, StopReason reason) override { stops.emplace_back(lease, reason); }
  void stop_all(StopReason reason) override {
    for (const ClaimedTask& task : held) stop(task.lease(), reason);
    held.clear();
  }
  size_t hand_back_unstarted(Duration age) override {
    ages.push_back(age);
    return 0;
  }
  std::shared_ptr<const std::vector<std::string>> types() const override { return known; }
  std::vector<ClaimRequest::Room> room() const override { return {{{"limited"}, limited_room}}; }
  void set_concurrency(std::map<std::string, int64_t> chosen) override {
    concurrency = std::move(chosen);
  }
  bool holds(const Lease& lease) const override {
    return std::any_of(held.begin(), held.end(),
                       [&](const ClaimedTask& task) { return task.lease() == lease; });
  }
  size_t free() const override { return slots - std::min(slots, held.size()); }
  size_t appetite(Duration) const override { return free(); }
  bool idle() const override { return held.empty(); }
  void fill(SessionReport& report) const override { report.slots = static_cast<int>(slots); }

  size_t slots = 4;
  std::shared_ptr<const std::vector<std::string>> known =
      std::make_shared<std::vector<std::string>>(std::vector<std::string>{"t", "limited"});
  size_t limited_room = 4;
  std::map<std::string, int64_t> concurrency;
  std::vector<ClaimedTask> held;
  std::vector<std::pair<Lease, StopReason>> stops;
  std::vector<Duration> ages;
};

struct IntakeTest : testing::Test {
  std::unique_ptr<Store> open() {
    return inject_faults(open_memory_store(clock, random), random,
                         {.after = 1, .enabled = [this](std::string_view operation) {
                            if (operation == "claim") std::exchange(claiming, [] {})();
                            return operation == "claim" && claim_answers_lost;
                          }});
  }
  IntakeOptions options() {
    IntakeOptions options;
    options.session_name = "host:1";
    options.session_context = "{}";
    options.on_lost = [this](SessionId session) { lost.push_back(session); };
    options.on_command = [this](const std::string& command) { commands.push_back(command); };
    return options;
  }
  std::vector<TaskKey> submit(size_t count, const std::string& queue = "default",
                              const std::string& type = "t") {
    std::vector<InsertItem> items(count);
    for (InsertItem& item : items) {
      item.spec.type = type;
      item.spec.queue = queue;
    }
    std::vector<TaskKey> keys;
    for (const auto& result : store->tasks().insert(items, InsertMode::all_or_nothing))
      keys.push_back(result.key);
    return keys;
  }
  Session mine() {
    for (const Session& session : store->fleet().sessions(24h))
      if (session.id == intake.session()) return session;
    ADD_FAILURE() << "no session";
    return {};
  }
  Task task(TaskKey key) { return store->reader().find(key).value(); }

  FakeClock clock;
  SeededRandom random{13};
  std::unique_ptr<Log> log = silent_log();
  bool claim_answers_lost = false;
  std::function<void()> claiming = [] {};  // what happens just before the next claim
  std::unique_ptr<Store> store = open();
  HoldingRunner runner;
  std::vector<SessionId> lost;
  std::vector<std::string> commands;
  Intake intake{*store, runner, clock, random, *log, options()};
};

TEST_F(IntakeTest, the_first_step_opens_a_session_and_says_that_it_consumes) {
  EXPECT_EQ(intake.state(), "starting");
  intake.step();
  ASSERT_TRUE(intake.session());
  EXPECT_EQ(mine().report.state, "consuming");
  EXPECT_EQ(mine().report.types, (std::vector<std::string>{"t", "limited"}));
  EXPECT_EQ(mine().report.slots, 4);
  EXPECT_THAT(mine().report.queues, Contains("*"));
  EXPECT_EQ(mine().report.loops.count("intake"), 1u);
}

TEST_F(IntakeTest, it_claims_what_there_is_room_for) {
  auto keys = submit(6);
  EXPECT_EQ(intake.step(), Duration(0));
  EXPECT_THAT(runner.held, SizeIs(4));
  EXPECT_GT(intake.step(), Duration(0));  // nothing fits: it waits for room
  EXPECT_THAT(runner.held, SizeIs(4));
  runner.held.clear();
  intake.step();
  EXPECT_THAT(runner.held, SizeIs(2));
  EXPECT_EQ(runner.held[0].key, keys[4]);
}

TEST_F(IntakeTest, it_renews_every_two_seconds) {
  intake.step();
  uint64_t at_first = mine().renewals;
  clock.advance(limits::kRenewEvery - 1ms);
  intake.step();
  EXPECT_EQ(mine().renewals, at_first);
  clock.advance(1ms);
  intake.step();
  EXPECT_EQ(mine().renewals, at_first + 1);
  EXPECT_EQ(mine().renewed_at, clock.now());
}

TEST_F(IntakeTest, it_never_waits_past_its_next_renewal) {
  intake.step();
  clock.advance(limits::kRenewEvery - 100ms);
  Duration wait = intake.step();
  EXPECT_GT(wait, 0ms);
  EXPECT_LE(wait, 100ms);
}

TEST_F(IntakeTest, it_waits_no_longer_than_until_the_next_task_is_due) {
  InsertItem later;
  later.spec.type = "t";
  later.spec.run_at = clock.now() + 70ms;
  store->tasks().insert({later}, InsertMode::all_or_nothing);
  EXPECT_EQ(intake.step(), 70ms);
  clock.advance(70ms);
  intake.step();
  EXPECT_THAT(runner.held, SizeIs(1));
}

TEST_F(IntakeTest, a_cancel_reaches_the_runner) {
  submit(1);
  intake.step();
  Lease lease = runner.held.at(0).lease();
  auto plan = decide_cancel(task(lease.key), clock.now());
  ASSERT_EQ(store->tasks().apply({*plan})[0], Applied::applied);
  clock.advance(limits::kRenewEvery);
  intake.step();
  EXPECT_THAT(runner.stops, Contains(std::make_pair(lease, StopReason::cancel)));
}

TEST_F(IntakeTest, a_command_is_passed_on_once) {
  intake.step();
  store->fleet().command(intake.session(), "drain");
  clock.advance(limits::kRenewEvery);
  intake.step();
  clock.advance(limits::kRenewEvery);
  intake.step();
  EXPECT_EQ(commands, std::vector<std::string>{"drain"});
}

TEST_F(IntakeTest, a_lost_session_stops_everything_and_a_new_one_is_opened) {
  submit(1);
  intake.step();
  SessionId before = intake.session();
  Lease lease = runner.held.at(0).lease();
  LostSession rescued;
  rescued.session = before;
  store->tasks().rescue(rescued);
  clock.advance(limits::kRenewEvery);
  intake.step();
  EXPECT_EQ(runner.stops, (std::vector{std::make_pair(lease, StopReason::session_lost)}));
  EXPECT_EQ(lost, std::vector<SessionId>{before});
  EXPECT_FALSE(intake.session());
  intake.step();
  EXPECT_TRUE(intake.session());
  EXPECT_NE(intake.session(), before);
  ASSERT_THAT(runner.held, SizeIs(1));
  EXPECT_EQ(runner.held[0].lease(), (Lease{lease.key, lease.attempt + 1}));
}

TEST_F(IntakeTest, tasks_of_a_claim_that_was_not_answered_go_back) {
  auto keys = submit(1);
  intake.step();
  auto more = submit(2);
  claim_answers_lost = true;
  clock.advance(10ms);
  EXPECT_THROW(intake.step(), Error);
  EXPECT_EQ(task(more[0]).state(), State::running);
  claim_answers_lost = false;
  intake.step();
  EXPECT_THAT(runner.held, SizeIs(3));  // the second time the answer arrived
  EXPECT_EQ(task(more[0]).live.attempt, 2);
  EXPECT_EQ(task(more[0]).live.charged, 0);
  EXPECT_EQ(task(keys[0]).live.attempt, 1);  // what the runner holds was not touched
}

TEST_F(IntakeTest, also_when_the_clock_has_stepped_back_meanwhile) {
  auto keys = submit(1);
  intake.step();
  TaskKey running = keys[0];
  clock.advance(10ms);
  auto more = submit(2);
  claim_answers_lost = true;
  claiming = [this] { clock.jump(-1h); };
  EXPECT_THROW(intake.step(), Error);
  claim_answers_lost = false;
  runner.held.clear();  // its end is on the way to the finisher
  intake.step();
  EXPECT_THAT(runner.held, SizeIs(2));
  EXPECT_EQ(task(more[0]).live.attempt, 2);
  EXPECT_EQ(task(running).live.attempt, 1);
}

TEST_F(IntakeTest, or_has_stepped_back_afterwards) {
  auto keys = submit(1);
  claim_answers_lost = true;
  EXPECT_THROW(intake.step(), Error);
  claim_answers_lost = false;
  clock.advance(10ms);
  clock.jump(-1h);
  intake.step();
  EXPECT_EQ(task(keys[0]).live.attempt, 2);
}

TEST_F(IntakeTest, a_drain_ends_claims_and_hands_back_what_has_not_started) {
  intake.step();
  intake.drain();
  submit(1);
  intake.step();
  EXPECT_THAT(runner.held, IsEmpty());
  EXPECT_EQ(runner.ages.back(), 0ms);
  EXPECT_EQ(intake.state(), "draining");
  clock.advance(limits::kRenewEvery);
  intake.step();
  EXPECT_EQ(mine().report.state, "draining");
}

TEST_F(IntakeTest, what_waits_too_long_for_a_slot_is_asked_back) {
  intake.step();
  EXPECT_EQ(runner.ages.back(), limits::kUnstarted);
}

TEST_F(IntakeTest, closing_ends_the_session_with_its_last_words) {
  submit(1);
  intake.step();
  TaskKey key = runner.held.at(0).key;
  intake.close("told to stop");
  EXPECT_FALSE(intake.session());
  auto sessions = store->fleet().sessions(24h);
  ASSERT_THAT(sessions, SizeIs(1));
  EXPECT_TRUE(sessions[0].ended_at);
  EXPECT_EQ(sessions[0].last_words, "told to stop");
  EXPECT_EQ(task(key).state(), State::pending);
  EXPECT_EQ(task(key).live.charged, 0);
}

TEST_F(IntakeTest, a_queue_that_appears_later_is_served) {
  intake.step();
  submit(1, "brand_new");
  intake.step();
  EXPECT_THAT(runner.held, SizeIs(1));
}

TEST_F(IntakeTest, limits_that_are_set_while_running_reach_the_runner) {
  intake.step();
  store->tasks().change_settings(
      [](Settings& settings) { settings.actor_concurrency["limited"] = 2; });
  intake.step();
  EXPECT_EQ(runner.concurrency.at("limited"), 2);
}

TEST_F(IntakeTest, an_end_is_noticed_at_once_while_a_type_is_at_its_limit) {
  runner.limited_room = 0;
  submit(1, "default", "limited");
  intake.step();
  uint64_t position = store->changes().position();
  intake.room();
  EXPECT_GT(store->changes().position(), position) << "the wait for news has ended";
}

TEST_F(IntakeTest, a_type_at_its_limit_is_left_alone) {
  runner.limited_room = 1;
  submit(3, "default", "limited");
  intake.step();
  EXPECT_THAT(runner.held, SizeIs(1));
  runner.limited_room = 0;
  intake.step();
  EXPECT_THAT(runner.held, SizeIs(1));
}

// One that has a broker: hints tell it of work, the change feed does not.
struct HintedIntakeTest : IntakeTest {
  HintedIntakeTest() {
    hinted.step();  // looks at everything once
    hinted.step();
  }
  IntakeOptions hinted_options() {
    IntakeOptions hinted = options();
    hinted.hints = &hints;
    return hinted;
  }
  void announce(size_t tasks, const std::string& queue = "default") {
    broker->announce(std::vector{Hint{queue, tasks}});
  }
  BrokerQueue queue(const std::string& name = "default") {
    auto queues = broker->queues(std::vector{name});
    return queues.empty() ? BrokerQueue{name, 0, 0, 0} : queues[0];
  }
  void steps(int count) {
    for (int i = 0; i < count; ++i) hinted.step();
  }

  Metrics metrics;
  std::shared_ptr<MemoryBrokerHub> hub = open_memory_broker();
  std::unique_ptr<Broker> broker = hub->connect();
  std::unique_ptr<Broker> own = hub->connect();
  Hints hints{*own, clock, *log, metrics};
  bool known = !submit(1).empty();  // of a queue that exists
  Intake hinted{*store, runner, clock, random, *log, hinted_options()};
};

TEST_F(HintedIntakeTest, it_looks_at_what_is_there_and_then_waits_for_hints) {
  EXPECT_THAT(runner.held, SizeIs(1));
  submit(2);
  steps(3);
  EXPECT_THAT(runner.held, SizeIs(1));
  announce(2);
  hinted.step();
  EXPECT_THAT(runner.held, SizeIs(3));
  EXPECT_EQ(queue().unanswered, 0u);
}

TEST_F(HintedIntakeTest, a_queue_that_appears_later_is_looked_at_and_listened_to) {
  submit(1, "brand_new");
  steps(2);
  EXPECT_THAT(runner.held, SizeIs(2));
  submit(1, "brand_new");
  announce(1, "brand_new");
  hinted.step();
  EXPECT_THAT(runner.held, SizeIs(3));
}

TEST_F(HintedIntakeTest, a_hint_is_not_answered_before_the_claim_is_durable) {
  submit(1);
  announce(1);
  claim_answers_lost = true;
  EXPECT_THROW(hinted.step(), Error);
  EXPECT_EQ(queue().unanswered, 1u);
  claim_answers_lost = false;
  steps(2);
  EXPECT_EQ(queue().unanswered, 0u);
  EXPECT_EQ(queue().ready, 0u);
}

TEST_F(HintedIntakeTest, without_a_free_slot_others_get_the_hints) {
  submit(5);
  announce(5);
  steps(2);
  EXPECT_THAT(runner.held, SizeIs(4));
  clock.advance(100ms);
  hinted.step();
  EXPECT_EQ(queue().ready, 1u);
  EXPECT_EQ(queue().unanswered, 0u);
  EXPECT_EQ(queue().consumers, 0u);
  runner.held.clear();
  steps(2);
  EXPECT_THAT(runner.held, SizeIs(2));
  EXPECT_EQ(queue().ready, 0u);
}

TEST_F(HintedIntakeTest, while_the_broker_is_away_it_follows_the_store) {
  hub->set_away(true);
  hinted.step();
  submit(1);
  hinted.step();
  EXPECT_THAT(runner.held, SizeIs(2));
  hub->set_away(false);
  clock.advance(1s);
  submit(1);
  steps(2);
  EXPECT_THAT(runner.held, SizeIs(3));
  EXPECT_EQ(queue().consumers, 1u);
}

TEST_F(HintedIntakeTest, a_hint_of_a_paused_queue_is_answered) {
  submit(1);
  store->tasks().set_paused("default", true);
  announce(1);
  hinted.step();
  EXPECT_EQ(queue().unanswered, 0u);
  EXPECT_EQ(queue().ready, 0u);
  EXPECT_THAT(runner.held, SizeIs(1));
}

TEST_F(HintedIntakeTest, a_hint_for_a_type_that_it_lacks_is_announced_again) {
  submit(1, "default", "unknown_here");
  announce(1);
  steps(2);
  EXPECT_EQ(queue().unanswered, 0u);
  EXPECT_EQ(queue().ready, 0u);
  hub->purge("default");
  clock.advance(1s);
  hints.pass_on();
  EXPECT_EQ(queue().ready, 1u);
}

TEST_F(HintedIntakeTest, who_is_told_to_look_looks) {
  submit(1);
  steps(2);
  EXPECT_THAT(runner.held, SizeIs(1));
  store->fleet().command(hinted.session(), kLookCommand);
  steps(2);
  EXPECT_THAT(runner.held, SizeIs(2));
  EXPECT_THAT(commands, IsEmpty());
}

TEST_F(HintedIntakeTest, a_drain_gives_back_what_is_not_answered) {
  runner.slots = 1;
  announce(1);
  hinted.step();
  hinted.drain();
  hinted.step();
  EXPECT_EQ(queue().ready, 1u);
  EXPECT_EQ(queue().consumers, 0u);
}

TEST_F(HintedIntakeTest, its_report_says_how_it_gets_on_with_the_broker) {
  hub->set_refused("mail", "declared otherwise");
  clock.advance(limits::kRenewEvery);
  hinted.step();
  auto report = [&] {
    for (const Session& session : store->fleet().sessions(24h))
      if (session.id == hinted.session()) return session.report;
    return SessionReport{};
  };
  ASSERT_TRUE(report().broker);
  EXPECT_EQ(report().broker->problem, "");
  EXPECT_EQ(report().broker->refused.at("mail"), "declared otherwise");
  hub->set_away(true);
  clock.advance(limits::kRenewEvery);
  hinted.step();
  EXPECT_EQ(report().broker->problem, "the broker is away");
}

}  // namespace
}  // namespace opscore
