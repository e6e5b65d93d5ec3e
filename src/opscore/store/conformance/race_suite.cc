#include <gmock/gmock.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "opscore/store/conformance/store_conformance.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
constexpr size_t kThreads = 8;

// Runs `act(i)` on eight threads at once.
void together(const std::function<void(size_t)>& act) {
  std::atomic<size_t> ready{0};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i)
    threads.emplace_back([&, i] {
      ++ready;
      while (ready < kThreads) std::this_thread::yield();
      act(i);
    });
  for (std::thread& thread : threads) thread.join();
}

TEST_P(StoreRace, NoTaskIsClaimedTwice) {
  constexpr size_t kTasks = 4000;
  insert_many(kTasks, spec());
  std::mutex mutex;
  std::vector<TaskKey> claimed;
  together([&](size_t i) {
    ClaimRequest mine = request(7 + i);
    for (;;) {
      auto tasks = store_->tasks().claim(mine).tasks;
      if (tasks.empty()) return;
      std::lock_guard lock(mutex);
      for (const ClaimedTask& task : tasks) claimed.push_back(task.key);
    }
  });
  EXPECT_EQ(claimed.size(), kTasks);
  EXPECT_EQ(std::set<TaskKey>(claimed.begin(), claimed.end()).size(), kTasks);
}

TEST_P(StoreRace, OneOfManyFinishesIsApplied) {
  for (int round = 0; round < 20; ++round) {
    insert(spec());
    ClaimedTask claimed = claim_one();
    std::atomic<int> applied{0};
    std::atomic<size_t> winner{99};
    together([&](size_t i) {
      SeededRandom random(i);
      std::vector<Plan> plans{decide_finish(claimed, Outcome::complete(std::to_string(i)),
                                            clock_.now(), clock_.now(), random)};
      if (store_->tasks().apply(std::move(plans)).at(0) != Applied::applied) return;
      ++applied;
      winner = i;
    });
    EXPECT_EQ(applied, 1);
    EXPECT_EQ(task(claimed.key).result, std::to_string(winner));
    EXPECT_EQ(store_->reader().attempts(claimed.key).size(), 1u);
  }
}

TEST_P(StoreRace, FinishingAndRescuingEndEachAttemptOnce) {
  insert_many(400, spec());
  auto tasks = claim();
  std::atomic<size_t> applied{0}, rescued{0};
  together([&](size_t i) {
    if (i == 0) {
      rescued += store_->tasks().rescue(lost_session(session_, LostSession::Cause::gone));
      return;
    }
    SeededRandom random(i);
    for (size_t at = i - 1; at < tasks.size(); at += kThreads - 1) {
      std::vector<Plan> plans{
          decide_finish(tasks[at], Outcome::complete("1"), clock_.now(), clock_.now(), random)};
      if (store_->tasks().apply(std::move(plans)).at(0) == Applied::applied) ++applied;
    }
  });
  EXPECT_EQ(applied + rescued, tasks.size());
  EXPECT_EQ(queue("q").completed, static_cast<int64_t>(applied));
  EXPECT_EQ(queue("q").pending, static_cast<int64_t>(rescued));
  for (const ClaimedTask& each : tasks) EXPECT_EQ(store_->reader().attempts(each.key).size(), 1u);
}

TEST_P(StoreRace, OneOfManyEqualSubmitsInserts) {
  for (int round = 0; round < 20; ++round) {
    std::string id = "id-" + std::to_string(round);
    std::atomic<int> inserted{0}, replayed{0};
    together([&](size_t) {
      std::vector<InsertItem> items{item_with_id(spec(), id, "h")};
      auto kind = store_->tasks().insert(std::move(items), InsertMode::per_item).at(0).kind;
      ++(kind == InsertResult::Kind::inserted ? inserted : replayed);
    });
    EXPECT_EQ(inserted, 1);
    EXPECT_EQ(replayed, static_cast<int>(kThreads) - 1);
  }
  EXPECT_EQ(queue("q").pending, 20);
}

TEST_P(StoreRace, ACancelAndAClaimAgreeOnWhoCameFirst) {
  auto keys = insert_many(200, spec());
  std::vector<Plan> cancels;
  for (TaskKey key : keys) cancels.push_back(decide_cancel(task(key), clock_.now()).value());
  std::atomic<int64_t> cancelled{0}, claimed{0};
  together([&](size_t i) {
    if (i % 2) {
      for (size_t at = i / 2; at < cancels.size(); at += kThreads / 2)
        if (store_->tasks().apply({cancels[at]}).at(0) == Applied::applied) ++cancelled;
    } else {
      for (int n = 0; n < 30; ++n)
        claimed += static_cast<int64_t>(store_->tasks().claim(request(1)).tasks.size());
    }
  });
  EXPECT_EQ(queue("q").cancelled, cancelled);
  EXPECT_EQ(queue("q").running, claimed);
  EXPECT_EQ(queue("q").pending, 200 - cancelled - claimed);
}

TEST_P(StoreRace, SubmittingAndWorkingAtOnceLosesNothing) {
  constexpr size_t kEach = 300;
  std::atomic<size_t> finished{0};
  together([&](size_t i) {
    if (i < kThreads / 2) {
      for (size_t n = 0; n < kEach; ++n) {
        std::vector<InsertItem> items(1);
        items[0].spec = spec();
        store_->tasks().insert(std::move(items), InsertMode::per_item);
      }
      return;
    }
    SeededRandom random(i);
    Deadline deadline = Deadline::after(60s);
    while (finished < kEach * kThreads / 2 && !deadline.passed()) {
      std::vector<Plan> plans;
      for (const ClaimedTask& claimed : store_->tasks().claim(request(16)).tasks)
        plans.push_back(
            decide_finish(claimed, Outcome::complete("1"), clock_.now(), clock_.now(), random));
      for (Applied applied : store_->tasks().apply(std::move(plans)))
        if (applied == Applied::applied) ++finished;
    }
  });
  EXPECT_EQ(finished, kEach * kThreads / 2);
  EXPECT_EQ(queue("q").completed, static_cast<int64_t>(finished));
  EXPECT_EQ(queue("q").pending + queue("q").running, 0);
}

TEST_P(StoreRace, AWaiterMissesNoWake) {
  // One thread waits for work and takes it, another submits one at a time and waits for it to be
  // taken: a lost wake-up would hang one of them.
  constexpr size_t kTasks = 300;
  std::atomic<size_t> taken{0};
  uint64_t start = store_->changes().position();
  std::thread worker([&] {
    Deadline deadline = Deadline::after(60s);
    for (uint64_t at = start; taken < kTasks && !deadline.passed();) {
      at = store_->changes().wait(at, Changes::Interest::work, deadline).position;
      taken += store_->tasks().claim(request(1000)).tasks.size();
    }
  });
  for (size_t i = 1; i <= kTasks; ++i) {
    insert(spec());
    Deadline deadline = Deadline::after(60s);
    while (taken < i && !deadline.passed()) std::this_thread::yield();
  }
  worker.join();
  EXPECT_EQ(taken, kTasks);
}

}  // namespace
}  // namespace opscore
