#include "opscore/store/postgres/housekeeping.h"

#include <algorithm>

namespace opscore::postgres {
namespace {

constexpr uint64_t kBusy = 20;  // transactions between two ticks
constexpr int kShare = 10;      // it may take this part of the time
constexpr Duration kDaysEvery = std::chrono::hours(1);

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
  if (!busy && !days_due_.passed()) return every_;
  SteadyPoint begun = parts_.clock.steady();
  try {
    if (!connection_ || !connection_->usable())
      connection_ = std::make_unique<Connection>(options_, Deadline::after(parts_.timeout));
    // Also when nothing happens here: applications submit in SQL.
    if (days_due_.passed()) make_days(*connection_);
    if (busy) look_after_database(*connection_);
  } catch (const Failure&) {
    connection_.reset();
    throw;
  }
  auto took = std::chrono::duration_cast<Duration>(parts_.clock.steady() - begun);
  return std::max(every_, took * kShare);
}

void Housekeeping::look_after_database(Connection& connection) {
  connection.execute("VACUUM (SKIP_LOCKED, TRUNCATE FALSE) live");
  connection.query(kFold);
  connection.query(kForgetWriters);
}

void Housekeeping::make_days(Connection& connection) {
  int64_t today = day_of(TaskKey::first_at(parts_.clock.now()));
  parts_.partitions.ensure(connection, today, today + 1);
  days_due_ = Deadline::after(kDaysEvery);
}

}  // namespace opscore::postgres
