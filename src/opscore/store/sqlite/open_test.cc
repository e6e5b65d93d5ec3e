// What can be wrong with a data file, and who may have it.

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "opscore/store/sqlite/data_lock.h"
#include "opscore/store/sqlite/schema.h"
#include "opscore/store/sqlite/sqlite_store.h"
#include "opscore/store/sqlite/test_folder.h"

namespace opscore {
namespace {

using sqlite::Connection;
using sqlite::OpenMode;
using testing::HasSubstr;

class OpenTest : public testing::Test {
 protected:
  std::unique_ptr<Store> open(bool read_only = false) {
    SqliteOptions options;
    options.path = path_;
    options.read_only = read_only;
    return open_sqlite_store(clock_, random_, *log_, options);
  }
  void expect_refused(Errc code, const std::string& words, bool read_only = false) {
    try {
      open(read_only);
      FAIL() << "it was opened";
    } catch (const Error& error) {
      EXPECT_EQ(info(error.code()).slug, info(code).slug) << error.message();
      EXPECT_THAT(error.message(), HasSubstr(words));
      EXPECT_THAT(error.message(), HasSubstr(path_));
    }
  }
  TaskKey insert(Store& store) {
    InsertItem item;
    item.spec.type = "t";
    return store.tasks().insert({item}, InsertMode::per_item).at(0).key;
  }
  void write_file(const std::string& bytes) { std::ofstream(path_) << bytes; }

  sqlite::TestFolder folder_;
  std::string path_ = folder_.path("opscore.db");
  SystemClock clock_;
  SeededRandom random_{1};
  std::unique_ptr<Log> log_ = silent_log();
};

TEST_F(OpenTest, AFileFromBeforeThereWereLimitsIsBroughtUpToDate) {
  TaskKey key = insert(*open());
  open()->tasks().set_paused("q", true);
  {
    Connection db(path_, OpenMode::create);
    db.execute(
        "DROP TABLE contexts; DROP TABLE queue_limits; DROP TABLE actor_limits; "
        "DROP INDEX live_external; "
        "DROP INDEX live_external_later; ALTER TABLE live DROP COLUMN external; "
        "PRAGMA user_version=3");
  }
  auto store = open();
  EXPECT_TRUE(store->reader().find(key));
  store->tasks().change_settings(
      [](Settings& settings) { settings.queues["q"].limits.chosen.max_pending = 1; });
  store = nullptr;
  store = open();
  for (const QueueStats& stats : store->reader().queues()) {
    if (stats.name != "q") continue;
    EXPECT_TRUE(stats.paused);
    EXPECT_EQ(stats.limits.chosen.max_pending, 1);
    return;
  }
  FAIL() << "the queue is gone";
}

TEST_F(OpenTest, MakesAFileAndKeepsItsIdentity) {
  auto store = open();
  std::string identity = store->identity(), id = store->ids().encode(TaskKey{1 << 20});
  store.reset();
  store = open();
  EXPECT_EQ(store->identity(), identity);
  EXPECT_EQ(store->ids().encode(TaskKey{1 << 20}), id);
}

TEST_F(OpenTest, AnEmptyFileIsANewOne) {
  write_file("");
  EXPECT_NO_THROW(insert(*open()));
}

TEST_F(OpenTest, NamesAMissingFolder) {
  path_ = folder_.path("nowhere/opscore.db");
  expect_refused(Errc::unavailable, folder_.path("nowhere") + "' cannot be reached");
}

TEST_F(OpenTest, NamesAFolderThatIsAFile) {
  write_file("");
  path_ += "/opscore.db";
  expect_refused(Errc::unavailable, "opscore.db'");
}

TEST_F(OpenTest, ADataFileThatIsAFolderIsRefused) {
  std::filesystem::create_directory(path_);
  expect_refused(Errc::unavailable, "Is a directory");
}

TEST_F(OpenTest, AFolderThatMayNotBeWrittenIsNamed) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  ::chmod(folder_.path("").c_str(), 0500);
  expect_refused(Errc::unavailable, "may not be written");
  ::chmod(folder_.path("").c_str(), 0700);
}

TEST_F(OpenTest, WhatIsNotADatabaseIsLeftAlone) {
  write_file("these are my notes\n" + std::string(5000, '.'));
  expect_refused(Errc::corrupt, "not an SQLite database");
  expect_refused(Errc::corrupt, "not an SQLite database", true);
  EXPECT_EQ(std::filesystem::file_size(path_), 5019u);
}

TEST_F(OpenTest, AnotherProgramsDatabaseIsLeftAlone) {
  {
    Connection(path_, OpenMode::create).execute("CREATE TABLE theirs(x)");
  }
  expect_refused(Errc::invalid, "another program");
}

TEST_F(OpenTest, ANewerSchemaIsLeftAlone) {
  open();
  {
    Connection(path_, OpenMode::create).execute("PRAGMA user_version=99");
  }
  expect_refused(Errc::invalid, "newer opscore (schema 99");
  expect_refused(Errc::invalid, "newer opscore (schema 99", true);
  EXPECT_EQ(Connection(path_, OpenMode::reader).pragma("user_version"), 99);
}

TEST_F(OpenTest, AnOlderSchemaIsNotReadBeforeItIsMigrated) {
  open();
  {
    Connection(path_, OpenMode::create).execute("PRAGMA user_version=0");
  }
  expect_refused(Errc::invalid, "opscore migrate", true);
}

TEST_F(OpenTest, AFileThatWasCutShortIsRefused) {
  {
    auto store = open();
    for (int i = 0; i < 100; ++i) insert(*store);
  }
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) / 2 / 4096 * 4096);
  expect_refused(Errc::corrupt, "cut short");
}

