#include "opscore/store/sqlite/tally.h"

namespace opscore::sqlite {
namespace {

size_t index_of(State state) {
  return static_cast<size_t>(state);
}

}  // namespace

Tally::Tally(Connection& db)
    : save_(db,
            "INSERT INTO counters(queue, completed, failed, cancelled) VALUES(?1, ?2, ?3, ?4) "
            "ON CONFLICT DO UPDATE SET completed = completed + ?2, failed = failed + ?3, "
            "cancelled = cancelled + ?4") {}

void Tally::load(Connection& db, Lanes& lanes) {
  Statement select(db, "SELECT queue, completed, failed, cancelled FROM counters");
  auto rows = select.query();
  while (rows.next()) {
    QueueId queue = lanes.intern_queue(std::string(rows.text(0)));
    Counts& counts = at(queue).counts;
    bool any = false;
    int column = 1;
    for (State state : {State::completed, State::failed, State::cancelled}) {
      counts[index_of(state)] = rows.integer(column++);
      any |= counts[index_of(state)] != 0;
    }
    if (any) {
      at(queue).seen = true;
      seen_.push_back(queue);
    }
  }
}

Tally::Queue& Tally::at(QueueId queue) {
  auto index = static_cast<size_t>(queue);
  if (index >= queues_.size()) queues_.resize(index + 1);
  return queues_[index];
}

void Tally::add(QueueId queue, State state, int64_t count) {
  Queue& counted = at(queue);
  counted.change[index_of(state)] += count;
  if (counted.changed) return;
  counted.changed = true;
  changed_.push_back(queue);
}

void Tally::save(const Lanes& lanes) {
  for (QueueId queue : changed_) {
    const Counts& change = at(queue).change;
    int64_t completed = change[index_of(State::completed)];
    int64_t failed = change[index_of(State::failed)];
    int64_t cancelled = change[index_of(State::cancelled)];
    if (completed != 0 || failed != 0 || cancelled != 0)
      save_.run(lanes.queue_name(queue), completed, failed, cancelled);
  }
}

void Tally::commit() {
  for (QueueId queue : changed_) {
    Queue& counted = at(queue);
    for (size_t i = 0; i < counted.counts.size(); ++i) counted.counts[i] += counted.change[i];
    counted.change = {};
    counted.changed = false;
    if (!counted.seen) seen_.push_back(queue);
    counted.seen = true;
  }
  changed_.clear();
}

void Tally::rollback() {
  for (QueueId queue : changed_) {
    at(queue).change = {};
    at(queue).changed = false;
  }
  changed_.clear();
}

Tally::Counts Tally::counts(QueueId queue) const {
  auto index = static_cast<size_t>(queue);
  if (index >= queues_.size()) return {};
  Counts counts = queues_[index].counts;
  for (size_t i = 0; i < counts.size(); ++i) counts[i] += queues_[index].change[i];
  return counts;
}

}  // namespace opscore::sqlite
