#include "opscore/store/sqlite/database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace opscore::sqlite {
namespace {

constexpr int kPageSize = 4096;
constexpr int kWalHeader = 32;  // https://sqlite.org/fileformat2.html, section 4.1
constexpr int kFrameHeader = 24;
constexpr size_t kAmpleSpace = 256 << 20;

struct Words {
  Errc code;
  const char* advice;
};

Words words_for(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL:
      return {Errc::disk_low, "the disk is full: free some space"};
    case SQLITE_IOERR:
      return {Errc::unavailable, "reading or writing failed: check the disk and the system log"};
    case SQLITE_CORRUPT:
      return {Errc::corrupt,
              "the file is damaged: stop opscore, keep a copy, and restore a backup or try "
              "`sqlite3 FILE .recover`"};
    case SQLITE_NOTADB:
      return {Errc::corrupt, "this is not an SQLite database: check the path, or restore a backup"};
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return {Errc::unavailable,
              "it may not be written: check owner and permissions of the file "
              "and of its folder"};
    case SQLITE_CANTOPEN:
      return {Errc::unavailable,
              "it cannot be opened: check that the folder exists and that this "
              "user may read and write there"};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {Errc::unavailable, "another program holds a lock on it: close it"};
    case SQLITE_NOMEM:
      return {Errc::unavailable, "out of memory"};
    case SQLITE_TOOBIG:
      return {Errc::too_large, "a value is too large to be stored"};
    default:
      return {Errc::internal, "unexpected; please report it"};
  }
}

// A database in WAL mode can be read without its -shm file only where that can be made, or when the
// file is known not to change: nobody can have written to a folder without WAL since it was closed.
bool is_quiet(const std::string& path) {
  struct stat wal{};
  bool has_wal = ::stat((path + "-wal").c_str(), &wal) == 0 && wal.st_size > 0;
  struct stat shm{};
  bool has_shm = ::stat((path + "-shm").c_str(), &shm) == 0;
  return !has_wal && !has_shm;
}

std::string as_uri(const std::string& path, bool immutable) {
  std::string uri = "file:";
  for (char c : std::filesystem::absolute(path).string()) {
    if (c == '?' || c == '#' || c == '%')
      uri += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    else
      uri += c;
  }
  return uri + (immutable ? "?immutable=1" : "");
}

bool folder_writable(const std::string& path) {
  auto folder = std::filesystem::absolute(path).parent_path();
  return ::access(folder.c_str(), W_OK) == 0;
}

// SQLite counts every allocation under one mutex of the process unless told otherwise before its
// first use; the writer and the readers would meet there for every row.
void stop_memory_statistics() {
  static const int done = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  (void)done;  // SQLITE_MISUSE when somebody else was first, and then it only costs time
}

void extend(int file, off_t from, off_t to) {
  static constexpr char kZeros[64 * 1024] = {};
  while (from < to) {
    ssize_t wrote = ::pwrite(file, kZeros, std::min<size_t>(sizeof kZeros, to - from), from);
    if (wrote <= 0) return;
    from += wrote;
  }
  ::fdatasync(file);
}

int count_wal_pages(void* pages, sqlite3*, const char*, int count) {
  *static_cast<int*>(pages) = count;
  return SQLITE_OK;
}

}  // namespace

Connection::Connection(const std::string& path, OpenMode mode) : path_(path) {
  stop_memory_statistics();
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI | SQLITE_OPEN_EXRESCODE;
  bool creates = mode == OpenMode::create || mode == OpenMode::create_plain;
  flags |= creates                    ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
           : mode == OpenMode::reader ? SQLITE_OPEN_READWRITE
                                      : SQLITE_OPEN_READONLY;
  bool immutable = mode == OpenMode::frozen ||
                   (mode == OpenMode::read_only && is_quiet(path) && !folder_writable(path));
  int code = sqlite3_open_v2(as_uri(path, immutable).c_str(), &db_, flags, nullptr);
  try {
    if (code != SQLITE_OK) fail("open", code);
    configure(mode);
  } catch (const Error&) {
    sqlite3_close_v2(db_);
    throw;
  }
}

void Connection::configure(OpenMode mode) {
  sqlite3_busy_timeout(db_, 3000);
  if (mode == OpenMode::create) {
    execute("PRAGMA page_size=4096");
    execute(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16384;"
        "PRAGMA foreign_keys=OFF; PRAGMA journal_size_limit=33554432");
    sqlite3_wal_hook(db_, count_wal_pages, &wal_pages_);  // replaces the automatic checkpoint
  } else if (mode == OpenMode::create_plain) {
    execute("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF");
  } else {
    sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    execute("PRAGMA query_only=1; PRAGMA cache_size=-2048");
  }
}

