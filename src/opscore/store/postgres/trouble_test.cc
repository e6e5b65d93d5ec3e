// What networks, servers and other processes do to a store in PostgreSQL.

#include <gmock/gmock.h>

#include <map>
#include <set>
#include <thread>

#include "opscore/model/decide.h"
#include "opscore/store/postgres/partitions.h"
#include "opscore/store/postgres/postgres_store.h"
#include "opscore/store/postgres/test_database.h"
#include "opscore/store/postgres/test_proxy.h"

namespace opscore::postgres {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;
using Mode = TestProxy::Mode;

class PostgresTrouble : public PostgresTest {
 protected:
  void SetUp() override {
    PostgresTest::SetUp();
    if (database_ != nullptr) options_ = database_->options();
  }

  std::unique_ptr<Store> open() { return open_postgres_store(clock_, random_, *log_, options_); }
  std::unique_ptr<Store> open_through(TestProxy& proxy) {
    PostgresOptions options = options_;
    options.url = proxy.url(options_.url);
    return open_postgres_store(clock_, random_, *log_, options);
  }

  static std::vector<InsertItem> items(size_t count) {
    std::vector<InsertItem> items(count);
    for (InsertItem& item : items) {
      item.spec.type = "t";
      item.spec.queue = "q";
      item.spec.input = "1";
    }
    return items;
  }
  static TaskKey insert(Store& store) {
    return store.tasks().insert(items(1), InsertMode::per_item).at(0).key;
  }
  static std::vector<ClaimedTask> claim(Store& store, SessionId session, size_t max = 1000) {
    ClaimRequest request;
    request.session = session;
    request.queues = {{"q", max}};
    request.types = std::make_shared<const std::vector<std::string>>(1, "t");
    return store.tasks().claim(request).tasks;
  }
  std::vector<Plan> finishes(const std::vector<ClaimedTask>& tasks) {
    std::vector<Plan> plans;
    for (const ClaimedTask& task : tasks)
      plans.push_back(
          decide_finish(task, Outcome::complete("1"), clock_.now(), clock_.now(), random_));
    return plans;
  }
  void kill_connections() {
    database_->connection().query(kKill, Parameters::of(database_->schema()));
  }
  static constexpr Statement kKill{"kill",
                                   "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                                   "WHERE application_name = $1::text"};

  PostgresOptions options_;
  FakeClock clock_;
  SeededRandom random_{7};
  std::unique_ptr<Log> log_ = silent_log();
};

// Of tests that leave other partitions behind.
class PostgresDays : public PostgresTrouble {
 protected:
  void SetUp() override {
    TestDatabase::shared().reset();
    PostgresTrouble::SetUp();
  }
  void TearDown() override { TestDatabase::shared().reset(); }
};

// Until it holds; the deadline is for machines that are very slow.
template <class Condition>
bool eventually(Condition condition) {
  for (Deadline deadline = Deadline::after(60s); !deadline.passed(); std::this_thread::yield())
    if (condition()) return true;
  return false;
}

TEST_F(PostgresTrouble, ACommitWhoseAnswerWasLostIsReadBack) {
  TestProxy proxy;
  auto store = open_through(proxy);
  SessionId session = store->fleet().open_session("host", "{}");
  insert(*store);
  proxy.set(Mode::swallow_commit);
  TaskKey key = insert(*store);
  EXPECT_EQ(proxy.mode(), Mode::pass) << "nothing was swallowed";
  EXPECT_EQ(store->reader().list({}, {}, 10).tasks.size(), 2u);
  EXPECT_TRUE(store->reader().find(key));
  proxy.set(Mode::swallow_commit);
  auto claimed = claim(*store, session);
  EXPECT_EQ(proxy.mode(), Mode::pass);
  ASSERT_EQ(claimed.size(), 2u);
  EXPECT_EQ(claimed[0].live.attempt, 1);
  proxy.set(Mode::swallow_commit);
  EXPECT_THAT(store->tasks().apply(finishes(claimed)), testing::Each(Applied::applied));
  EXPECT_EQ(proxy.mode(), Mode::pass);
}

TEST_F(PostgresTrouble, AServerThatDoesNotAnswerIsUnavailableInTime) {
  TestProxy proxy;
  options_.timeout = 2s;
  auto store = open_through(proxy);
  insert(*store);
  proxy.set(Mode::stall);
  auto begun = std::chrono::steady_clock::now();
  for (int i = 0; i < 2; ++i) {
    try {
      i == 0 ? (void)insert(*store) : (void)store->reader().queues();
      ADD_FAILURE() << "it answered";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::unavailable) << error.what();
    }
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 30s);
  proxy.set(Mode::pass);
  EXPECT_TRUE(eventually([&] {
    try {
      insert(*store);
      return true;
    } catch (const Error&) {
      return false;
    }
  }));
}

TEST_F(PostgresTrouble, AnUnreachableServerIsUnavailableAndComesBack) {
  TestProxy proxy;
  options_.timeout = 2s;
  auto store = open_through(proxy);
  insert(*store);
  proxy.set(Mode::refuse);
  EXPECT_THROW(insert(*store), Error);
  EXPECT_THROW(store->reader().queues(), Error);
  proxy.set(Mode::pass);
  EXPECT_TRUE(eventually([&] {
    try {
      return store->reader().queues().at(0).pending >= 1;
    } catch (const Error&) {
      return false;
    }
  }));
}

TEST_F(PostgresTrouble, ALockThatOthersHoldIsUnavailableInTime) {
  options_.timeout = 1s;
  auto store = open();
  SessionId session = store->fleet().open_session("host", "{}");
  insert(*store);
  auto claimed = claim(*store, session);
  database_->connection().execute("BEGIN; SELECT * FROM live FOR UPDATE");
  try {
    store->tasks().apply(finishes(claimed));
    ADD_FAILURE() << "it did not wait";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::unavailable) << error.what();
  }
  database_->connection().execute("ROLLBACK");
  EXPECT_THAT(store->tasks().apply(finishes(claimed)), testing::Each(Applied::applied));
}

