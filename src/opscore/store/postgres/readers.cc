#include "opscore/store/postgres/readers.h"

#include <fmt/format.h>

namespace opscore::postgres {

Readers::Loan::Loan(Readers& readers, const char* what, Deadline deadline) : readers_(readers) {
  MutexLock lock(readers.mutex_);
  if (!readers.returned_.wait_until(lock, deadline.when(), [&]() OPSCORE_REQUIRES(readers.mutex_) {
        return readers.free_ > 0;
      }))
    throw Error(Errc::unavailable,
                fmt::format("{}: no connection to PostgreSQL came free in time", what));
  --readers.free_;
  if (readers.idle_.empty()) return;
  connection_ = std::move(readers.idle_.back());
  readers.idle_.pop_back();
}

Readers::Loan::~Loan() {
  MutexLock lock(readers_.mutex_);
  ++readers_.free_;
  if (connection_ && connection_->usable() && connection_->idle())
    readers_.idle_.push_back(std::move(connection_));
  readers_.returned_.notify_one();
}

Connection& Readers::Loan::connection(Deadline deadline) {
  if (!connection_ || !connection_->usable())
    connection_ = std::make_unique<Connection>(readers_.options_, deadline);
  return *connection_;
}

}  // namespace opscore::postgres
