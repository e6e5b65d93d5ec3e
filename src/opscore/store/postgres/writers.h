#pragma once
// The write connections, and group commit over them. There is no thread: a caller who finds a free
// connection takes everything of its kind that waits and commits it for all of them; the others
// wait for it, or for the next free connection. So an idle store has the latency of one
// transaction, and a busy one shares each among hundreds.
//
// Work may be done several times, each in a new transaction, before one commits: after a deadlock,
// a lost race for a key, or a connection that was cut. When it is cut during COMMIT, what became of
// it is read back before anybody is answered. What PostgreSQL refuses of several callers is done
// again for each alone, so that one never fails the others; nobody waits longer than a part of the
// timeout for a lock that somebody else may hold for long, such as that of a key which an
// application has not committed yet.

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <span>

#include "opscore/base/log.h"
#include "opscore/base/mutex.h"
#include "opscore/store/postgres/backoff.h"
#include "opscore/store/postgres/feed.h"
#include "opscore/store/postgres/transaction.h"

namespace opscore::postgres {

struct WritersOptions {
  ConnectOptions connect;
  TransactionOptions transaction;
  size_t connections = 2;
  size_t batch = 1000;  // items of one transaction
};

class Writers {
 public:
  Writers(const Clock& clock, Random& random, Log& log, Feed& feed, WritersOptions options);
  // Nobody may be in it any more.
  ~Writers();

  // How many have been committed.
  uint64_t transactions() const { return transactions_.load(std::memory_order_relaxed); }

  // Tells what a transaction did that had committed by itself, and whose answer was lost: what it
  // wrote has the xmin that its row in writers has.
  using Recall = std::function<void(Connection&, Mark)>;

  // In a transaction of its own. Throws Error{unavailable} when it could not be done in time.
  void run(const char* what, const std::function<void(Transaction&)>& work,
           const Recall& recall = {});

  // What callers share transactions for.
  class Shared {
   public:
    virtual ~Shared() = default;
    // Several tasks at once; when it is refused, each is done by itself.
    virtual void act(Transaction& transaction, std::span<void* const> tasks) = 0;
    virtual void recall(Connection&, Mark, std::span<void* const>) {}
  };
  // `task` is handed to the work, beside those of others.
  void run_shared(const char* what, Shared& work, void* task, size_t items);

 private:
  struct Job;
  struct Slot {
    explicit Slot(Random& random) : backoff(random) {}
    std::unique_ptr<Connection> connection;
    Mark mark;
    Backoff backoff;
    bool taken = false;
  };
  void act(Transaction& transaction, const std::vector<Job*>& batch);
  void recall(Slot& slot, const std::vector<Job*>& batch);
  void wait_for(Job& job);
  static std::vector<void*> tasks_of(const std::vector<Job*>& batch);
  std::vector<Job*> take_batch() OPSCORE_REQUIRES(mutex_);
  void lead(Slot& slot, const std::vector<Job*>& batch);
  void perform(Slot& slot, const std::vector<Job*>& batch);
  void attempt(Slot& slot, const std::vector<Job*>& batch, Deadline deadline);
  void connect(Slot& slot, Deadline deadline);
  bool committed(Slot& slot, Deadline deadline, const std::vector<Job*>* unanswered);

  const Clock& clock_;
  Log& log_;
  Feed& feed_;
  const WritersOptions options_;
  Mutex mutex_;
  std::deque<Slot> slots_;  // `taken` is guarded by mutex_; the rest belongs to who has taken it
  std::deque<Job*> waiting_ OPSCORE_GUARDED_BY(mutex_);
  std::atomic<uint64_t> transactions_{0};
};

}  // namespace opscore::postgres
