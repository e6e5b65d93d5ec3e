#pragma once
// What the parts of the memory store share: all state, under one mutex. A transaction is a lock of
// that mutex that ends with commit().

#include <map>
#include <set>
#include <string>

#include "opscore/base/mutex.h"
#include "opscore/base/random.h"
#include "opscore/store/memory/session_table.h"
#include "opscore/store/memory/task_table.h"

namespace opscore {

struct MemoryState {
  MemoryState(const Clock& clock_in, Random& random_in, bool announce_in)
      : clock(clock_in), random(random_in), announce(announce_in) {}

  // Writes the outbox rows and tells the change feed. Call it last.
  void commit(Effects effects) OPSCORE_REQUIRES(mutex);
  int64_t concurrency_of(const std::string& queue) const OPSCORE_REQUIRES(mutex) {
    return settings.of_queue(queue).limits.in_force(&QueueLimits::concurrency);
  }

  const Clock& clock;
  Random& random;
  const bool announce;  // token rows for queues with new due tasks
  ChangeFeed feed;

  Mutex mutex;
  TaskTable tasks OPSCORE_GUARDED_BY(mutex);
  SessionTable sessions OPSCORE_GUARDED_BY(mutex);
  std::map<int64_t, OutboxRow> outbox OPSCORE_GUARDED_BY(mutex);
  int64_t last_outbox_id OPSCORE_GUARDED_BY(mutex) = 0;
  std::set<std::string> seen_queues OPSCORE_GUARDED_BY(mutex);  // that have or had tasks
  Settings settings OPSCORE_GUARDED_BY(mutex);
  TaskKey pruned_up_to OPSCORE_GUARDED_BY(mutex);  // where the next prune() goes on
  std::map<JobId, Job> jobs OPSCORE_GUARDED_BY(mutex);
  int64_t last_job_id OPSCORE_GUARDED_BY(mutex) = 0;
};

class MemoryTasks final : public TaskStore {
 public:
  explicit MemoryTasks(MemoryState& state) : state_(state) {}
  std::vector<InsertResult> insert(std::vector<InsertItem> items, InsertMode mode) override;
  ClaimResult claim(const ClaimRequest& request) override;
  std::vector<Applied> apply(std::vector<Plan> plans) override;
  Promoted promote(size_t limit) override;
  size_t expire(size_t limit) override;
  size_t rescue(const LostSession& lost) override;
  size_t prune(const Retention& retention, size_t limit) override;
  void record_progress(std::vector<ProgressUpdate> updates) override;
  Applied append_step(const Lease& lease, const Step& step) override;
  size_t remove(std::span<const TaskKey> keys) override;
  void change_settings(const std::function<void(Settings&)>& change) override;

 private:
  MemoryState& state_;
};

class MemoryReader final : public TaskReader {
 public:
  MemoryReader(MemoryState& state, const IdCodec& ids) : state_(state), ids_(ids) {}
  std::optional<TaskKey> resolve(std::string_view id) override;
  std::optional<Task> find(TaskKey key) override;
  TaskPage list(const TaskFilter& filter, std::optional<TaskKey> before, size_t limit) override;
  std::vector<Attempt> attempts(TaskKey key) override;
  std::vector<TaskEvent> events(TaskKey key) override;
  std::vector<Step> steps(TaskKey key) override;
  std::vector<std::string> inputs(TaskKey key) override;
  std::vector<Task> doubtful(size_t limit) override;
  std::optional<MessageOrigin> origin(TaskKey key) override;
  std::vector<QueueStats> queues() override;

 private:
  MemoryState& state_;
  const IdCodec& ids_;
};

class MemoryFleet final : public Fleet {
 public:
  explicit MemoryFleet(MemoryState& state) : state_(state) {}
  SessionId open_session(const std::string& name, const std::string& context) override;
  RenewReply renew(SessionId session, const SessionReport& report) override;
  std::vector<Session> sessions(Duration ended_within) override;
  void extend(std::span<const Lease> leases, TimePoint until) override;
  void command(SessionId session, const std::string& command) override;
  void announce_actors(const std::vector<CatalogueEntry>& entries) override;
  std::vector<CatalogueEntry> catalogue() override;
  void describe(SessionId session, const std::string& context) override;
  std::string context(SessionId session) override;
  bool lead(SessionId session) override;

 private:
  MemoryState& state_;
};

class MemoryOutbox final : public Outbox {
 public:
  explicit MemoryOutbox(MemoryState& state) : state_(state) {}
  std::vector<OutboxRow> due(OutboxRow::Kind kind, size_t limit,
                             const std::vector<std::string>& but_for) override;
  void settle(std::span<const int64_t> delivered) override;
  void add(std::vector<OutboxRow> rows) override;
  using Outbox::record;
  void record(std::span<const OutboxTry> tried) override;

 private:
  MemoryState& state_;
};

class MemoryJobs final : public Jobs {
 public:
  explicit MemoryJobs(MemoryState& state) : state_(state) {}
  Job create(const NewJob& job) override;
  std::optional<Job> find(JobId id) override;
  std::vector<Job> list(size_t limit) override;
  std::vector<Job> unfinished() override;
  JobLook look(const Job& job, size_t most) override;
  Job advance(const Job& from, const JobSlice& slice) override;
  std::optional<Job> end(JobId id, JobState state, const std::string& error) override;
  std::vector<JobId> forget(TimePoint ended_before) override;

 private:
  MemoryState& state_;
};

}  // namespace opscore
