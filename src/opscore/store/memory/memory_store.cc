#include "opscore/store/memory/memory_store.h"

#include <fmt/format.h>

#include "opscore/store/memory/memory_state.h"

namespace opscore {

void MemoryState::commit(Effects effects) {
  // What ends makes room in a queue with a limit.
  for (TaskKey key : effects.change.tasks)
    if (const TaskRow* row = tasks.find(key); row && concurrency_of(row->spec.queue) != kUnlimited)
      effects.change.queues.push_back(row->spec.queue);
  for (const auto& [queue, count] : effects.due) {
    effects.change.queues.push_back(queue);
    if (announce && count > 0)
      effects.outbox.push_back(
          {0, OutboxRow::Kind::token, queue, std::to_string(count), {}, clock.now()});
  }
  for (OutboxRow& row : effects.outbox) {
    row.id = ++last_outbox_id;
    outbox[row.id] = std::move(row);
  }
  feed.publish(std::move(effects.change));
}

namespace {

class MemoryStore final : public Store {
 public:
  MemoryStore(const Clock& clock, Random& random, bool announce)
      : ids_(SipKey{random.next(), random.next()}),
        identity_(fmt::format("memory-{:016x}", random.next())),
        state_(clock, random, announce) {}

  TaskStore& tasks() override { return tasks_; }
  TaskReader& reader() override { return reader_; }
  Fleet& fleet() override { return fleet_; }
  Changes& changes() override { return state_.feed; }
  Outbox& outbox() override { return outbox_; }
  Jobs& jobs() override { return jobs_; }
  const IdCodec& ids() const override { return ids_; }
  const std::string& identity() const override { return identity_; }

 private:
  const IdCodec ids_;
  const std::string identity_;
  MemoryState state_;
  MemoryTasks tasks_{state_};
  MemoryReader reader_{state_, ids_};
  MemoryFleet fleet_{state_};
  MemoryOutbox outbox_{state_};
  MemoryJobs jobs_{state_};
};

}  // namespace

std::unique_ptr<Store> open_memory_store(const Clock& clock, Random& random,
                                         const MemoryStoreOptions& options) {
  return std::make_unique<MemoryStore>(clock, random, options.announce);
}

}  // namespace opscore