// As an application holds it that has submitted with it and goes on with its transaction.
TEST_F(PostgresTrouble, AKeyThatSomebodyHoldsFailsOnlyWhoWantsIt) {
  options_.timeout = 4s;
  auto store = open();
  insert(*store);
  database_->connection().execute("BEGIN; INSERT INTO keys VALUES(0, '', 'held', 1, '')");
  auto three = items(3);
  three[1].keys = {{UniqueKey::Kind::task_id, "", three[1].spec.options.id = "held"}};
  auto results = store->tasks().insert(three, InsertMode::per_item);
  EXPECT_EQ(results.at(0).kind, InsertResult::Kind::inserted);
  EXPECT_EQ(results.at(1).error.value().code(), Errc::unavailable);
  EXPECT_EQ(results.at(2).kind, InsertResult::Kind::inserted);
  database_->connection().execute("ROLLBACK");
  EXPECT_FALSE(store->tasks().insert({three[1]}, InsertMode::per_item).at(0).refused());
}

TEST_F(PostgresTrouble, ANumberThatNoColumnTakesFailsItsTaskOnly) {
  auto store = open();
  auto three = items(3);
  three[2].spec.priority = 100'000;
  auto results = store->tasks().insert(three, InsertMode::per_item);
  EXPECT_FALSE(results.at(0).refused());
  EXPECT_THAT(results.at(2).error.value().message(), HasSubstr("smallint"));
  EXPECT_EQ(store->reader().list({}, {}, 10).tasks.size(), 2u);
}

// Finishes lock what a report is about in another order: who waited here would deadlock there, and
// both stand still for the second until the server notices.
TEST_F(PostgresTrouble, AReportOfStartsWaitsForNobody) {
  options_.timeout = 5s;
  auto store = open();
  SessionId session = store->fleet().open_session("host", "{}");
  insert(*store);
  TaskKey locked = insert(*store);
  SessionReport report;
  for (const ClaimedTask& task : claim(*store, session))
    report.running.push_back({task.key, task.live.attempt, 0, clock_.now()});
  ASSERT_EQ(report.running.size(), 2u);
  auto started = [&] {
    std::set<TaskKey> keys;
    for (const Task& task : store->reader().list({}, {}, 10).tasks)
      if (task.started_at) keys.insert(task.key);
    return keys;
  };

  Connection& other = database_->connection();
  other.execute("BEGIN; SELECT 1 FROM live WHERE key = " + std::to_string(locked.value) +
                " FOR UPDATE");
  store->fleet().renew(session, report);
  EXPECT_EQ(started(), std::set{report.running.front().key});
  other.execute("COMMIT");
  store->fleet().renew(session, report);
  EXPECT_EQ(started().size(), 2u);
}

