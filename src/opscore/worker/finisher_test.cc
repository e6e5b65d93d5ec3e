#include "opscore/worker/finisher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>

#include "opscore/model/limits.h"
#include "opscore/store/intercepted_store.h"
#include "opscore/store/memory/memory_store.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;

// Over a store whose apply() can be counted and made to fail, before it happens or after.
struct FinisherTest : testing::Test {
  std::unique_ptr<Store> open() {
    auto counted = intercept(open_memory_store(clock, random),
                             [this](std::string_view operation, const std::function<void()>& call) {
                               if (operation == "apply" && refused.contains(++applies))
                                 throw Error(Errc::internal, "the database refuses it");
                               call();
                             });
    auto failing = [](std::atomic<bool>& flag) {
      return [&flag](std::string_view operation) { return operation == "apply" && flag; };
    };
    auto lossy =
        inject_faults(std::move(counted), random, {.after = 1, .enabled = failing(answers_lost)});
    return inject_faults(std::move(lossy), random, {.before = 1, .enabled = failing(away)});
  }

  std::vector<ClaimedTask> claimed(size_t count) {
    std::vector<InsertItem> items(count);
    for (InsertItem& item : items) item.spec.type = "t";
    store->tasks().insert(std::move(items), InsertMode::all_or_nothing);
    ClaimRequest request;
    request.session = session;
    request.queues = {{"default", count}};
    request.types = std::make_shared<const std::vector<std::string>>(1, "t");
    auto tasks = store->tasks().claim(request).tasks;
    EXPECT_EQ(tasks.size(), count);
    return tasks;
  }
  Finished done(ClaimedTask task, Outcome outcome = Outcome::complete("1")) {
    return {std::move(task), std::move(outcome), clock.now(), clock.now()};
  }
  std::vector<Finished> done(std::vector<ClaimedTask> tasks) {
    std::vector<Finished> finished;
    for (ClaimedTask& task : tasks) finished.push_back(done(std::move(task)));
    return finished;
  }
  Task task(const ClaimedTask& claimed) { return store->reader().find(claimed.key).value(); }
  void lose_session() {
    LostSession lost;
    lost.session = session;
    store->tasks().rescue(lost);
  }

  FakeClock clock;
  SeededRandom random{9};
  std::unique_ptr<Log> log = silent_log();
  Metrics metrics;
  std::atomic<int> applies{0};
  std::set<int> refused;  // which of them
  std::atomic<bool> away{false};
  std::atomic<bool> answers_lost{false};
  std::unique_ptr<Store> store = open();
  SessionId session = store->fleet().open_session("host:1", "{}");
  Finisher finisher{*store, clock, random, *log, metrics};
};

TEST_F(FinisherTest, nothing_posted_is_nothing_to_do) {
  EXPECT_TRUE(finisher.empty());
  EXPECT_FALSE(finisher.step());
  EXPECT_EQ(applies, 0);
}

TEST_F(FinisherTest, what_was_posted_meanwhile_makes_one_batch) {
  auto tasks = claimed(3);
  for (const ClaimedTask& one : tasks) finisher.post({done(one)});
  EXPECT_FALSE(finisher.empty());
  EXPECT_TRUE(finisher.step());
  EXPECT_EQ(applies, 1);
  EXPECT_TRUE(finisher.empty());
  for (const ClaimedTask& one : tasks) EXPECT_EQ(task(one).state(), State::completed);
}

TEST_F(FinisherTest, a_batch_has_a_limit) {
  finisher.post(done(claimed(limits::kClaimBatch + 1)));
  EXPECT_TRUE(finisher.step());
  EXPECT_FALSE(finisher.empty());
  EXPECT_TRUE(finisher.step());
  EXPECT_TRUE(finisher.empty());
  EXPECT_EQ(applies, 2);
}

TEST_F(FinisherTest, each_outcome_is_decided_by_itself) {
  auto tasks = claimed(3);
  finisher.post({done(tasks[0], Outcome::complete("[7]")),
                 done(tasks[1], Outcome::fail({"boom", "no luck", "trace"})),
                 done(tasks[2], Outcome::fail({"bad", "for good", {}}, false))});
  finisher.step();
  EXPECT_EQ(task(tasks[0]).result, "[7]");
  EXPECT_EQ(task(tasks[1]).state(), State::scheduled);
  EXPECT_EQ(task(tasks[1]).error, (ErrorInfo{"boom", "no luck", "trace"}));
  EXPECT_EQ(task(tasks[2]).state(), State::failed);
}

TEST_F(FinisherTest, while_the_store_is_away_the_batch_is_kept) {
  auto tasks = claimed(2);
  finisher.post({done(tasks[0])});
  away = true;
  EXPECT_THROW(finisher.step(), Error);
  EXPECT_FALSE(finisher.empty());
  finisher.post({done(tasks[1])});
  EXPECT_THROW(finisher.step(), Error);
  EXPECT_EQ(task(tasks[0]).state(), State::running);
  away = false;
  while (finisher.step()) {
  }
  EXPECT_TRUE(finisher.empty());
  for (const ClaimedTask& one : tasks) EXPECT_EQ(task(one).state(), State::completed);
}

