#include <set>

#include "opscore/store/postgres/task_images.h"

namespace opscore::postgres {
namespace {

constexpr Statement kDue{"outbox_due",
                         "SELECT id, kind, destination, body, properties, not_before FROM outbox "
                         "WHERE kind = $1::bigint AND not_before <= $2::bigint AND "
                         "destination <> ALL($3::text[]) ORDER BY not_before, id LIMIT $4::bigint"};
constexpr Statement kSettle{"settle", "DELETE FROM outbox WHERE id = ANY($1::bigint[])"};
constexpr Statement kPostpone{"postpone",
                              "UPDATE outbox SET not_before = $2::bigint, properties = $3::text "
                              "WHERE id = $1::bigint RETURNING id"};
constexpr Statement kSettleOne{"settle_one",
                               "DELETE FROM outbox WHERE id = $1::bigint RETURNING id"};

Array array_of(std::span<const int64_t> ids) {
  Array array = Array::numbers();
  for (int64_t id : ids) array.add(id);
  return array;
}

}  // namespace

std::vector<OutboxRow> PostgresOutbox::due(OutboxRow::Kind kind, size_t limit,
                                           const std::vector<std::string>& but_for) {
  TimePoint last = OutboxRow::due_until(kind, parts_.clock.now());
  Array excluded = Array::texts();
  for (const std::string& destination : but_for) excluded.add(destination);
  return parts_.readers.run("read the outbox", [&](Connection& connection) {
    Rows rows = connection.query(kDue, Parameters::of(static_cast<int64_t>(kind), last, excluded,
                                                      static_cast<int64_t>(limit)));
    std::vector<OutboxRow> due;
    for (int i = 0; i < rows.size(); ++i)
      due.push_back({rows.integer(i, 0), static_cast<OutboxRow::Kind>(rows.integer(i, 1)),
                     std::string(rows.text(i, 2)), std::string(rows.text(i, 3)),
                     std::string(rows.text(i, 4)), rows.time(i, 5)});
    return due;
  });
}

void PostgresOutbox::settle(std::span<const int64_t> delivered) {
  if (delivered.empty()) return;
  parts_.writers.run("settle", [&](Transaction& transaction) {
    transaction.send(kSettle, Parameters::of(array_of(delivered)));
  });
}

void PostgresOutbox::add(std::vector<OutboxRow> rows) {
  if (rows.empty()) return;
  parts_.writers.run("add to the outbox", [&](Transaction& transaction) {
    for (const OutboxRow& row : rows) transaction.post(row);
  });
}

void PostgresOutbox::record(std::span<const OutboxTry> tries) {
  if (tries.empty()) return;
  parts_.writers.run("record a delivery", [&](Transaction& transaction) {
    std::vector<size_t> answers;
    for (const OutboxTry& tried : tries)
      answers.push_back(
          tried.again ? transaction.send(kPostpone,
                                         Parameters::of(tried.row, transaction.now() + *tried.again,
                                                        tried.properties))
                      : transaction.send(kSettleOne, Parameters::of(tried.row)));
    transaction.flush();
    std::vector<const OutboxTry*> touched;
    for (size_t i = 0; i < tries.size(); ++i)
      if (transaction.rows(answers[i]).size() > 0) touched.push_back(&tries[i]);
    if (touched.empty()) return;
    std::set<TaskKey> keys;
    for (const OutboxTry* tried : touched) keys.insert(tried->task);
    TaskImages images(parts_, transaction);
    images.load({keys.begin(), keys.end()});
    for (const OutboxTry* tried : touched) images.append_event(tried->task, tried->event);
    images.write();
  });
}

}  // namespace opscore::postgres
