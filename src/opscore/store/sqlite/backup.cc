#include "opscore/store/sqlite/backup.h"

#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "opscore/model/job.h"
#include "opscore/model/state.h"
#include "opscore/store/sqlite/backup_file.h"
#include "opscore/store/sqlite/database.h"
#include "opscore/store/sqlite/schema.h"

namespace opscore {
namespace sqlite {
namespace {

constexpr int kStepPages = 256;           // 1 MiB between two looks at the progress
constexpr int64_t kSyncBytes = 16 << 20;  // so that no long queue of writes holds up others
constexpr double kCopyShare = 0.8;        // of the bar; the rest is checking

// Gone unless it was renamed.
struct Partial {
  std::string path;
  ~Partial() { remove_database(path); }
};

std::string mib(int64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

std::map<std::string, int64_t> count_tasks(Connection& db) {
  std::map<std::string, int64_t> tasks;
  for (int i = 0; i < kStateCount; ++i) tasks[std::string(to_string(static_cast<State>(i)))] = 0;
  Statement count(db,
                  "SELECT state, count(*) FROM live GROUP BY state UNION ALL "
                  "SELECT state, count(*) FROM outcomes GROUP BY state");
  auto rows = count.query();
  while (rows.next())
    tasks[std::string(to_string(static_cast<State>(rows.integer(0))))] += rows.integer(1);
  return tasks;
}

// One snapshot, however long it takes: the read transaction of `from` lasts over all steps.
void copy_database(Connection& from, const OpenFile& to, const BackupProgress& progress) {
  Connection target(to.path(), OpenMode::create_plain);
  sqlite3_backup* copy = sqlite3_backup_init(target.raw(), "main", from.raw(), "main");
  if (copy == nullptr) target.fail("copy the data file", sqlite3_errcode(target.raw()));
  int64_t unsynced = 0;
  int code = SQLITE_OK;
  while (code == SQLITE_OK) {
    code = sqlite3_backup_step(copy, kStepPages);
    int64_t pages = sqlite3_backup_pagecount(copy), left = sqlite3_backup_remaining(copy);
    if (pages > 0)
      progress(kCopyShare * static_cast<double>(pages - left) / static_cast<double>(pages),
               fmt::format("copied {} of {}", mib((pages - left) * 4096), mib(pages * 4096)));
    unsynced += int64_t{kStepPages} * 4096;
    if (unsynced < kSyncBytes) continue;
    unsynced = 0;
    to.sync();
  }
  int finished = sqlite3_backup_finish(copy);
  if (code != SQLITE_DONE) target.fail("copy the data file", code);
  if (finished != SQLITE_OK) target.fail("copy the data file", finished);
}

void check_target(const BackupOptions& options) {
  const std::string& file = options.file;
  for (const char* suffix : {"", "-wal", "-shm", ".lock"})
    if (same_file(file, options.data_file + suffix))
      throw Error(
          Errc::conflict,
          fmt::format("back up to '{}': that is the data file itself; choose another name", file));
  struct stat info{};
  if (::stat(file.c_str(), &info) != 0) return;
  if (!S_ISREG(info.st_mode))
    throw Error(
        Errc::conflict,
        fmt::format("back up to '{}': it is not a file; name one, such as {}/opscore.backup", file,
                    file));
  if (info.st_size == 0) return;
  try {
    read_backup(file);
  } catch (const Error&) {
    throw Error(Errc::conflict,
                fmt::format("back up to '{}': it exists and is not a backup, so it is not "
                            "overwritten; choose another name, or delete it",
                            file));
  }
}

int64_t space_for(const BackupOptions& options, const std::string& target, int64_t bytes) {
  struct stat data{}, folder{};
  auto parent = std::filesystem::absolute(target).parent_path();
  bool shares = ::stat(options.data_file.c_str(), &data) == 0 &&
                ::stat(parent.c_str(), &folder) == 0 && data.st_dev == folder.st_dev;
  return bytes + kBackupBlock + (shares ? options.disk_reserve_bytes : 0);
}

BackupFacts describe(const std::string& path, const BackupOptions& options) {
  Connection db(path, OpenMode::frozen);
  BackupFacts facts;
  facts.version = options.version;
  facts.made_at = options.now;
  facts.schema = db.pragma("user_version");
  facts.identity = load_identity(db).name;
  facts.bytes = db.pragma("page_count") * db.pragma("page_size");
  facts.tasks = count_tasks(db);
  return facts;
}

std::string tasks_text(const std::map<std::string, int64_t>& tasks) {
  std::string text;
  for (const auto& [state, count] : tasks)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, state);
  return text;
}

void check_contents(const std::string& path, const std::string& file, const BackupFacts& facts) {
  Connection db(path, OpenMode::frozen);
  checked_version(db);
  Statement check(db, "PRAGMA integrity_check(1)");
  auto rows = check.query();
  if (!rows.next() || rows.text(0) != "ok")
    throw Error(Errc::corrupt,
                fmt::format("'{}' is damaged: {}; use another backup", file, rows.text(0)));
  auto tasks = count_tasks(db);
  if (tasks != facts.tasks)
    throw Error(Errc::corrupt,
                fmt::format("'{}' is damaged: it should have {} and has {}; use another backup",
                            file, tasks_text(facts.tasks), tasks_text(tasks)));
}

// What was under way when the backup was made is not taken up again behind the operator's back.
int64_t stop_jobs(const std::string& path, TimePoint now) {
  Connection db(path, OpenMode::create);
  Statement has_jobs(db, "SELECT 1 FROM sqlite_master WHERE name = 'jobs'");
  if (auto rows = has_jobs.query(); !rows.next()) return 0;
  Statement stop(db, "UPDATE jobs SET state = ?, ended = ?, error = ? WHERE ended IS NULL");
  int64_t stopped = stop.run(JobState::stopped, now,
                             "a backup was restored while it was under way; start it again if it "
                             "is still wanted");
  db.checkpoint(true);
  return stopped;
}

// The data file with everything that is in its WAL. False when it is damaged.
bool fold_wal(const std::string& path) {
  try {
    Connection db(path, OpenMode::create);
    if (!is_ours(db) && db.pragma("page_count") > 0)
      throw Error(Errc::invalid,
                  fmt::format("restore to '{}': it is an SQLite database of another program; "
                              "choose another path. Nothing was changed",
                              path));
    if (!db.checkpoint(true))
      throw Error(Errc::unavailable,
                  fmt::format("restore to '{}': another program reads it; close it and try again. "
                              "Nothing was changed",
                              path));
    return true;
  } catch (const Error& error) {
    if (error.code() != Errc::corrupt) throw;
    return false;
  }
}

void link_or_fail(const std::string& from, const std::string& to) {
  if (::link(from.c_str(), to.c_str()) == 0) return;
  throw Error(Errc::unavailable,
              fmt::format("keep '{}' as '{}': {}; move it away yourself and try again. Nothing was "
                          "changed",
                          from, to, std::generic_category().message(errno)));
}

// Gives the data file a second name. Its own stays until the rename that replaces it.
std::string keep_old(const std::string& path, TimePoint now) {
  if (!std::filesystem::exists(path)) return {};
  auto folder = std::filesystem::absolute(path).parent_path();
  // Of a run that was killed between here and the rename.
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().string().find(".before-restore-") != std::string::npos &&
        same_file(entry.path().string(), path))
      std::filesystem::remove(entry.path());
  std::string kept = fmt::format("{}.before-restore-{}", path, to_ms(now));
  bool healthy = fold_wal(path);
  link_or_fail(path, kept);
  if (!healthy && std::filesystem::exists(path + "-wal"))
    link_or_fail(path + "-wal", kept + "-wal");
  // They belong to the old file: beside the new one they would be taken for its own.
  for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(path + suffix);
  sync_folder_of(path);
  return kept;
}

}  // namespace
}  // namespace sqlite

