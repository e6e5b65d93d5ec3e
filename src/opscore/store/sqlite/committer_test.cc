#include "opscore/store/sqlite/committer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <latch>

#include "opscore/store/sqlite/schema.h"
#include "opscore/store/sqlite/test_folder.h"

namespace opscore::sqlite {
namespace {

class CommitterTest : public testing::Test {
 protected:
  CommitterTest() {
    apply_migrations(db_, random_);
    side_.emplace(clock_, random_, *log_, db_, lanes_, feed_, false);
    side_->load();
    committer_.emplace(*side_, 100);
  }
  void run(const std::function<void(WriteSide&)>& operation,
           Committer::Kind kind = Committer::Kind::ends_work) {
    committer_->run(1, kind, operation);
  }
  static void add_command(WriteSide& side, int64_t session) {
    Statement insert(side.db, "INSERT INTO commands(session, command) VALUES(?, '')");
    insert.run(session);
  }
  int64_t commands() {
    Connection reader(folder_.path("test.db"), OpenMode::reader);
    Statement count(reader, "SELECT count(*) FROM commands");
    auto rows = count.query();
    return rows.next() ? rows.integer(0) : -1;
  }

  TestFolder folder_;
  FakeClock clock_;
  SeededRandom random_{1};
  std::unique_ptr<Log> log_ = silent_log();
  Lanes lanes_;
  ChangeFeed feed_;
  Connection db_{folder_.path("test.db"), OpenMode::create};
  std::optional<WriteSide> side_;
  std::optional<Committer> committer_;
};

TEST_F(CommitterTest, IsDurableWhenItReturns) {
  run([](WriteSide& side) { add_command(side, 1); });
  EXPECT_EQ(commands(), 1);
}

// A hand-over costs more than a small commit; a large one belongs where the pages are warm.
TEST_F(CommitterTest, LittleIsCommittedByItsCallerAndMuchByTheThread) {
  auto thread_of = [&](size_t items) {
    std::thread::id thread;
    committer_->run(items, Committer::Kind::ends_work,
                    [&](WriteSide&) { thread = std::this_thread::get_id(); });
    return thread;
  };
  EXPECT_NE(thread_of(1000), std::this_thread::get_id());
  auto deadline = Deadline::after(std::chrono::seconds(10));  // until the thread rests again
  while (thread_of(1) != std::this_thread::get_id() && !deadline.passed()) {
  }
  EXPECT_FALSE(deadline.passed());
}

TEST_F(CommitterTest, LoneCommitsFindTheirLogAlreadyThere) {
  auto wal_bytes = [&] { return std::filesystem::file_size(folder_.path("test.db-wal")); };
  auto deadline = Deadline::after(std::chrono::seconds(10));
  uintmax_t before = 0, after = wal_bytes();
  while (after - before < 1'000'000 && !deadline.passed()) {
    before = after;
    run([](WriteSide& side) { add_command(side, 1); });
    after = wal_bytes();
  }
  EXPECT_GE(after - before, 1'000'000u) << "it grew by what one commit needs";
}

TEST_F(CommitterTest, AThrowReachesItsCallerAndUndoesItsWrites) {
  auto failing = [](WriteSide& side) {
    add_command(side, 1);
    throw Error(Errc::internal, "on purpose");
  };
  EXPECT_THROW(run(failing), Error);
  EXPECT_EQ(commands(), 0);
}

// One transaction holds them all: the committer is held up until every caller has posted.
TEST_F(CommitterTest, ABadOperationNeverFailsItsNeighbours) {
  constexpr int kCallers = 8;
  std::latch entered(1), release(1);
  std::jthread holder([&] {
    run([&](WriteSide&) {
      entered.count_down();
      release.wait();
    });
  });
  entered.wait();
  std::atomic<int> runs{0}, failures{0};
  std::vector<std::jthread> callers;
  for (int i = 0; i < kCallers; ++i)
    callers.emplace_back([&, i] {
      try {
        run([&, i](WriteSide& side) {
          ++runs;
          add_command(side, i);
          if (i % 2 == 1) throw Error(Errc::internal, "on purpose");
        });
      } catch (const Error& error) {
        EXPECT_EQ(error.message(), "on purpose");
        ++failures;
      }
    });
  while (committer_->waiting() < kCallers) std::this_thread::yield();
  release.count_down();
  callers.clear();
  holder.join();
  EXPECT_EQ(failures, kCallers / 2);
  EXPECT_EQ(commands(), kCallers / 2);
  EXPECT_GT(runs, kCallers) << "they were in one transaction first";
}

TEST_F(CommitterTest, AFullDiskRefusesWhatAddsAndTakesWhatEnds) {
  // As full as a disk can be: SQLite gets no more pages.
  run([](WriteSide& side) {
    std::string limit = "PRAGMA max_page_count=" + std::to_string(side.db.pragma("page_count"));
    side.db.execute(limit.c_str());
  });
  auto add = [](WriteSide& side) {
    std::string body(100'000, 'x');
    Statement insert(side.db, "INSERT INTO origins(key, message_id, body) VALUES(1, '', ?)");
    insert.run(Blob{body});
  };
  try {
    run(add, Committer::Kind::adds_work);
    FAIL() << "it fitted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::disk_low) << error.message();
  }
  run([](WriteSide& side) { add_command(side, 1); });
  EXPECT_EQ(commands(), 1);
}

// As when the disk is full, which the commit is the first to find out.
TEST_F(CommitterTest, AStandingOperationThatCannotBeCommittedEndsWithItsCaller) {
  int calls = 0;
  const std::function<bool(WriteSide&)> spoil_the_commit = [&](WriteSide& side) {
    ++calls;
    side.lanes.intern("q", "t");
    side.db.execute("DROP TABLE lanes");
    return true;
  };
  // Deep in a stack that then stands still: what is still pointed to there would be found intact.
  const std::function<void()> call_deep_down = [&] {
    [[maybe_unused]] volatile char room[64 << 10];
    room[0] = 0;
    committer_->run_when(spoil_the_commit, Deadline::after(Duration(60'000)));
  };
  std::latch failed{1}, over{1};
  std::jthread caller([&] {
    EXPECT_THROW(call_deep_down(), Error);
    failed.count_down();
    over.wait();
  });
  failed.wait();
  const int called = calls;
  EXPECT_GT(called, 0);
  EXPECT_NO_THROW(run([](WriteSide& side) { add_command(side, 1); }));
  EXPECT_EQ(calls, called);
  EXPECT_EQ(commands(), 1);
  over.count_down();
}

TEST_F(CommitterTest, ARollbackUndoesMemoryToo) {
  const Lane& lane = lanes_.intern("q", "t");
  auto enter = [&](WriteSide& side, bool fail) {
    LiveRow row;
    row.key = TaskKey{1};
    row.lane = lane.id;
    row.live.state = State::pending;
    row.live.run_at = clock_.now();
    side.edits.insert_live(row);
    side.enter(row);
    if (fail) throw Error(Errc::internal, "on purpose");
  };
  EXPECT_THROW(run([&](WriteSide& side) { enter(side, true); }), Error);
  run([&](WriteSide& side) {
    EXPECT_EQ(side.ready.best(lane.id, false), nullptr);
    EXPECT_EQ(side.tally.counts(lane.queue_id)[static_cast<size_t>(State::pending)], 0);
  });
  EXPECT_EQ(feed_.position(), 0u);
  run([&](WriteSide& side) { enter(side, false); });
  run([&](WriteSide& side) {
    EXPECT_NE(side.ready.best(lane.id, false), nullptr);
    EXPECT_EQ(side.tally.counts(lane.queue_id)[static_cast<size_t>(State::pending)], 1);
  });
  EXPECT_EQ(feed_.position(), 1u);
}

}  // namespace
}  // namespace opscore::sqlite