TEST_F(PostgresTrouble, ConnectionsCutAtRandomLoseAndDoubleNothing) {
  constexpr size_t kTasks = 1500, kCuts = 15;
  options_.write_connections = 4;
  // Rows that a cut connection held for a moment longer are found by the poll.
  options_.poll_every = 100ms;
  auto store = open();
  SessionId session = store->fleet().open_session("host", "{}");
  std::atomic<size_t> accepted{0}, finished{0};
  std::mutex mutex;
  std::map<Lease, int> claims;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      while (accepted < kTasks) {
        accepted += store->tasks().insert(items(5), InsertMode::all_or_nothing).size();
      }
    });
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      Deadline deadline = Deadline::after(120s);
      while (!deadline.passed() && (accepted < kTasks || finished < accepted)) {
        auto tasks = claim(*store, session, 10);
        {
          std::lock_guard lock(mutex);
          for (const ClaimedTask& task : tasks) ++claims[task.lease()];
        }
        for (Applied applied : store->tasks().apply(finishes(tasks)))
          finished += applied == Applied::applied;
      }
    });
  for (size_t cut = 1; cut <= kCuts; ++cut) {
    eventually([&] { return finished >= cut * kTasks / kCuts / 2; });
    kill_connections();
  }
  threads.clear();
  EXPECT_EQ(finished, accepted);
  EXPECT_EQ(claims.size(), accepted) << "each task is claimed once: no answer was lost";
  for (const auto& [lease, times] : claims) EXPECT_EQ(times, 1);
  auto queues = store->reader().queues();
  ASSERT_EQ(queues.size(), 1u);
  EXPECT_EQ(queues[0].completed, static_cast<int64_t>(accepted));
  EXPECT_EQ(queues[0].pending + queues[0].running, 0);
}

TEST_F(PostgresTrouble, AListenerThatWasCutTellsEveryoneToLookAtEverything) {
  auto store = open(), other = open();
  uint64_t before = store->changes().position();
  kill_connections();
  ChangeBatch batch = store->changes().wait(before, Changes::Interest::work, Deadline::after(60s));
  EXPECT_TRUE(batch.reset);
  insert(*other);
  batch = store->changes().wait(batch.position, Changes::Interest::work, Deadline::after(60s));
  EXPECT_THAT(batch.queues, Contains("q"));
}

TEST_F(PostgresTrouble, AnotherProcessHearsOfEveryKindOfChange) {
  auto here = open(), there = open();
  SessionId session = there->fleet().open_session("host", "{}");
  uint64_t work = here->changes().position(), tasks = work;
  auto wait = [&](uint64_t& since, Changes::Interest interest) {
    ChangeBatch batch = here->changes().wait(since, interest, Deadline::after(60s));
    since = batch.position;
    EXPECT_FALSE(batch.reset);
    return batch;
  };
  TaskKey key = insert(*there);
  EXPECT_THAT(wait(work, Changes::Interest::work).queues, Contains("q"));
  auto claimed = claim(*there, session);
  there->tasks().apply(finishes(claimed));
  EXPECT_THAT(wait(tasks, Changes::Interest::tasks).tasks, Contains(key));
  there->fleet().command(session, "drain");
  EXPECT_THAT(wait(work, Changes::Interest::work).sessions, Contains(session));
}

TEST_F(PostgresTrouble, TwoProcessesNeverClaimTheSameTask) {
  auto here = open(), there = open();
  constexpr size_t kTasks = 600;
  here->tasks().insert(items(kTasks), InsertMode::all_or_nothing);
  std::mutex mutex;
  std::multiset<TaskKey> claimed;
  {
    std::vector<std::jthread> threads;
    for (Store* store : {here.get(), there.get(), here.get(), there.get()})
      threads.emplace_back([&, store] {
        SessionId session = store->fleet().open_session("host", "{}");
        for (;;) {
          auto tasks = claim(*store, session, 7);
          if (tasks.empty()) return;
          std::lock_guard lock(mutex);
          for (const ClaimedTask& task : tasks) claimed.insert(task.key);
        }
      });
  }
  EXPECT_EQ(claimed.size(), kTasks);
  EXPECT_EQ(std::set<TaskKey>(claimed.begin(), claimed.end()).size(), kTasks);
}

TEST_F(PostgresTrouble, ALaneMadeByAnotherProcessIsClaimedFrom) {
  auto here = open(), there = open();
  SessionId session = here->fleet().open_session("host", "{}");
  EXPECT_TRUE(claim(*here, session).empty());
  insert(*there);
  EXPECT_EQ(claim(*here, session).size(), 1u);
}

TEST_F(PostgresTrouble, ProcessesMakeKeysWithDifferentNodes) {
  std::vector<std::unique_ptr<Store>> stores;
  std::set<int64_t> nodes;
  for (int i = 0; i < 8; ++i) {
    stores.push_back(open());
    nodes.insert(insert(*stores.back()).value & 0xff);
  }
  EXPECT_EQ(nodes.size(), stores.size());
}

TEST_F(PostgresTrouble, OneProcessLeadsAndAnotherFollowsIt) {
  auto here = open(), there = open();
  SessionId a = here->fleet().open_session("a", "{}"), b = there->fleet().open_session("b", "{}");
  EXPECT_TRUE(here->fleet().lead(a));
  EXPECT_FALSE(there->fleet().lead(b));
  here.reset();
  EXPECT_TRUE(eventually([&] { return there->fleet().lead(b); }));
}