TEST_F(OpenTest, DamagedPagesAreAnErrorAndNeverACrash) {
  {
    auto store = open();
    for (int i = 0; i < 200; ++i) insert(*store);
  }
  auto size = std::filesystem::file_size(path_);
  std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(4096);
  for (uint64_t word = 0; word < (size - 4096) / 8; ++word) {
    uint64_t noise = random_.next();
    file.write(reinterpret_cast<const char*>(&noise), sizeof noise);
  }
  file.close();
  expect_refused(Errc::corrupt, "damaged");
}

// As after a bit that flipped on the disk.
TEST_F(OpenTest, ATaskThatCannotBeReadIsNamedAndTheOthersAreListed) {
  auto store = open();
  const TaskKey first = insert(*store), broken = insert(*store), last = insert(*store);
  Connection(path_, OpenMode::create)
      .execute(
          fmt::format("UPDATE tasks SET options = '{{\"x' WHERE key = {}", broken.value).c_str());
  TaskFilter filter;
  TaskPage page = store->reader().list(filter, {}, 10);
  ASSERT_EQ(page.tasks.size(), 2u);
  EXPECT_EQ(page.tasks[0].key, last);
  EXPECT_EQ(page.tasks[1].key, first);
  ASSERT_EQ(page.corrupt.size(), 1u);
  EXPECT_EQ(page.corrupt[0].first, broken);
  EXPECT_THAT(page.corrupt[0].second, HasSubstr("stored task options"));
  page = store->reader().list(filter, {}, 2);
  EXPECT_EQ(page.tasks.size() + page.corrupt.size(), 2u);
  page = store->reader().list(filter, page.next, 2);
  ASSERT_EQ(page.tasks.size(), 1u) << "the next page begins after it";
  EXPECT_EQ(page.tasks[0].key, first);
  filter.labels = {{"a", "b"}};
  EXPECT_EQ(store->reader().list(filter, {}, 10).corrupt.size(), 1u);
  try {
    store->reader().find(broken);
    FAIL() << "it was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::corrupt);
    EXPECT_THAT(error.message(), HasSubstr(store->ids().encode(broken)));
  }
}

TEST_F(OpenTest, ADamagedTaskHoldsUpNoOther) {
  auto store = open();
  std::vector<TaskKey> keys;
  for (int i = 0; i < 3; ++i) keys.push_back(insert(*store));
  Connection(path_, OpenMode::create)
      .execute(
          fmt::format("UPDATE tasks SET options = '{{' WHERE key = {}", keys[1].value).c_str());
  ClaimRequest request;
  request.session = store->fleet().open_session("s", "{}");
  request.queues = {{"default", 3}};
  request.types = std::make_shared<const std::vector<std::string>>(1, "t");
  auto claimed = store->tasks().claim(request).tasks;
  ASSERT_EQ(claimed.size(), 3u);
  EXPECT_EQ(claimed[0].problem, "");
  EXPECT_EQ(claimed[1].key, keys[1]);
  EXPECT_THAT(claimed[1].problem, HasSubstr("stored task options"));
  LostSession lost;
  lost.session = request.session;
  EXPECT_EQ(store->tasks().rescue(lost), 3u);
  EXPECT_EQ(store->reader().list({}, {}, 10).corrupt.size(), 1u);
  EXPECT_EQ(store->tasks().remove(keys), 3u);
}

