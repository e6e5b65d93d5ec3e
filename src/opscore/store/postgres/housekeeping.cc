#include "opscore/store/postgres/housekeeping.h"

namespace opscore::postgres {
namespace {

constexpr uint64_t kBusy = 20;  // transactions between two ticks

constexpr Statement kFold{
    "fold_counters",
    "WITH gone AS (DELETE FROM counters WHERE (SELECT count(*) FROM (SELECT FROM counters LIMIT "
    "1000) x) = 1000 RETURNING *) INSERT INTO counters SELECT queue, sum(completed), sum(failed), "
    "sum(cancelled) FROM gone GROUP BY queue"};
constexpr Statement kForgetWriters{"forget_writers",
                                   "DELETE FROM writers WHERE at < now() - interval '7 days'"};

}  // namespace

Housekeeping::Housekeeping(Parts& parts, ConnectOptions options, Duration every)
    : parts_(parts),
      options_(std::move(options)),
      every_(every),
      loop_("pg-upkeep", parts.log, [this](std::stop_token) { return tick(); }) {}

Duration Housekeeping::tick() {
  parts_.home.look_after_leadership();
  uint64_t transactions = parts_.writers.transactions();
  bool busy = transactions - seen_ >= kBusy;
  seen_ = transactions;
  if (!busy) return every_;
  try {
    if (!connection_ || !connection_->usable())
      connection_ = std::make_unique<Connection>(options_, Deadline::after(parts_.timeout));
    look_after_database(*connection_);
  } catch (const Failure&) {
    connection_.reset();
    throw;
  }
  return every_;
}

void Housekeeping::look_after_database(Connection& connection) {
  connection.execute("VACUUM (SKIP_LOCKED, TRUNCATE FALSE) live");
  connection.query(kFold);
  connection.query(kForgetWriters);
  int64_t today = day_of(TaskKey::first_at(parts_.clock.now()));
  parts_.partitions.ensure(connection, today, today + 1);
}

}  // namespace opscore::postgres