TEST_F(PostgresTrouble, WhoLosesItsConnectionLosesLeadership) {
  TestProxy proxy;
  auto here = open_through(proxy);
  auto there = open();
  SessionId a = here->fleet().open_session("a", "{}"), b = there->fleet().open_session("b", "{}");
  EXPECT_TRUE(here->fleet().lead(a));
  proxy.set(Mode::refuse);
  EXPECT_TRUE(eventually([&] { return there->fleet().lead(b); }));
  proxy.set(Mode::pass);
  EXPECT_TRUE(eventually([&] {
    try {
      return !here->fleet().lead(a);
    } catch (const Error&) {
      return false;
    }
  }));
  EXPECT_TRUE(there->fleet().lead(b));
}

TEST_F(PostgresDays, DroppingADayKeepsWhatIsStillNeeded) {
  auto store = open();
  SessionId session = store->fleet().open_session("host", "{}");
  int64_t day = day_of(TaskKey::first_at(clock_.now()));
  auto later = items(1);
  later[0].spec.run_at = clock_.now() + 24h * 60;
  TaskKey scheduled = store->tasks().insert(std::move(later), InsertMode::per_item).at(0).key;
  TaskKey done = insert(*store);
  store->tasks().apply(finishes(claim(*store, session)));
  TaskKey failed = insert(*store);
  auto claimed = claim(*store, session);
  store->tasks().apply(
      {decide_finish(claimed.at(0), Outcome::fail({"actor_error", "no", ""}, false), clock_.now(),
                     clock_.now(), random_)});
  Retention retention{24h, 24h * 30, {}};
  EXPECT_THAT(Partitions::list(database_->connection()), Contains(day));
  clock_.advance(24h * 5);
  EXPECT_EQ(store->tasks().prune(retention, 1000), 1u);
  EXPECT_THAT(Partitions::list(database_->connection()), testing::Not(Contains(day)));
  EXPECT_FALSE(store->reader().find(done));
  EXPECT_EQ(store->reader().find(failed).value().error.message, "no");
  EXPECT_EQ(store->reader().find(scheduled).value().state(), State::scheduled);
  EXPECT_EQ(store->reader().list({}, {}, 10).tasks.size(), 2u);
  clock_.advance(24h * 60);
  EXPECT_EQ(store->tasks().promote(10).tasks, 1u);
  EXPECT_THAT(store->tasks().apply(finishes(claim(*store, session))),
              testing::ElementsAre(Applied::applied));
  EXPECT_EQ(store->tasks().prune(retention, 1000), 1u) << "what was moved has a retention, too";
  EXPECT_EQ(store->reader().find(scheduled).value().state(), State::completed);
}

// Making a partition needs the tables for itself.
TEST_F(PostgresDays, WhoReadsForLongKeepsNobodyFromInsertingOnANewDay) {
  options_.timeout = 4s;
  auto store = open();
  insert(*store);
  int64_t day = day_of(TaskKey::first_at(clock_.now())) + 5;
  database_->connection().execute("BEGIN; SELECT FROM tasks");
  clock_.advance(24h * 5);
  TaskKey key = insert(*store);
  EXPECT_EQ(store->reader().find(key).value().state(), State::pending);
  database_->connection().execute("ROLLBACK");
  EXPECT_THAT(Partitions::list(database_->connection()), testing::Not(Contains(day)));
}

TEST_F(PostgresTrouble, TextOfAnyBytesIsStored) {
  auto store = open();
  const std::string words(
      "a\xff"
      "b\0c",
      5),
      stored =
          "a\xef\xbf\xbd"
          "b\xef\xbf\xbd"
          "c";
  SessionId session = store->fleet().open_session(words, "{}");
  insert(*store);
  auto claimed = claim(*store, session);
  std::vector<Plan> plans = finishes(claimed);
  plans[0].result = words;  // no actor's result is, but nobody else shall pay for it
  EXPECT_THAT(store->tasks().apply(plans), testing::Each(Applied::applied));
  EXPECT_EQ(store->reader().find(claimed.at(0).key).value().result, stored);
  LostSession lost;
  lost.session = session;
  lost.words = words;
  store->tasks().rescue(lost);
  Session ended = store->fleet().sessions(1h).at(0);
  EXPECT_EQ(ended.name, stored);
  EXPECT_EQ(ended.last_words, stored);
}

TEST_F(PostgresTrouble, WorkThatNobodyTookIsToldAgain) {
  options_.poll_every = 10ms;
  auto store = open();
  insert(*store);
  uint64_t at = store->changes().position();
  for (int times = 0; times < 2; ++times) {
    ChangeBatch batch = store->changes().wait(at, Changes::Interest::work, Deadline::after(60s));
    EXPECT_THAT(batch.queues, Contains("q"));
    at = batch.position;
  }
}

}  // namespace
}  // namespace opscore::postgres
