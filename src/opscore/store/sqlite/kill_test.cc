// A process writes under load and is killed at an arbitrary moment: whatever it was told to be done
// must be in the file.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>
#include <unordered_map>

#include "opscore/model/decide.h"
#include "opscore/store/sqlite/database.h"
#include "opscore/store/sqlite/sqlite_store.h"
#include "opscore/store/sqlite/test_folder.h"

namespace opscore {
namespace {

// What the store acknowledged, sent through a pipe as soon as it did.
struct Acknowledged {
  enum class What : int32_t { inserted, claimed, finished } what;
  int32_t attempt;
  int64_t key;
};

class Victim {
 public:
  Victim(const std::string& path, int out) : out_(out) {
    SqliteOptions options;
    options.path = path;
    store_ = open_sqlite_store(clock_, random_, *log_, options);
    session_ = store_->fleet().open_session("victim", "{}");
  }

  [[noreturn]] void run() {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back([this] { insert_forever(); });
    threads.emplace_back([this] { work_forever(); });
    for (auto& thread : threads) thread.join();
    ::_exit(1);
  }

 private:
  void tell(Acknowledged::What what, Lease lease) {
    Acknowledged acknowledged{what, lease.attempt, lease.key.value};
    if (::write(out_, &acknowledged, sizeof acknowledged) != sizeof acknowledged) ::_exit(1);
  }

  void insert_forever() {
    for (;;) {
      std::vector<InsertItem> items(1 + random_.below(5));
      for (InsertItem& item : items) {
        item.spec.type = "t";
        item.spec.input = "\"" + std::string(random_.below(3000), 'x') + "\"";
      }
      for (const auto& result : store_->tasks().insert(items, InsertMode::all_or_nothing))
        tell(Acknowledged::What::inserted, {result.key, 0});
    }
  }

  void work_forever() {
    ClaimRequest request;
    request.session = session_;
    request.queues = {{"default", 10}};
    request.types = std::make_shared<const std::vector<std::string>>(1, "t");
    for (;;) {
      std::vector<Plan> plans;
      for (const ClaimedTask& task : store_->tasks().claim(request).tasks) {
        tell(Acknowledged::What::claimed, task.lease());
        auto outcome = random_.below(4) == 0 ? Outcome::fail({"no", "no", ""})
                                             : Outcome::complete(std::to_string(task.key.value));
        plans.push_back(decide_finish(task, outcome, clock_.now(), clock_.now(), random_));
      }
      auto applied = store_->tasks().apply(plans);
      for (size_t i = 0; i < plans.size(); ++i)
        if (plans[i].next == State::completed && applied[i] == Applied::applied)
          tell(Acknowledged::What::finished, {plans[i].key, plans[i].attempt});
    }
  }

  const int out_;
  SystemClock clock_;
  SystemRandom random_;
  std::unique_ptr<Log> log_ = silent_log();
  std::unique_ptr<Store> store_;
  SessionId session_;
};

// Runs a victim until it has acknowledged `enough`, kills it, and returns all it said.
std::vector<Acknowledged> kill_after(const std::string& path, size_t enough) {
  int pipe[2];
  EXPECT_EQ(::pipe(pipe), 0);
  pid_t child = ::fork();
  if (child == 0) {
    ::close(pipe[0]);
    Victim(path, pipe[1]).run();
  }
  ::close(pipe[1]);
  std::vector<Acknowledged> said;
  Acknowledged one;
  while (::read(pipe[0], &one, sizeof one) == sizeof one) {
    said.push_back(one);
    if (said.size() == enough) ::kill(child, SIGKILL);
  }
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  return said;
}

struct Known {
  int attempt = 0;
  bool finished = false;
};

void check(Store& store, const std::unordered_map<int64_t, Known>& known) {
  for (const auto& [key, expected] : known) {
    auto task = store.reader().find(TaskKey{key});
    ASSERT_TRUE(task) << "an accepted task is gone";
    ASSERT_GE(task->live.attempt, expected.attempt) << "a claim is gone";
    if (!expected.finished) continue;
    ASSERT_EQ(task->state(), State::completed) << "a finish is gone";
    ASSERT_EQ(task->result, std::to_string(key));
  }
}

TEST(SqliteKill, WhatWasAcknowledgedIsThere) {
  sqlite::TestFolder folder;
  std::string path = folder.path("opscore.db");
  SystemClock clock;
  SystemRandom random;
  auto log = silent_log();
  std::unordered_map<int64_t, Known> known;
  for (int round = 0; round < 10; ++round) {
    for (const auto& [what, attempt, key] : kill_after(path, 200 + random.below(600))) {
      known[key].attempt = std::max(known[key].attempt, attempt);
      if (what == Acknowledged::What::finished) known[key].finished = true;
    }
    SqliteOptions options;
    options.path = path;
    options.read_only = true;  // first as `opscore explain` would, with nobody to recover the file
    check(*open_sqlite_store(clock, random, *log, options), known);
    options.read_only = false;
    auto store = open_sqlite_store(clock, random, *log, options);
    check(*store, known);
    for (const Session& session : store->fleet().sessions(Duration(0)))
      store->tasks().rescue({session.id, LostSession::Cause::gone, true, {}, {}, "killed"});
    QueueStats stats = store->reader().queues().at(0);
    EXPECT_EQ(stats.running, 0);
    store.reset();
    sqlite::Connection file(path, sqlite::OpenMode::read_only);
    sqlite::Statement check_file(file, "PRAGMA quick_check");
    auto rows = check_file.query();
    ASSERT_TRUE(rows.next());
    EXPECT_EQ(rows.text(0), "ok");
    if (testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(known.size(), 500u);
}

}  // namespace
}  // namespace opscore
