#include "opscore/store/sqlite/settings_rows.h"

namespace opscore::sqlite {
namespace {

void save_limits(Connection& db, const std::string& queue, const QueueLimits& limits, bool chosen) {
  if (limits == QueueLimits{}) return;
  Statement insert(db, "INSERT INTO queue_limits VALUES(?, ?, ?, ?, ?)");
  insert.run(queue, chosen, limits.max_pending, limits.concurrency, limits.max_input_bytes);
}

}  // namespace

Settings load_settings(Connection& db) {
  Settings settings;
  Statement paused(db, "SELECT queue FROM queues WHERE paused <> 0");
  auto names = paused.query();
  while (names.next()) settings.queues[std::string(names.text(0))].paused = true;
  Statement limits(
      db, "SELECT queue, chosen, max_pending, concurrency, max_input_bytes FROM queue_limits");
  auto rows = limits.query();
  while (rows.next()) {
    LayeredLimits& layers = settings.queues[std::string(rows.text(0))].limits;
    QueueLimits& layer = rows.integer(1) != 0 ? layers.chosen : layers.configured;
    layer = {rows.optional_integer(2), rows.optional_integer(3), rows.optional_integer(4)};
  }
  Statement actors(db, "SELECT type, concurrency FROM actor_limits");
  auto types = actors.query();
  while (types.next()) settings.actor_concurrency[std::string(types.text(0))] = types.integer(1);
  return settings;
}

void save_settings(Connection& db, const Settings& settings) {
  db.execute("DELETE FROM queues; DELETE FROM queue_limits; DELETE FROM actor_limits");
  Statement pause(db, "INSERT INTO queues(queue, paused) VALUES(?, 1)");
  for (const auto& [queue, set] : settings.queues) {
    if (set.paused) pause.run(queue);
    save_limits(db, queue, set.limits.chosen, true);
    save_limits(db, queue, set.limits.configured, false);
  }
  Statement limit(db, "INSERT INTO actor_limits(type, concurrency) VALUES(?, ?)");
  for (const auto& [type, concurrency] : settings.actor_concurrency) limit.run(type, concurrency);
}

}  // namespace opscore::sqlite
