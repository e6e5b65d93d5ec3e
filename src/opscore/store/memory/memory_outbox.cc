#include <algorithm>

#include "opscore/store/memory/memory_state.h"

namespace opscore {

std::vector<OutboxRow> MemoryOutbox::due(OutboxRow::Kind kind, size_t limit,
                                         const std::vector<std::string>& but_for) {
  MutexLock lock(state_.mutex);
  TimePoint last = OutboxRow::due_until(kind, state_.clock.now());
  std::vector<OutboxRow> rows;
  for (const auto& [id, row] : state_.outbox)
    if (row.kind == kind && row.not_before <= last &&
        std::find(but_for.begin(), but_for.end(), row.destination) == but_for.end())
      rows.push_back(row);
  std::stable_sort(rows.begin(), rows.end(), [](const OutboxRow& a, const OutboxRow& b) {
    return a.not_before < b.not_before;
  });
  rows.resize(std::min(rows.size(), limit));
  return rows;
}

void MemoryOutbox::settle(std::span<const int64_t> delivered) {
  MutexLock lock(state_.mutex);
  for (int64_t id : delivered) state_.outbox.erase(id);
}

void MemoryOutbox::add(std::vector<OutboxRow> rows) {
  MutexLock lock(state_.mutex);
  Effects effects;
  effects.outbox = std::move(rows);
  state_.commit(std::move(effects));
}

void MemoryOutbox::record(std::span<const OutboxTry> tries) {
  MutexLock lock(state_.mutex);
  Effects effects;
  for (const OutboxTry& tried : tries) {
    auto found = state_.outbox.find(tried.row);
    if (found == state_.outbox.end()) continue;
    if (tried.again) {
      found->second.not_before = state_.clock.now() + *tried.again;
      found->second.properties = tried.properties;
    } else {
      state_.outbox.erase(found);
    }
    if (TaskRow* row = state_.tasks.find(tried.task))
      TaskTable::add_event(*row, tried.event, effects);
  }
  state_.commit(std::move(effects));
}

}  // namespace opscore