BackupFacts read_backup(const std::string& file) {
  using namespace sqlite;
  OpenFile open = OpenFile::reading(file);
  int64_t bytes = open.bytes();
  std::string block;
  if (bytes >= kBackupBlock) block = open.read(bytes - kBackupBlock, kBackupBlock);
  BackupFacts facts = decode_block(file, block);
  if (facts.bytes + kBackupBlock != bytes)
    throw Error(Errc::corrupt, fmt::format("'{}' is damaged: it has {} bytes and should have {}; "
                                           "use another backup",
                                           file, bytes, facts.bytes + kBackupBlock));
  return facts;
}

BackupFacts make_backup(const BackupOptions& options) {
  using namespace sqlite;
  check_file(options.data_file, true);
  check_target(options);
  Connection data(options.data_file, OpenMode::read_only);
  if (checked_version(data) == 0)
    throw Error(Errc::invalid, fmt::format("back up '{}': there is nothing in it yet; start "
                                           "`opscore up` on it first",
                                           options.data_file));
  ReadTransaction snapshot(data);
  int64_t bytes = data.pragma("page_count") * data.pragma("page_size");
  std::string path = options.file + ".partial";
  check_space(path, space_for(options, path, bytes));
  OpenFile out = OpenFile::writing(path);
  Partial partial{path};
  copy_database(data, out, options.progress);
  out.sync();
  options.progress(kCopyShare, "reading it back");
  BackupFacts facts = describe(path, options);
  facts.sha256 = hash_file(out, facts.bytes, nullptr, [&](int64_t done) {
    options.progress(kCopyShare + (1 - kCopyShare) * static_cast<double>(done) /
                                      static_cast<double>(facts.bytes),
                     fmt::format("read back {} of {}", mib(done), mib(facts.bytes)));
  });
  out.write(facts.bytes, encode_block(facts));
  out.sync();
  put_in_place(path, options.file);
  return facts;
}

