#include "opscore/store/postgres/settings_rows.h"

namespace opscore::postgres {
namespace {

constexpr Statement kSettings{
    "settings",
    "SELECT 2, queue, chosen, max_pending, concurrency, max_input_bytes FROM queue_limits "
    "UNION ALL SELECT 0, '', false, version, NULL, NULL FROM settings "
    "UNION ALL SELECT 1, queue, false, NULL, NULL, NULL FROM queues WHERE paused "
    "UNION ALL SELECT 3, type, false, concurrency, NULL, NULL FROM actor_limits"};
constexpr Statement kExpectSame{"expect_settings", "SELECT settings_are($1::bigint)"};
constexpr Statement kRaise{"raise_settings_version", "UPDATE settings SET version = version + 1"};
constexpr Statement kClear[] = {{"clear_queues", "DELETE FROM queues"},
                                {"clear_queue_limits", "DELETE FROM queue_limits"},
                                {"clear_actor_limits", "DELETE FROM actor_limits"}};
constexpr Statement kPause{"save_pause", "INSERT INTO queues VALUES($1::text, true)"};
constexpr Statement kLimit{"save_limits",
                           "INSERT INTO queue_limits VALUES($1::text, $2::bigint <> 0, "
                           "$3::bigint, $4::bigint, $5::bigint)"};
constexpr Statement kActor{"save_actor", "INSERT INTO actor_limits VALUES($1::text, $2::bigint)"};

LimitValue limit(const Rows& rows, int row, int column) {
  return rows.is_null(row, column) ? std::nullopt : std::optional(rows.integer(row, column));
}

void save_limits(Transaction& transaction, const std::string& queue, const QueueLimits& limits,
                 bool chosen) {
  if (limits == QueueLimits{}) return;
  transaction.send(kLimit, Parameters::of(queue, int64_t{chosen}, limits.max_pending,
                                          limits.concurrency, limits.max_input_bytes));
}

}  // namespace

const Statement& settings_statement() {
  return kSettings;
}

KnownSettings decode_settings(const Rows& rows) {
  KnownSettings known;
  Settings& settings = known.settings;
  for (int i = 0; i < rows.size(); ++i) {
    std::string name(rows.text(i, 1));
    switch (rows.integer(i, 0)) {
      case 0:
        known.version = rows.integer(i, 3);
        break;
      case 1:
        settings.queues[name].paused = true;
        break;
      case 2: {
        LayeredLimits& layers = settings.queues[name].limits;
        (rows.integer(i, 2) != 0 ? layers.chosen : layers.configured) =
            QueueLimits{limit(rows, i, 3), limit(rows, i, 4), limit(rows, i, 5)};
        break;
      }
      default:
        settings.actor_concurrency[name] = rows.integer(i, 3);
    }
  }
  return known;
}

void save_settings(Transaction& transaction, const Settings& settings) {
  transaction.send(kRaise);
  for (const Statement& statement : kClear) transaction.send(statement);
  for (const auto& [queue, set] : settings.queues) {
    if (set.paused) transaction.send(kPause, Parameters::of(queue));
    save_limits(transaction, queue, set.limits.chosen, true);
    save_limits(transaction, queue, set.limits.configured, false);
  }
  for (const auto& [type, concurrency] : settings.actor_concurrency)
    transaction.send(kActor, Parameters::of(type, concurrency));
}

std::shared_ptr<const KnownSettings> SettingsCache::of(Transaction& transaction) {
  if (!transaction.again()) {
    MutexLock lock(mutex_);
    if (known_) return known_;
  }
  auto read = std::make_shared<const KnownSettings>(
      decode_settings(transaction.outside().query(kSettings)));
  MutexLock lock(mutex_);
  return known_ = read;
}

void SettingsCache::forget() {
  MutexLock lock(mutex_);
  known_.reset();
}

void expect_same(Transaction& transaction, const KnownSettings& known) {
  transaction.send(kExpectSame, Parameters::of(known.version));
}

}  // namespace opscore::postgres
