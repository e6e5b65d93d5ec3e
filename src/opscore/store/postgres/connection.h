#pragma once
// One connection to PostgreSQL, always in pipeline mode: statements are queued, and sent and
// answered together. Not thread-safe; whoever holds it uses it. Nothing here ever blocks longer
// than the timeout: what does not answer in time is closed and reported as lost.

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "opscore/base/error.h"
#include "opscore/base/time.h"
#include "opscore/store/postgres/parameters.h"

struct pg_conn;
struct pg_result;

namespace opscore::postgres {

// One SQL statement with its name as a prepared one. Constants of static lifetime.
struct Statement {
  const char* name;
  const char* sql;
};

inline constexpr const char* kLockTimeout = "55P03";  // a state of Failure

// What the database refused, or that it went away.
class Failure : public Error {
 public:
  enum class Kind : uint8_t {
    lost,      // the connection is gone; whether a commit that was sent happened is unknown
    conflict,  // deadlock or serialisation: nothing happened, try again
    refused,   // the statement itself is at fault
  };
  Failure(Kind kind, Errc code, const std::string& message, std::string state = {})
      : Error(code, message), kind_(kind), state_(std::move(state)) {}
  Kind kind() const { return kind_; }
  const std::string& state() const { return state_; }  // SQLSTATE
  Failure with_context(std::string_view what_was_attempted) const {
    return {kind_, code(), std::string(what_was_attempted) + ": " + what(), state_};
  }

 private:
  Kind kind_;
  std::string state_;
};

// Of several things that were wanted together one may be at fault, and the others may do alone.
bool may_concern_one(const Error& error);
// What one of them is told whose turn to be tried alone does not come in time.
Error no_time_to_try(const Error& together);

// The rows that a statement answered with.
class Rows {
 public:
  explicit Rows(pg_result* result);
  int size() const { return size_; }
  int affected() const;
  bool is_null(int row, int column) const;
  int64_t integer(int row, int column) const;  // 0 when null; a boolean is 0 or 1
  std::string_view text(int row, int column) const;
  TimePoint time(int row, int column) const { return from_ms(integer(row, column)); }
  std::optional<TimePoint> optional_time(int row, int column) const;

 private:
  std::shared_ptr<pg_result> result_;
  int size_ = 0;
};

struct ConnectOptions {
  std::string url;     // as libpq reads it
  std::string schema;  // becomes the search path
  bool prepared = true;
  Duration timeout{3000};
  Duration lock_timeout{0};  // 0: none but the timeout
};

class Connection {
 public:
  // Throws Failure{lost} when there is none by the deadline, Error{invalid} when the URL or the
  // credentials are wrong.
  Connection(const ConnectOptions& options, Deadline deadline);
  ~Connection();
  Connection(const Connection&) = delete;

  // Queues a statement; its rows are at the returned index once flush() or sync() has returned.
  size_t send(const Statement& statement, const Parameters& parameters = {});
  // Sends what is queued and receives every answer. Throws Failure; after `refused` and `conflict`
  // the connection accepts nothing but rollback().
  void flush();
  // The same, and ends the implicit transaction of statements outside BEGIN and COMMIT.
  void sync();
  const Rows& rows(size_t index) const { return rows_.at(index); }
  // Forgets rows; indices start from 0 again.
  void clear() { rows_.clear(); }
  void rollback();
  // After BEGIN: what a session behind a pooler cannot keep.
  void set_up_transaction();
  // Gives the connection up, and with it the open transaction.
  void abandon() { lost_ = true; }

  // send, sync, and the rows: for what stands alone.
  Rows query(const Statement& statement, const Parameters& parameters = {});
  // Statements separated by semicolons, without parameters.
  void execute(const std::string& sql);
  // As the first of them: BEGIN, and that it is about this schema.
  std::string begin() const;

  // Waits until the server says something, `wake_fd` is readable, or the deadline passes.
  void wait_for_news(int wake_fd, Deadline deadline);
  struct Notification {
    int process;
    std::string payload;
  };
  std::vector<Notification> notifications();

  bool usable() const;
  // Nothing is queued and no transaction is open.
  bool idle() const;
  int server_version() const;
  bool prepared() const { return options_.prepared; }

 private:
  struct Expected {
    enum class Kind : uint8_t { prepare, rows, sync } kind;
    const Statement* statement;
  };
  void connect(Deadline deadline);
  void set_up();
  Parameters set_up_parameters(bool local) const;
  struct Failed;
  void receive();
  void collect(Failed& failed);
  void wait(short events, Deadline deadline, int extra_fd = -1);
  pg_result* next_result(Deadline deadline);
  // With the SQLSTATE when it is the server that says why.
  [[noreturn]] void lose(const std::string& why, const std::string& state = {});
  [[noreturn]] void fail(const std::string& sql, pg_result* result);

  const ConnectOptions options_;
  pg_conn* connection_ = nullptr;
  std::vector<Expected> expected_;
  std::vector<Rows> rows_;
  std::set<const Statement*> known_;  // prepared, or about to be
  bool lost_ = false;
};

}  // namespace opscore::postgres
