#include "opscore/store/sqlite/sqlite_parts.h"

namespace opscore::sqlite {

std::vector<OutboxRow> SqliteOutbox::due(size_t limit) {
  std::vector<OutboxRow> due;
  auto reader = parts_.readers.borrow();
  Statement select(reader->db,
                   "SELECT id, kind, destination, body, properties, not_before FROM outbox "
                   "WHERE not_before <= ? ORDER BY id LIMIT ?");
  auto rows = select.query(parts_.clock.now(), limit);
  while (rows.next())
    due.push_back({rows.integer(0), static_cast<OutboxRow::Kind>(rows.integer(1)),
                   std::string(rows.text(2)), std::string(rows.text(3)), std::string(rows.text(4)),
                   rows.time(5)});
  return due;
}

void SqliteOutbox::settle(std::span<const int64_t> delivered) {
  if (delivered.empty()) return;
  parts_.write("settle", delivered.size(), Committer::Kind::ends_work, [&](WriteSide& side) {
    Statement remove(side.db, "DELETE FROM outbox WHERE id = ?");
    for (int64_t id : delivered) remove.run(id);
  });
}

void SqliteOutbox::postpone(std::span<const int64_t> ids, Duration delay) {
  if (ids.empty()) return;
  parts_.write("postpone", ids.size(), Committer::Kind::ends_work, [&](WriteSide& side) {
    Statement update(side.db, "UPDATE outbox SET not_before = ? WHERE id = ?");
    for (int64_t id : ids) update.run(side.clock.now() + delay, id);
  });
}

}  // namespace opscore::sqlite
