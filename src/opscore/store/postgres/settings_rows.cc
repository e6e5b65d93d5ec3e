#include "opscore/store/postgres/settings_rows.h"

namespace opscore::postgres {
namespace {

constexpr Statement kPaused{"settings_paused", "SELECT queue FROM queues WHERE paused"};
constexpr Statement kLimits{"settings_limits",
                            "SELECT queue, chosen, max_pending, concurrency, max_input_bytes "
                            "FROM queue_limits"};
constexpr Statement kActors{"settings_actors", "SELECT type, concurrency FROM actor_limits"};
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

template <class Sender>
SettingsQuery send_settings(Sender& sender) {
  return {sender.send(kPaused, {}), sender.send(kLimits, {}), sender.send(kActors, {})};
}

template <class Sender>
Settings read_settings(Sender& sender, const SettingsQuery& query) {
  Settings settings;
  const Rows& paused = sender.rows(query.paused);
  for (int i = 0; i < paused.size(); ++i)
    settings.queues[std::string(paused.text(i, 0))].paused = true;
  const Rows& limits = sender.rows(query.limits);
  for (int i = 0; i < limits.size(); ++i) {
    LayeredLimits& layers = settings.queues[std::string(limits.text(i, 0))].limits;
    (limits.integer(i, 1) != 0 ? layers.chosen : layers.configured) =
        QueueLimits{limit(limits, i, 2), limit(limits, i, 3), limit(limits, i, 4)};
  }
  const Rows& actors = sender.rows(query.actors);
  for (int i = 0; i < actors.size(); ++i)
    settings.actor_concurrency[std::string(actors.text(i, 0))] = actors.integer(i, 1);
  return settings;
}

template SettingsQuery send_settings(Transaction&);
template SettingsQuery send_settings(Connection&);
template Settings read_settings(Transaction&, const SettingsQuery&);
template Settings read_settings(Connection&, const SettingsQuery&);

void save_settings(Transaction& transaction, const Settings& settings) {
  for (const Statement& statement : kClear) transaction.send(statement);
  for (const auto& [queue, set] : settings.queues) {
    if (set.paused) transaction.send(kPause, Parameters::of(queue));
    save_limits(transaction, queue, set.limits.chosen, true);
    save_limits(transaction, queue, set.limits.configured, false);
  }
  for (const auto& [type, concurrency] : settings.actor_concurrency)
    transaction.send(kActor, Parameters::of(type, concurrency));
}

}  // namespace opscore::postgres
