#include "opscore/base/json.h"
#include "opscore/store/sqlite/sqlite_parts.h"

namespace opscore::sqlite {
namespace {

void record_one(WriteSide& side, const OutboxTry& tried) {
  int64_t touched = 0;
  if (tried.again) {
    Statement update(side.db, "UPDATE outbox SET not_before = ?, properties = ? WHERE id = ?");
    touched = update.run(side.clock.now() + *tried.again, tried.properties, tried.row);
  } else {
    Statement remove(side.db, "DELETE FROM outbox WHERE id = ?");
    touched = remove.run(tried.row);
  }
  if (touched == 0 || !side.queries.state(tried.task)) return;
  side.edits.append_event(tried.task, tried.event);
  side.note_task(tried.task);
}

}  // namespace

std::vector<OutboxRow> SqliteOutbox::due(OutboxRow::Kind kind, size_t limit,
                                         const std::vector<std::string>& but_for) {
  std::vector<OutboxRow> due;
  auto reader = parts_.readers.borrow();
  Statement select(reader->db,
                   "SELECT id, kind, destination, body, properties, not_before FROM outbox "
                   "WHERE kind = ? AND not_before <= ? AND destination NOT IN (SELECT value FROM "
                   "json_each(?)) ORDER BY not_before, id LIMIT ?");
  const std::string excluded = Json(but_for).dump();
  auto rows = select.query(kind, OutboxRow::due_until(kind, parts_.clock.now()), excluded, limit);
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

void SqliteOutbox::add(std::vector<OutboxRow> rows) {
  if (rows.empty()) return;
  parts_.write("add to the outbox", rows.size(), Committer::Kind::ends_work, [&](WriteSide& side) {
    for (const OutboxRow& row : rows) side.post(row);
  });
}

void SqliteOutbox::record(std::span<const OutboxTry> tries) {
  if (tries.empty()) return;
  parts_.write("record a delivery", tries.size(), Committer::Kind::ends_work, [&](WriteSide& side) {
    for (const OutboxTry& tried : tries) record_one(side, tried);
  });
}

}  // namespace opscore::sqlite
