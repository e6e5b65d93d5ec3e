#include "opscore/store/sqlite/schema.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <system_error>

#include "opscore/store/sqlite/sqlite_store.h"

namespace opscore::sqlite {
namespace {

constexpr int kApplicationId = 0x6f707363;  // "opsc"

// key: 43 bits of unix ms | 12 bits of sequence | 8 bits of node. Times are unix ms. A lane is one
// pair of queue and type, so that rows carry one small number for both. States are model/state.h's.
constexpr const char* kMigrations[] = {
    R"sql(
CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE lanes(lane INTEGER PRIMARY KEY, queue TEXT NOT NULL, type TEXT NOT NULL,
  UNIQUE(queue, type)) STRICT;

-- Written once.
CREATE TABLE tasks(
  key INTEGER PRIMARY KEY, lane INTEGER NOT NULL, priority INTEGER NOT NULL,
  run_at INTEGER,                       -- NULL: at once
  max_attempts INTEGER NOT NULL, input TEXT NOT NULL, options TEXT) STRICT;

-- One row for each unfinished task.
CREATE TABLE live(
  key INTEGER PRIMARY KEY, state INTEGER NOT NULL, lane INTEGER NOT NULL,
  priority INTEGER NOT NULL, run_at INTEGER NOT NULL, attempt INTEGER NOT NULL,
  session INTEGER, claimed INTEGER, started INTEGER,
  charged INTEGER NOT NULL, budget INTEGER NOT NULL, snoozes INTEGER NOT NULL,
  losses INTEGER NOT NULL, deaths INTEGER NOT NULL, suspect INTEGER NOT NULL,
  cancel_requested INTEGER NOT NULL, edits INTEGER NOT NULL,
  deadline INTEGER, progress TEXT) STRICT;
-- Claims leave the deadline alone, so the index costs them nothing.
CREATE INDEX live_deadline ON live(deadline) WHERE deadline IS NOT NULL;

-- One row for each finished task, with its last attempt: ended is NULL when none was running.
CREATE TABLE outcomes(
  key INTEGER PRIMARY KEY, state INTEGER NOT NULL, attempt INTEGER NOT NULL,
  charged INTEGER NOT NULL, edits INTEGER NOT NULL, ended INTEGER, ended_charged INTEGER,
  session INTEGER, claimed INTEGER, started INTEGER, finished INTEGER NOT NULL,
  result TEXT, error TEXT) STRICT;
CREATE INDEX outcomes_not_completed ON outcomes(key) WHERE state <> 4;

-- Ended attempts but for the last one of a finished task.
CREATE TABLE attempts(
  key INTEGER NOT NULL, attempt INTEGER NOT NULL, ended INTEGER NOT NULL,
  charged INTEGER NOT NULL, session INTEGER, claimed INTEGER, started INTEGER,
  finished INTEGER NOT NULL, error TEXT, PRIMARY KEY(key, attempt)) STRICT, WITHOUT ROWID;
CREATE TABLE events(
  key INTEGER NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
  attempt INTEGER NOT NULL, data TEXT, PRIMARY KEY(key, number)) STRICT, WITHOUT ROWID;
CREATE TABLE steps(
  key INTEGER NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
  request TEXT NOT NULL, response TEXT NOT NULL, attempt INTEGER NOT NULL, at INTEGER NOT NULL,
  took INTEGER NOT NULL, PRIMARY KEY(key, number)) STRICT, WITHOUT ROWID;
-- Edited inputs; the submitted one is in tasks.
CREATE TABLE inputs(
  key INTEGER NOT NULL, edit INTEGER NOT NULL, input TEXT NOT NULL,
  PRIMARY KEY(key, edit)) STRICT, WITHOUT ROWID;
-- Foreign messages that became tasks, as raw bytes.
CREATE TABLE origins(key INTEGER PRIMARY KEY, message_id TEXT NOT NULL, body BLOB NOT NULL) STRICT;

CREATE TABLE keys(
  kind INTEGER NOT NULL, scope TEXT NOT NULL, key TEXT NOT NULL, task INTEGER NOT NULL,
  hash BLOB NOT NULL, PRIMARY KEY(kind, scope, key)) STRICT, WITHOUT ROWID;
CREATE INDEX keys_task ON keys(task);

CREATE TABLE queues(queue TEXT PRIMARY KEY, paused INTEGER NOT NULL) STRICT, WITHOUT ROWID;
-- How many finished tasks there are. Unfinished ones are counted when the file is opened.
CREATE TABLE counters(
  queue TEXT PRIMARY KEY, completed INTEGER NOT NULL, failed INTEGER NOT NULL,
  cancelled INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE sessions(
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, context TEXT NOT NULL,
  started INTEGER NOT NULL, renewed INTEGER NOT NULL, renewals INTEGER NOT NULL, ended INTEGER,
  last_words TEXT, report TEXT) STRICT;
CREATE TABLE commands(
  id INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL, command TEXT NOT NULL) STRICT;
CREATE TABLE catalogue(
  type TEXT PRIMARY KEY, seen INTEGER NOT NULL, entry TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE outbox(
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, destination TEXT NOT NULL,
  body BLOB NOT NULL, properties TEXT NOT NULL, not_before INTEGER NOT NULL) STRICT;

-- For people with a shell. The program itself asks the tables, which can use their indexes.
CREATE VIEW task AS
SELECT t.key, q.queue, q.type,
  CASE coalesce(o.state, l.state) WHEN 0 THEN 'scheduled' WHEN 1 THEN 'waiting'
    WHEN 2 THEN 'pending' WHEN 3 THEN 'running' WHEN 4 THEN 'completed' WHEN 5 THEN 'failed'
    WHEN 6 THEN 'cancelled' END AS state,
  t.priority, coalesce(o.attempt, l.attempt) AS attempt,
  datetime((t.key >> 20) / 1000, 'unixepoch') AS created_at,
  datetime(o.finished / 1000, 'unixepoch') AS finished_at,
  t.input, o.result, o.error, t.options
FROM tasks t JOIN lanes q USING(lane) LEFT JOIN live l USING(key) LEFT JOIN outcomes o USING(key);
)sql",
    R"sql(
-- Bulk jobs: one action on all tasks that a filter matches, from cursor to bound.
CREATE TABLE jobs(
  id INTEGER PRIMARY KEY AUTOINCREMENT, action INTEGER NOT NULL, filter TEXT NOT NULL,
  state INTEGER NOT NULL, origin INTEGER NOT NULL, bound INTEGER NOT NULL,
  cursor INTEGER NOT NULL, examined INTEGER NOT NULL, matched INTEGER NOT NULL,
  done INTEGER NOT NULL, skipped TEXT, bytes INTEGER NOT NULL,
  created INTEGER NOT NULL, started INTEGER, ended INTEGER,
  error TEXT) STRICT;
CREATE INDEX jobs_unfinished ON jobs(id) WHERE ended IS NULL;
)sql",
    // What is due of one kind, however much of another waits.
    "CREATE INDEX outbox_due ON outbox(kind, not_before);",
    R"sql(
-- NULL: not set; 9223372036854775807: no limit.
CREATE TABLE queue_limits(
  queue TEXT NOT NULL, chosen INTEGER NOT NULL,  -- 0: by the configuration, 1: while running
  max_pending INTEGER, concurrency INTEGER, max_input_bytes INTEGER,
  PRIMARY KEY(queue, chosen)) STRICT, WITHOUT ROWID;
CREATE TABLE actor_limits(
  type TEXT PRIMARY KEY, concurrency INTEGER NOT NULL) STRICT, WITHOUT ROWID;
)sql",
    R"sql(
-- Of a task that is run outside: until when nobody doubts that it is in good hands. No claim takes
-- such a row, so these indexes cost the others nothing.
ALTER TABLE live ADD COLUMN external INTEGER;
CREATE INDEX live_external ON live(external) WHERE external IS NOT NULL;
CREATE INDEX live_external_later ON live(run_at) WHERE external IS NOT NULL AND state = 0;
)sql",
    R"sql(
-- Where each session runs, in full. Beside their rows, which are written with every renewal.
CREATE TABLE contexts(session INTEGER PRIMARY KEY, context TEXT NOT NULL) STRICT;
)sql",
};

