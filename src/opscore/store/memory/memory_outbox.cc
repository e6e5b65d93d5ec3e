#include "opscore/store/memory/memory_state.h"

namespace opscore {

std::vector<OutboxRow> MemoryOutbox::due(size_t limit) {
  std::lock_guard lock(state_.mutex);
  TimePoint now = state_.clock.now();
  std::vector<OutboxRow> rows;
  for (const auto& [id, row] : state_.outbox) {
    if (rows.size() == limit) break;
    if (row.not_before <= now) rows.push_back(row);
  }
  return rows;
}

void MemoryOutbox::settle(std::span<const int64_t> delivered) {
  std::lock_guard lock(state_.mutex);
  for (int64_t id : delivered) state_.outbox.erase(id);
}

void MemoryOutbox::postpone(std::span<const int64_t> ids, Duration delay) {
  std::lock_guard lock(state_.mutex);
  for (int64_t id : ids)
    if (auto found = state_.outbox.find(id); found != state_.outbox.end())
      found->second.not_before = state_.clock.now() + delay;
}

}  // namespace opscore