TEST_F(FinisherTest, an_answer_that_was_lost_changes_nothing_twice) {
  auto tasks = claimed(2);
  finisher.post({done(tasks[0]), done(tasks[1], Outcome::fail({"boom", "no luck", {}}))});
  answers_lost = true;
  EXPECT_THROW(finisher.step(), Error);
  Task failed = task(tasks[1]);
  EXPECT_EQ(failed.state(), State::scheduled);
  answers_lost = false;
  EXPECT_TRUE(finisher.step());
  EXPECT_EQ(task(tasks[0]).state(), State::completed);
  EXPECT_EQ(task(tasks[1]).live, failed.live);
  EXPECT_EQ(store->reader().attempts(tasks[0].key).size(), 1u);
  EXPECT_EQ(store->reader().attempts(tasks[1].key).size(), 1u);
}

TEST_F(FinisherTest, an_outcome_whose_lease_was_lost_is_dropped_and_its_neighbours_are_not) {
  auto old = claimed(1)[0];
  lose_session();
  session = store->fleet().open_session("host:2", "{}");
  auto fresh = claimed(1)[0];  // the best due one: the old task itself, in its next attempt
  finisher.post({done(old, Outcome::complete("\"old\"")), done(fresh)});
  EXPECT_TRUE(finisher.step());
  EXPECT_TRUE(finisher.empty());
  EXPECT_EQ(task(fresh).result, "1");
}

TEST_F(FinisherTest, an_outcome_that_cannot_be_stored_keeps_no_other_from_it) {
  auto tasks = claimed(4);
  finisher.post(done({tasks[0], tasks[1], tasks[2]}));
  refused = {1, 3, 6, 7};  // all together; one of them alone, now and when it is tried again
  EXPECT_TRUE(finisher.step());
  EXPECT_EQ(task(tasks[0]).state(), State::completed);
  EXPECT_EQ(task(tasks[1]).state(), State::running);
  EXPECT_EQ(task(tasks[2]).state(), State::completed);
  EXPECT_FALSE(finisher.empty());
  finisher.post({done(tasks[3])});
  EXPECT_TRUE(finisher.step());
  EXPECT_EQ(task(tasks[3]).state(), State::completed);
  EXPECT_FALSE(finisher.step()) << "not yet";
  EXPECT_FALSE(finisher.stop(Deadline::at({}))) << "something is left";
  clock.advance(10s);
  EXPECT_TRUE(finisher.step());
  EXPECT_EQ(task(tasks[1]).state(), State::running);
  clock.advance(10s);
  EXPECT_TRUE(finisher.step());
  EXPECT_EQ(task(tasks[1]).state(), State::completed);
  EXPECT_TRUE(finisher.empty());
}

TEST_F(FinisherTest, forgetting_a_session_drops_what_belongs_to_it) {
  auto mine = claimed(1)[0];
  session = store->fleet().open_session("host:2", "{}");
  auto other = claimed(1)[0];
  finisher.post({done(mine), done(other)});
  finisher.forget(mine.live.session);
  finisher.step();
  EXPECT_EQ(task(mine).state(), State::running);
  EXPECT_EQ(task(other).state(), State::completed);
}

TEST_F(FinisherTest, the_loop_applies_what_is_posted_and_stops_when_all_is_written) {
  auto tasks = claimed(100);
  finisher.start();
  for (const ClaimedTask& one : tasks) finisher.post({done(one)});
  EXPECT_TRUE(finisher.stop(Deadline::after(30s)));
  for (const ClaimedTask& one : tasks) EXPECT_EQ(task(one).state(), State::completed);
}

TEST_F(FinisherTest, stopping_says_when_something_is_left) {
  away = true;
  finisher.post({done(claimed(1)[0])});
  finisher.start();
  EXPECT_FALSE(finisher.stop(Deadline::at({})));
}

TEST_F(FinisherTest, ends_are_counted_by_type_queue_and_end) {
  auto tasks = claimed(2);
  finisher.post({done(tasks[0]), done(tasks[1], Outcome::fail({"boom", "no luck", {}}))});
  finisher.step();
  std::string text = metrics.expose();
  for (const char* line :
       {"opscore_attempts_total{end=\"completed\",queue=\"default\",type=\"t\"} 1\n",
        "opscore_attempts_total{end=\"error\",queue=\"default\",type=\"t\"} 1\n",
        "opscore_worker_tasks_finished_total{queue=\"default\",state=\"completed\",type=\"t\"} 1\n",
        "opscore_attempt_failures_total{kind=\"boom\"} 1\n",
        "opscore_finish_commit_duration_seconds_count 2\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  EXPECT_EQ(text.find("state=\"failed\""), std::string::npos) << "it is tried again";
}

}  // namespace
}  // namespace opscore