TEST_F(OpenTest, ReadingNeedsAFile) {
  expect_refused(Errc::unavailable, "opscore up", true);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(OpenTest, ReadsNextToItsServer) {
  auto server = open();
  TaskKey first = insert(*server);
  auto reader = open(true);
  EXPECT_TRUE(reader->reader().find(first));
  TaskKey second = insert(*server);
  EXPECT_EQ(reader->reader().find(second)->type, "t");
  EXPECT_EQ(reader->reader().queues().at(0).pending, 2);
  EXPECT_EQ(reader->ids().encode(first), server->ids().encode(first));
  server.reset();
  EXPECT_TRUE(reader->reader().find(second));
}

TEST_F(OpenTest, ReadsAfterItsServerAndWritesNothing) {
  TaskKey key = insert(*open());
  auto reader = open(true);
  EXPECT_TRUE(reader->reader().find(key));
  EXPECT_EQ(reader->reader().list({}, {}, 10).tasks.size(), 1u);
  try {
    insert(*reader);
    FAIL() << "it wrote";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::unavailable);
    EXPECT_THAT(error.message(), HasSubstr("reading only"));
  }
}

TEST_F(OpenTest, ReadsInAFolderThatMayNotBeWritten) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  TaskKey key = insert(*open());
  ::chmod(folder_.path("").c_str(), 0500);
  ::chmod(path_.c_str(), 0400);
  EXPECT_TRUE(open(true)->reader().find(key));
  ::chmod(folder_.path("").c_str(), 0700);
}

TEST_F(OpenTest, LowDiskRefusesInsertsButNotFinishes) {
  TaskKey key = insert(*open());
  SqliteOptions options;
  options.path = path_;
  options.disk_reserve_bytes = int64_t{1} << 60;
  auto store = open_sqlite_store(clock_, random_, *log_, options);
  try {
    insert(*store);
    FAIL() << "it was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::disk_low);
  }
  EXPECT_THROW(store->tasks().check_room(), Error);
  EXPECT_NO_THROW(open()->tasks().check_room());
  ClaimRequest request;
  request.session = store->fleet().open_session("s", "{}");
  request.queues = {{"default", 1}};
  request.types = std::make_shared<const std::vector<std::string>>(1, "t");
  EXPECT_EQ(store->tasks().claim(request).tasks.at(0).key, key);
}

TEST_F(OpenTest, TheDataLockNamesItsHolder) {
  std::optional<DataLock> lock(path_);
  try {
    DataLock second(path_);
    FAIL() << "it was taken twice";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::conflict);
    EXPECT_THAT(error.message(), HasSubstr("process " + std::to_string(::getpid())));
  }
  lock.reset();
  EXPECT_NO_THROW(DataLock{path_});
}

TEST_F(OpenTest, LinksToADataFileShareItsLock) {
  const std::string link = folder_.path("link.db"), over = folder_.path("over.db");
  std::filesystem::create_symlink(std::filesystem::path(path_).filename(), link);
  std::filesystem::create_symlink(link, over);
  for (const std::string& name : {link, over, path_}) {
    DataLock lock(name);
    EXPECT_THROW(DataLock{path_}, Error) << name;
    EXPECT_THROW(DataLock{over}, Error) << name;
  }
}

TEST_F(OpenTest, TheDataLockNeedsItsFolder) {
  try {
    DataLock lock(folder_.path("nowhere/opscore.db"));
    FAIL() << "it was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::unavailable);
  }
}

TEST_F(OpenTest, AForkedProcessKeepsTheDataLock) {
  int hold[2];
  ASSERT_EQ(::pipe(hold), 0);
  std::optional<DataLock> lock(path_);
  pid_t child = ::fork();
  if (child == 0) {
    ::close(hold[1]);
    char none;
    (void)!::read(hold[0], &none, 1);  // until the parent closes its end
    ::_exit(0);
  }
  ::close(hold[0]);
  lock.reset();
  EXPECT_THROW(DataLock{path_}, Error);
  ::close(hold[1]);
  ::waitpid(child, nullptr, 0);
  EXPECT_NO_THROW(DataLock{path_});
}

}  // namespace
}  // namespace opscore
