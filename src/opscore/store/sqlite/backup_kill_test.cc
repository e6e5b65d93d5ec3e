// A backup or a restore is killed between any two system calls, one run for each of many places:
// the data file, and the backup that was there, hold all of what they held or all of what is new.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <set>

#include "opscore/store/sqlite/backup.h"
#include "opscore/store/sqlite/sqlite_store.h"
#include "opscore/store/sqlite/test_folder.h"

namespace opscore {
namespace {

namespace fs = std::filesystem;

constexpr int kToTheEnd = -1;

[[noreturn]] void run_traced(const std::function<void()>& work) {
  ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  ::raise(SIGSTOP);
  try {
    work();
  } catch (...) {
    ::_exit(1);
  }
  ::_exit(0);
}

// Runs `work` in a process of its own and kills that at its `stops`th entry to or return from a
// system call. How many there were; -1 when it cannot be traced or fails by itself.
int run_and_kill(const std::function<void()>& work, int stops) {
  const pid_t child = ::fork();
  if (child == 0) run_traced(work);
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) return -1;
  for (int seen = 0;; ++seen) {
    if (seen == stops) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      return seen;
    }
    if (::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr) != 0) return -1;
    if (::waitpid(child, &status, 0) != child) return -1;
    if (!WIFSTOPPED(status)) return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? seen : -1;
  }
}

// Some of everywhere, and all of the end, where files change places.
std::set<int> places(int stops) {
  std::set<int> chosen;
  for (int i = 0; i < 12; ++i) chosen.insert(stops * i / 12);
  for (int i = std::max(0, stops - 40); i < stops; ++i) chosen.insert(i);
  return chosen;
}

class BackupKill : public testing::Test {
 protected:
  // A data file as a crash leaves it: what was written last is in the WAL only.
  void write_data(const std::string& path, size_t tasks) const {
    const pid_t child = ::fork();
    if (child == 0) {
      auto store = open(path);
      InsertItem item;
      item.spec.type = "t";
      store->tasks().insert(std::vector<InsertItem>(tasks, item), InsertMode::all_or_nothing);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_EQ(status, 0);
  }

  std::unique_ptr<Store> open(const std::string& path) const {
    SqliteOptions options;
    options.path = path;
    return open_sqlite_store(clock_, random_, *log_, options);
  }

  size_t tasks_in(const std::string& path) const {
    return open(path)->reader().list({}, std::nullopt, 1000).tasks.size();
  }

  BackupOptions options(const std::string& data, const std::string& file) const {
    BackupOptions options;
    options.data_file = data;
    options.file = file;
    options.version = "test";
    options.now = clock_.now();
    return options;
  }

  size_t tasks_of(const std::string& backup) const {
    const std::string path = folder_.path("looked-at.db");
    fs::remove(path);
    restore_backup(options(path, backup));  // which checks the sum and the database
    return tasks_in(path);
  }

  // Fresh copies for every run.
  void set_up_folder() const {
    fs::remove_all(folder_.path("run"));
    fs::copy(folder_.path("before"), folder_.path("run"), fs::copy_options::recursive);
  }

  sqlite::TestFolder folder_;
  SystemClock clock_;
  mutable SystemRandom random_;
  std::unique_ptr<Log> log_ = silent_log();
};

TEST_F(BackupKill, a_restore_leaves_the_old_tasks_or_the_new) {
  fs::create_directory(folder_.path("before"));
  write_data(folder_.path("before/opscore.db"), 3);
  write_data(folder_.path("other.db"), 5);
  make_backup(options(folder_.path("other.db"), folder_.path("backup")));
  const std::string data = folder_.path("run/opscore.db");
  const auto restore = [&] { restore_backup(options(data, folder_.path("backup"))); };

  set_up_folder();
  const int stops = run_and_kill(restore, kToTheEnd);
  if (stops < 0) GTEST_SKIP() << "ptrace is not allowed here";
  ASSERT_EQ(tasks_in(data), 5U);

  std::set<size_t> seen;
  for (const int place : places(stops)) {
    SCOPED_TRACE(place);
    set_up_folder();
    run_and_kill(restore, place);
    const size_t after = tasks_in(data);
    EXPECT_TRUE(after == 3 || after == 5) << after;
    seen.insert(after);
    restore();
    EXPECT_EQ(tasks_in(data), 5U) << "the next restore is not in the way of what was left";
  }
  EXPECT_EQ(seen.size(), 2U) << "some were killed before the swap, some after it";
}

TEST_F(BackupKill, a_backup_leaves_the_data_and_the_earlier_backup_or_the_new) {
  fs::create_directory(folder_.path("before"));
  write_data(folder_.path("other.db"), 5);
  make_backup(options(folder_.path("other.db"), folder_.path("before/backup")));
  write_data(folder_.path("before/opscore.db"), 3);
  const std::string data = folder_.path("run/opscore.db"), file = folder_.path("run/backup");
  const auto back_up = [&] { make_backup(options(data, file)); };

  set_up_folder();
  const int stops = run_and_kill(back_up, kToTheEnd);
  if (stops < 0) GTEST_SKIP() << "ptrace is not allowed here";
  ASSERT_EQ(tasks_of(file), 3U);

  std::set<size_t> seen;
  for (const int place : places(stops)) {
    SCOPED_TRACE(place);
    set_up_folder();
    run_and_kill(back_up, place);
    const size_t after = tasks_of(file);
    EXPECT_TRUE(after == 3 || after == 5) << after;
    seen.insert(after);
    EXPECT_EQ(tasks_in(data), 3U);
    back_up();
    EXPECT_EQ(tasks_of(file), 3U);
  }
  EXPECT_EQ(seen.size(), 2U) << "some were killed before the swap, some after it";
}

}  // namespace
}  // namespace opscore
