#pragma once
// A thin ownership layer over SQLite's C interface: connections, prepared statements, rows. Every
// failure becomes an Error that names the file. A Connection and its Statements belong to one
// thread at a time; nothing here locks.

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "opscore/base/error.h"
#include "opscore/base/time.h"

struct sqlite3;
struct sqlite3_stmt;

namespace opscore::sqlite {

enum class OpenMode {
  create,        // read and write; made when absent
  reader,        // reads next to a writer of this process
  read_only,     // never writes a byte, also when no writer is there
  frozen,        // the same, of a file that nobody writes, with what is in the file alone
  create_plain,  // read and write; made when absent; a bare file, not safe against a crash
};

class Connection {
 public:
  // Throws Error: unavailable (cannot be opened), corrupt (not a database).
  Connection(const std::string& path, OpenMode mode);
  ~Connection();
  Connection(const Connection&) = delete;

  // Statements without parameters or rows, separated by semicolons.
  void execute(const char* sql);
  int64_t pragma(const char* name);
  // Rows that the last finished INSERT, UPDATE or DELETE touched.
  int64_t changes() const;
  // Ends the transaction, if there is one, whatever state it is in.
  void rollback() noexcept;
  // Pages in the WAL after the last commit of this connection.
  int wal_pages() const { return wal_pages_; }
  // Copies the WAL into the database, after which it is written again from its beginning. `wait`
  // is for readers (bounded). False when one was in the way.
  bool checkpoint(bool wait);
  // Makes the WAL file this long ahead of its use: a commit then overwrites blocks that the file
  // has, which is faster to sync than growing it (0.32 against 0.47 ms at 50 commits a second).
  // SQLite ignores what is behind its last valid frame. Without ample space it does nothing.
  void reserve_wal(int pages);
  int wal_reserved_pages() const { return wal_reserved_; }
  const std::string& path() const { return path_; }
  sqlite3* raw() { return db_; }
  [[noreturn]] void fail(const char* doing, int code) const;

 private:
  void configure(OpenMode mode);

  const std::string path_;
  sqlite3* db_ = nullptr;
  int wal_pages_ = 0;
  int wal_reserved_ = 0;
};

// Empty text as NULL.
inline std::optional<std::string_view> or_null(std::string_view text) {
  return text.empty() ? std::nullopt : std::optional(text);
}
// The zero time as NULL.
inline std::optional<int64_t> or_null(TimePoint at) {
  return at == TimePoint{} ? std::nullopt : std::optional(to_ms(at));
}
inline std::optional<int64_t> or_null(std::optional<TimePoint> at) {
  return at ? std::optional(to_ms(*at)) : std::nullopt;
}
struct Blob {
  std::string_view bytes;
};

// One SQL statement, prepared when first used and then kept.
class Statement {
 public:
  Statement(Connection& db, const char* sql) : db_(db), sql_(sql) {}
  ~Statement();
  Statement(const Statement&) = delete;

  // Rows of one execution; resets the statement when it goes. Texts live until the next step.
  class Rows {
   public:
    explicit Rows(Statement& statement) : statement_(statement) {}
    ~Rows() { statement_.reset(); }
    Rows(const Rows&) = delete;

    bool next() { return statement_.step(); }
    int64_t integer(int column) const;
    bool is_null(int column) const;
    std::optional<int64_t> optional_integer(int column) const {
      return is_null(column) ? std::nullopt : std::optional(integer(column));
    }
    std::string_view text(int column) const;  // also for blobs; empty for NULL
    TimePoint time(int column) const { return from_ms(integer(column)); }
    std::optional<TimePoint> optional_time(int column) const {
      return is_null(column) ? std::nullopt : std::optional(time(column));
    }

   private:
    Statement& statement_;
  };

  // Parameters in order. Bound texts must live until the rows are gone.
  template <class... Args>
  [[nodiscard]] Rows query(const Args&... args) {
    prepare();
    int index = 0;
    (bind(++index, args), ...);
    return Rows(*this);
  }
  // Runs to the end and answers how many rows were touched.
  template <class... Args>
  int64_t run(const Args&... args) {
    auto rows = query(args...);
    while (rows.next()) {
    }
    return db_.changes();
  }

 private:
  void prepare();
  bool step();
  void reset();
  void bind_integer(int index, int64_t value);
  void bind_text(int index, std::string_view text);
  void bind_blob(int index, std::string_view bytes);
  void bind_null(int index);

  template <class T>
    requires std::integral<T> || std::is_enum_v<T>
  void bind(int index, T value) {
    bind_integer(index, static_cast<int64_t>(value));
  }
  void bind(int index, TimePoint at) { bind_integer(index, to_ms(at)); }
  void bind(int index, std::string_view text) { bind_text(index, text); }
  void bind(int index, Blob blob) { bind_blob(index, blob.bytes); }
  void bind(int index, std::nullptr_t) { bind_null(index); }
  template <class T>
  void bind(int index, const std::optional<T>& value) {
    if (value)
      bind(index, *value);
    else
      bind_null(index);
  }

  Connection& db_;
  const char* sql_;
  sqlite3_stmt* stmt_ = nullptr;
};

// A consistent view for several reads.
class ReadTransaction {
 public:
  explicit ReadTransaction(Connection& db) : db_(db) { db_.execute("BEGIN"); }
  ~ReadTransaction();
  ReadTransaction(const ReadTransaction&) = delete;

 private:
  Connection& db_;
};

}  // namespace opscore::sqlite
