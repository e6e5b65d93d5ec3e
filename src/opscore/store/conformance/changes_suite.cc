#include <gmock/gmock.h>

#include <atomic>
#include <set>
#include <thread>

#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::IsEmpty;
using Interest = Changes::Interest;

// Long enough never to be reached when things work.
Deadline patient() {
  return Deadline::after(20s);
}
Deadline at_once() {
  return Deadline::after(0s);
}

TEST_P(StoreChanges, NothingNewIsAnEmptyBatchAfterTheDeadline) {
  uint64_t start = store_->changes().position();
  for (Interest interest : {Interest::work, Interest::tasks}) {
    ChangeBatch batch = store_->changes().wait(start, interest, Deadline::after(5ms));
    EXPECT_FALSE(batch.reset);
    EXPECT_GE(batch.position, start);
    EXPECT_TRUE(batch.queues.empty() && batch.tasks.empty() && batch.sessions.empty());
  }
}

TEST_P(StoreChanges, TellsOfQueuesWithNewWork) {
  uint64_t start = store_->changes().position();
  insert(spec());
  ChangeBatch batch = store_->changes().wait(start, Interest::work, patient());
  EXPECT_THAT(batch.queues, Contains("q"));
  EXPECT_GT(batch.position, start);
  EXPECT_THAT(store_->changes().wait(batch.position, Interest::work, at_once()).queues, IsEmpty());
}

TEST_P(StoreChanges, TellsOfQueuesWhoseTasksBecomeDueAgain) {
  TaskSpec later = spec();
  later.run_at = clock_.now() + 10ms;
  insert(later);
  auto expect_work = [&](const char* what, auto&& act) {
    uint64_t start = store_->changes().position();
    act();
    ChangeBatch batch = store_->changes().wait(start, Interest::work, Deadline::after(5s));
    EXPECT_THAT(batch.queues, Contains("q")) << what;
  };
  clock_.advance(10ms);
  expect_work("promote", [&] { store_->tasks().promote(10); });
  ClaimedTask claimed = claim_one();
  Outcome back;
  back.kind = Outcome::Kind::handed_back;
  expect_work("hand_back", [&] { finish(claimed, back); });
  claimed = claim_one();
  expect_work("rescue",
              [&] { store_->tasks().rescue(lost_session(session_, LostSession::Cause::gone)); });
  session_ = store_->fleet().open_session("host", "{}");
  finish(claim_one(), Outcome::complete("1"));
  expect_work("retry", [&] { retry(claimed.key); });
  store_->tasks().set_paused("q", true);
  expect_work("resume", [&] { store_->tasks().set_paused("q", false); });
}

TEST_P(StoreChanges, TellsOfTasksThatFinish) {
  TaskKey key = insert(spec());
  ClaimedTask claimed = claim_one();
  uint64_t start = store_->changes().position();
  finish(claimed, Outcome::complete("1"));
  ChangeBatch batch = store_->changes().wait(start, Interest::tasks, patient());
  EXPECT_THAT(batch.tasks, Contains(key));
}

TEST_P(StoreChanges, TellsOfEveryWayATaskCanChange) {
  TaskKey key;
  auto expect_task = [&](const char* what, auto&& act) {
    uint64_t start = store_->changes().position();
    act();
    ChangeBatch batch = store_->changes().wait(start, Interest::tasks, Deadline::after(5s));
    EXPECT_THAT(batch.tasks, Contains(key)) << what;
  };
  key = insert(spec());
  expect_task("cancel", [&] { cancel(key); });
  expect_task("manual retry", [&] { retry(key); });
  ClaimedTask claimed = claim_one();
  expect_task("failed attempt", [&] {
    finish(claimed, Outcome::fail({"actor_error", "no", ""}, true, Duration(0)));
  });
  claimed = claim_one();
  expect_task("cancel asked", [&] { cancel(key); });
  expect_task("rescue",
              [&] { store_->tasks().rescue(lost_session(session_, LostSession::Cause::gone)); });
  TaskSpec hurried = spec();
  hurried.options.deadline = clock_.now() + 1ms;
  key = insert(hurried);
  clock_.advance(1ms);
  expect_task("expire", [&] { store_->tasks().expire(10); });
}