[[noreturn]] void refuse(Errc code, const std::string& path, const std::string& why) {
  throw Error(code, fmt::format("open data file '{}': {}", path, why));
}

void check_folder(const std::string& path) {
  auto folder = std::filesystem::absolute(path).parent_path();
  struct stat info{};
  if (::stat(folder.c_str(), &info) != 0)
    refuse(Errc::unavailable, path,
           fmt::format("the folder '{}' cannot be reached ({}); create it, or choose another path",
                       folder.string(), std::generic_category().message(errno)));
  if (!S_ISDIR(info.st_mode))
    refuse(Errc::unavailable, path, fmt::format("'{}' is not a folder", folder.string()));
  if (::access(folder.c_str(), W_OK) != 0)
    refuse(Errc::unavailable, path,
           fmt::format("the folder '{}' may not be written by this user ({}); change its "
                       "permissions, or choose another path",
                       folder.string(), std::generic_category().message(errno)));
}

uint32_t big_endian(const unsigned char* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

// The header promises a number of pages. With a WAL the rest may still be there, so only a file
// without one is held to it.
void check_header(const std::string& path, int fd) {
  unsigned char header[100];
  ssize_t got = ::pread(fd, header, sizeof header, 0);
  if (got == 0) return;  // just made, nothing in it yet
  if (got < 0) refuse(Errc::unavailable, path, std::generic_category().message(errno));
  if (got < static_cast<ssize_t>(sizeof header) || std::memcmp(header, "SQLite format 3", 16) != 0)
    refuse(Errc::corrupt, path,
           "this is not an SQLite database; check the path, or move the file away and restore a "
           "backup");
  struct stat file{}, wal{};
  if (::fstat(fd, &file) != 0)
    refuse(Errc::unavailable, path, std::generic_category().message(errno));
  bool has_wal = ::stat((path + "-wal").c_str(), &wal) == 0 && wal.st_size > 0;
  uint32_t page = uint32_t{header[16]} << 8 | header[17];
  if (page == 1) page = 65536;
  int64_t promised = int64_t{page} * big_endian(header + 28);
  if (!has_wal && file.st_size < promised)
    refuse(Errc::corrupt, path,
           fmt::format("the file is cut short: {} bytes of {}; restore a backup, or try `sqlite3 "
                       "FILE .recover` on a copy",
                       static_cast<int64_t>(file.st_size), promised));
}

[[noreturn]] void refuse_version(Connection& db, int64_t version) {
  refuse(Errc::invalid, db.path(),
         fmt::format("it was written by a newer opscore (schema {}, this one knows up to {}); use "
                     "that version or a later one. Nothing was changed",
                     version, schema_version()));
}

void make_identity(Connection& db, Random& random) {
  std::string secret, name;
  for (int i = 0; i < 2; ++i) {
    uint64_t word = random.next();
    secret.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  uint64_t word = random.next();
  name = to_hex({reinterpret_cast<const char*>(&word), sizeof word});
  Statement put(db, "INSERT INTO meta(name, value) VALUES(?, ?)");
  put.run("identity", Blob{name});
  put.run("id_secret", Blob{secret});
}

std::string load_meta(Connection& db, std::string_view name) {
  Statement get(db, "SELECT value FROM meta WHERE name = ?");
  auto rows = get.query(name);
  if (!rows.next())
    refuse(Errc::corrupt, db.path(), fmt::format("its '{}' is missing; restore a backup", name));
  return std::string(rows.text(0));
}

}  // namespace

bool is_ours(Connection& db) {
  return db.pragma("application_id") == kApplicationId;
}

int64_t checked_version(Connection& db) {
  int64_t version = db.pragma("user_version");
  if (!is_ours(db)) {
    Statement tables(db, "SELECT count(*) FROM sqlite_master");
    auto rows = tables.query();
    rows.next();
    if (version != 0 || rows.integer(0) != 0)
      refuse(Errc::invalid, db.path(),
             "it is an SQLite database of another program; choose another path. Nothing was "
             "changed");
  }
  if (version > schema_version()) refuse_version(db, version);
  return version;
}

int schema_version() {
  return static_cast<int>(std::size(kMigrations));
}

void check_file(const std::string& path, bool must_exist) {
  if (!must_exist) check_folder(path);
  int fd = ::open(path.c_str(), (must_exist ? O_RDONLY : O_RDWR) | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT && !must_exist) return;
  if (fd < 0)
    refuse(Errc::unavailable, path,
           fmt::format("{}; {}", std::generic_category().message(errno),
                       errno == ENOENT ? "check the path, or start `opscore up` once to make it"
                                       : "check that it is a file which this user may read and "
                                         "write"));
  try {
    check_header(path, fd);
  } catch (const Error&) {
    ::close(fd);
    throw;
  }
  ::close(fd);
}

void apply_migrations(Connection& db, Random& random) {
  for (int64_t version = checked_version(db); version < schema_version(); ++version) {
    db.execute("BEGIN IMMEDIATE");
    try {
      db.execute(kMigrations[version]);
      if (version == 0) {
        make_identity(db, random);
        db.execute(fmt::format("PRAGMA application_id={}", kApplicationId).c_str());
      }
      db.execute(fmt::format("PRAGMA user_version={}", version + 1).c_str());
      db.execute("COMMIT");
    } catch (const Error& error) {
      db.rollback();
      throw error.with_context(fmt::format("migration {}", version + 1));
    }
  }
}

void check_schema(Connection& db) {
  int64_t version = checked_version(db);
  if (version < schema_version())
    refuse(Errc::invalid, db.path(),
           fmt::format("its schema is {}, this opscore reads {}; run `opscore migrate` or start "
                       "`opscore up` on it first",
                       version, schema_version()));
}

Identity load_identity(Connection& db) {
  Identity identity;
  identity.name = load_meta(db, "identity");
  std::string secret = load_meta(db, "id_secret");
  if (secret.size() != sizeof identity.secret)
    refuse(Errc::corrupt, db.path(), "its id secret has a wrong size; restore a backup");
  std::memcpy(identity.secret.data(), secret.data(), secret.size());
  return identity;
}

}  // namespace opscore::sqlite

namespace opscore {

MigrationStatus sqlite_migration_status(const std::string& path) {
  using namespace sqlite;
  MigrationStatus status{0, schema_version(), {}};
  if (::access(path.c_str(), F_OK) == 0) {
    check_file(path, true);
    Connection db(path, OpenMode::reader);
    status.version = static_cast<int>(checked_version(db));
  }
  for (int version = status.version; version < status.known; ++version)
    status.pending.push_back({version + 1, fmt::format("{:04}", version + 1),
                              fmt::format("BEGIN IMMEDIATE;\n{}\nPRAGMA user_version={};\nCOMMIT;",
                                          kMigrations[version], version + 1)});
  return status;
}

}  // namespace opscore
