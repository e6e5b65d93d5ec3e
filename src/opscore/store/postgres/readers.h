#pragma once
// A few connections for reading. Callers wait for a free one; what is lost is opened again.

#include <memory>
#include <vector>

#include "opscore/base/mutex.h"
#include "opscore/store/postgres/connection.h"

namespace opscore::postgres {

class Readers {
 public:
  Readers(ConnectOptions options, size_t connections)
      : options_(std::move(options)), free_(std::max<size_t>(connections, 1)) {}

  // `work(connection)` may be done twice, when the first connection turns out to be gone.
  template <class Work>
  auto run(const char* what, Work&& work) {
    Deadline deadline = Deadline::after(options_.timeout);
    for (bool again = false;; again = true) {
      Loan loan(*this, what, deadline);
      try {
        return work(loan.connection(deadline));
      } catch (const Failure& failure) {
        if (failure.kind() == Failure::Kind::lost && !again && !deadline.passed()) continue;
        throw failure.with_context(what);
      }
    }
  }

 private:
  class Loan {
   public:
    Loan(Readers& readers, const char* what, Deadline deadline);
    ~Loan();
    Connection& connection(Deadline deadline);

   private:
    Readers& readers_;
    std::unique_ptr<Connection> connection_;
  };

  const ConnectOptions options_;
  Mutex mutex_;
  ConditionVariable returned_;
  size_t free_ OPSCORE_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Connection>> idle_ OPSCORE_GUARDED_BY(mutex_);
};

}  // namespace opscore::postgres