Connection::~Connection() {
  sqlite3_close_v2(db_);
}

void Connection::fail(const char* doing, int code) const {
  auto [errc, advice] = words_for(code);
  const char* said = db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(code);
  throw Error(
      errc, fmt::format("{} in '{}': {} (SQLite: {}, code {})", doing, path_, advice, said, code));
}

void Connection::execute(const char* sql) {
  int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(sql, code);
}

int64_t Connection::pragma(const char* name) {
  std::string sql = fmt::format("PRAGMA {}", name);
  Statement statement(*this, sql.c_str());
  auto rows = statement.query();
  return rows.next() ? rows.integer(0) : 0;
}

int64_t Connection::changes() const {
  return sqlite3_changes64(db_);
}

void Connection::rollback() noexcept {
  // A failure here means that SQLite has rolled back already.
  if (sqlite3_get_autocommit(db_) == 0) sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
}

bool Connection::checkpoint(bool wait) {
  int in_wal = 0, copied = 0;
  int mode = wait ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE;
  if (wait) sqlite3_busy_timeout(db_, 100);
  int code = sqlite3_wal_checkpoint_v2(db_, nullptr, mode, &in_wal, &copied);
  if (wait) sqlite3_busy_timeout(db_, 3000);
  if ((code & 0xff) == SQLITE_BUSY) return false;
  if (code != SQLITE_OK) fail("checkpoint", code);
  if (copied == in_wal) wal_pages_ = 0;
  return copied == in_wal;
}

void Connection::reserve_wal(int pages) {
  wal_reserved_ = pages;  // also when it comes to nothing: it is not worth a second try
  int wal = ::open((path_ + "-wal").c_str(), O_WRONLY | O_CLOEXEC);
  if (wal < 0) return;
  struct stat file{};
  struct statvfs disk{};
  if (::fstat(wal, &file) == 0 && ::fstatvfs(wal, &disk) == 0 &&
      disk.f_bavail * disk.f_frsize >= kAmpleSpace)
    extend(wal, file.st_size, off_t{pages} * (kPageSize + kFrameHeader) + kWalHeader);
  ::close(wal);
}

Statement::~Statement() {
  sqlite3_finalize(stmt_);
}

void Statement::prepare() {
  if (stmt_ != nullptr) return;
  int code = sqlite3_prepare_v3(db_.raw(), sql_, -1, SQLITE_PREPARE_PERSISTENT, &stmt_, nullptr);
  if (code != SQLITE_OK) db_.fail(sql_, code);
}

bool Statement::step() {
  int code = sqlite3_step(stmt_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) db_.fail(sql_, code);
  return false;
}

void Statement::reset() {
  sqlite3_reset(stmt_);
}

void Statement::bind_integer(int index, int64_t value) {
  sqlite3_bind_int64(stmt_, index, value);
}
void Statement::bind_text(int index, std::string_view text) {
  // A view without bytes may have no address, which would bind NULL.
  const char* bytes = text.data() != nullptr ? text.data() : "";
  sqlite3_bind_text64(stmt_, index, bytes, text.size(), SQLITE_STATIC, SQLITE_UTF8);
}
void Statement::bind_blob(int index, std::string_view bytes) {
  const char* data = bytes.data() != nullptr ? bytes.data() : "";
  sqlite3_bind_blob64(stmt_, index, data, bytes.size(), SQLITE_STATIC);
}
void Statement::bind_null(int index) {
  sqlite3_bind_null(stmt_, index);
}

int64_t Statement::Rows::integer(int column) const {
  return sqlite3_column_int64(statement_.stmt_, column);
}
bool Statement::Rows::is_null(int column) const {
  return sqlite3_column_type(statement_.stmt_, column) == SQLITE_NULL;
}
std::string_view Statement::Rows::text(int column) const {
  const void* bytes = sqlite3_column_blob(statement_.stmt_, column);
  if (bytes == nullptr) return {};
  return {static_cast<const char*>(bytes),
          static_cast<size_t>(sqlite3_column_bytes(statement_.stmt_, column))};
}

ReadTransaction::~ReadTransaction() {
  // Cannot fail: a read transaction has nothing to write.
  sqlite3_exec(db_.raw(), "COMMIT", nullptr, nullptr, nullptr);
}

}  // namespace opscore::sqlite