Restored restore_backup(const BackupOptions& options) {
  using namespace sqlite;
  Restored restored;
  restored.facts = read_backup(options.file);
  const BackupFacts& facts = restored.facts;
  if (facts.schema > schema_version())
    throw Error(Errc::invalid,
                fmt::format("'{}' was made by a newer opscore ({}, schema {}; this one knows up to "
                            "{}); use that version or a later one. Nothing was changed",
                            options.file, facts.version, facts.schema, schema_version()));
  if (same_file(options.file, options.data_file))
    throw Error(Errc::conflict,
                fmt::format("restore '{}': that is the data file itself", options.file));
  std::string path = options.data_file + ".restoring";
  remove_database(path);
  check_space(path, space_for(options, path, facts.bytes));
  Partial partial{path};
  {
    OpenFile from = OpenFile::reading(options.file), to = OpenFile::writing(path);
    std::string sha256 = hash_file(from, facts.bytes, &to, [&](int64_t done) {
      options.progress(kCopyShare * static_cast<double>(done) / static_cast<double>(facts.bytes),
                       fmt::format("copied {} of {}", mib(done), mib(facts.bytes)));
    });
    if (sha256 != facts.sha256)
      throw Error(Errc::corrupt, fmt::format("'{}' is damaged: its checksum is {} and should be "
                                             "{}; use another backup. Nothing was changed",
                                             options.file, sha256, facts.sha256));
    to.sync();
  }
  options.progress(kCopyShare, "checking the database");
  check_contents(path, options.file, facts);
  restored.jobs_stopped = stop_jobs(path, options.now);
  OpenFile::reading(path).sync();
  restored.kept = keep_old(options.data_file, options.now);
  put_in_place(path, options.data_file);
  options.progress(1, "restored");
  return restored;
}

}  // namespace opscore
