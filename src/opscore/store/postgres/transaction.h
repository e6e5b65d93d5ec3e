#pragma once
// One write transaction, and what it tells the world when it commits: outbox rows, counters, and
// the notification that other processes listen to. Used by one thread, for one attempt.

#include <map>
#include <string>

#include "opscore/model/plan.h"
#include "opscore/store/postgres/connection.h"
#include "opscore/store/postgres/feed.h"

namespace opscore::postgres {

// Under which number a transaction notes its commit.
struct Mark {
  int64_t writer = 0;
  int64_t number = 0;
};

struct TransactionOptions {
  std::string schema;
  std::string origin;  // of this process, in notifications
};

class Transaction {
 public:
  Transaction(Connection& connection, Mark mark, const TransactionOptions& options, TimePoint now,
              bool again)
      : connection_(connection), mark_(mark), options_(options), now_(now), again_(again) {}
  // Ends the connection unless the transaction was committed or rolled back.
  ~Transaction();
  Transaction(const Transaction&) = delete;

  // The moment for which everything in it is decided.
  TimePoint now() const { return now_; }
  // The same work was tried before, and lost a race.
  bool again() const { return again_; }
  // Before the first send(): for what is to stay whatever becomes of the transaction.
  Connection& outside() { return connection_; }

  size_t send(const Statement& statement, const Parameters& parameters = {});
  void flush() { connection_.flush(); }
  const Rows& rows(size_t index) const { return connection_.rows(index); }
  Rows query(const Statement& statement, const Parameters& parameters = {});

  // A task of the queue became this, and stands at `place` there.
  void note_queue(const std::string& queue, const Live& live, int64_t place);
  // Tasks that were due before can be claimed now.
  void note_due(const std::string& queue, size_t due) { due_[queue] += due; }
  // A queue with a limit may have room.
  void note_room(const std::string& queue) { due_[queue]; }
  void note_task(TaskKey key) { effects_.change.tasks.push_back(key); }
  void note_session(SessionId session) { effects_.change.sessions.push_back(session); }
  // Finished tasks of the queue became more or fewer; other states are not counted here.
  void count(const std::string& queue, State state, int64_t by);
  void post(OutboxRow row) { outbox_.push_back(std::move(row)); }

  // Throws Failure{lost} with commit_sent() when nobody knows whether it happened. Work that wants
  // everything in one round trip commits by itself and reads the rows of its statements afterwards.
  void commit();
  // For work with a statement that makes the mark, which then says whether it did.
  const Mark& mark() const { return mark_; }
  void mark_by_statement() { marks_itself_ = true; }
  void set_marked(bool marked) { marked_ = marked; }
  bool marked() const { return marked_; }
  void rollback();
  // Undoes what was done so far; it can be used again as if it were new.
  void rollback_to_start();
  // The connection is gone, and so is the transaction, unless it was committed.
  void forget_connection() { lost_ = true; }
  bool commit_sent() const { return commit_sent_; }
  // What happened, once it has.
  Effects take_effects() { return std::move(effects_); }

 private:
  struct Counts {
    int64_t completed = 0, failed = 0, cancelled = 0;
  };
  void send_effects();
  void send_tokens();
  void send_outbox();

  Connection& connection_;
  const Mark mark_;
  const TransactionOptions& options_;
  const TimePoint now_;
  const bool again_;
  bool begun_ = false;
  bool wrote_ = false;
  bool commit_sent_ = false;
  bool ended_ = false;
  bool lost_ = false;
  bool marks_itself_ = false;
  bool marked_ = false;  // the mark was made, if it was committed
  std::map<std::string, size_t> due_;
  std::map<std::string, Counts> counts_;
  std::vector<OutboxRow> outbox_;
  Effects effects_;
};

}  // namespace opscore::postgres