TEST_P(StoreChanges, TellsASessionOfCancelsAndCommands) {
  TaskKey key = insert(spec());
  claim_one();
  uint64_t start = store_->changes().position();
  cancel(key);
  ChangeBatch batch = store_->changes().wait(start, Interest::work, patient());
  EXPECT_THAT(batch.sessions, Contains(session_));
  store_->fleet().command(session_, "drain");
  batch = store_->changes().wait(batch.position, Interest::work, patient());
  EXPECT_THAT(batch.sessions, Contains(session_));
}

TEST_P(StoreChanges, AWaiterIsWoken) {
  uint64_t start = store_->changes().position();
  ChangeBatch batch;
  std::thread waiter([&] { batch = store_->changes().wait(start, Interest::work, patient()); });
  insert(spec());
  waiter.join();
  EXPECT_THAT(batch.queues, Contains("q"));
}

TEST_P(StoreChanges, InterruptWakesEveryWaiter) {
  uint64_t start = store_->changes().position();
  std::atomic<int> woken{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 4; ++i)
    waiters.emplace_back([&, i] {
      auto interest = i % 2 ? Interest::work : Interest::tasks;
      ChangeBatch batch = store_->changes().wait(start, interest, patient());
      EXPECT_TRUE(batch.queues.empty() && batch.tasks.empty());
      ++woken;
    });
  // Whoever has not begun to wait yet is caught by a later one.
  while (woken < 4) {
    store_->changes().interrupt();
    std::this_thread::yield();
  }
  for (std::thread& waiter : waiters) waiter.join();
}

TEST_P(StoreChanges, APositionFromNowhereIsAReset) {
  ChangeBatch batch = store_->changes().wait(store_->changes().position() + 1'000'000'000,
                                             Interest::tasks, at_once());
  EXPECT_TRUE(batch.reset);
}

TEST_P(StoreChanges, WhoFallsBehindIsToldOrGetsEverything) {
  uint64_t start = store_->changes().position();
  std::set<TaskKey> finished;
  for (int round = 0; round < 100; ++round) {
    insert_many(1000, spec());
    std::vector<Plan> plans;
    for (const ClaimedTask& claimed : claim()) {
      finished.insert(claimed.key);
      plans.push_back(plan_finish(claimed, Outcome::complete("1")));
    }
    store_->tasks().apply(std::move(plans));
  }
  ASSERT_EQ(finished.size(), 100'000u);
  std::set<TaskKey> seen;
  bool reset = false;
  uint64_t end = store_->changes().position();
  for (uint64_t at = start; at < end;) {
    ChangeBatch batch = store_->changes().wait(at, Interest::tasks, patient());
    reset |= batch.reset;
    seen.insert(batch.tasks.begin(), batch.tasks.end());
    ASSERT_GT(batch.position, at);
    at = batch.position;
  }
  EXPECT_TRUE(reset || std::includes(seen.begin(), seen.end(), finished.begin(), finished.end()));
}

TEST_P(StoreChanges, NeverSkipsUnderLoad) {
  constexpr size_t kTasks = 2000;
  insert_many(kTasks, spec());
  auto tasks = claim(kTasks);
  ASSERT_EQ(tasks.size(), kTasks);
  uint64_t start = store_->changes().position();
  std::vector<std::thread> finishers;
  for (size_t part = 0; part < 4; ++part)
    finishers.emplace_back([&, part] {
      SeededRandom random(part);
      for (size_t i = part; i < kTasks; i += 4) {
        std::vector<Plan> plans{
            decide_finish(tasks[i], Outcome::complete("1"), clock_.now(), clock_.now(), random)};
        store_->tasks().apply(std::move(plans));
      }
    });
  std::set<TaskKey> seen;
  Deadline deadline = patient();
  for (uint64_t at = start; seen.size() < kTasks && !deadline.passed();) {
    ChangeBatch batch = store_->changes().wait(at, Interest::tasks, deadline);
    at = batch.position;
    if (batch.reset)  // look at everything
      for (const ClaimedTask& each : tasks)
        if (state(each.key) == State::completed) seen.insert(each.key);
    seen.insert(batch.tasks.begin(), batch.tasks.end());
    // What is told has happened.
    for (TaskKey key : batch.tasks) ASSERT_EQ(state(key), State::completed);
  }
  for (std::thread& finisher : finishers) finisher.join();
  EXPECT_EQ(seen.size(), kTasks);
}

}  // namespace
}  // namespace opscore
