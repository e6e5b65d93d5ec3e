#pragma once
// The parts of the SQLite store, one for each interface. They share the committer for writing and
// the pool for reading, and hold no state of their own but what is noted.

#include <atomic>
#include <limits>
#include <string>

#include "opscore/store/sqlite/committer.h"
#include "opscore/store/sqlite/reader_pool.h"
#include "opscore/store/store.h"

namespace opscore::sqlite {

struct Parts {
  const Clock& clock;
  Lanes& lanes;
  ReaderPool& readers;
  Committer* committer;  // null: opened for reading only
  std::string path;
  int64_t disk_reserve_bytes;

  // Throws Error{unavailable} when the file is open for reading only.
  void write(const char* verb, size_t items, Committer::Kind kind,
             const std::function<void(WriteSide&)>& operation) const;
  // Committer::run_when().
  void write_when(const char* verb, const std::function<bool(WriteSide&)>& operation,
                  Deadline deadline) const;

 private:
  template <class F>
  auto on_committer(const char* verb, Committer::Kind kind, F&& call) const;
};

class SqliteTasks final : public TaskStore {
 public:
  explicit SqliteTasks(const Parts& parts) : parts_(parts) {}
  std::vector<InsertResult> insert(std::vector<InsertItem> items, InsertMode mode) override;
  void check_room() override { check_disk(0); }
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
  void check_disk(int64_t bytes);
  static int64_t wal_bytes(const std::string& path);

  const Parts& parts_;
  std::atomic<int64_t> disk_checked_ms_{0};  // steady; when the free space was last looked at
  std::atomic<int64_t> disk_free_{std::numeric_limits<int64_t>::max()};  // until looked at
  std::atomic<int64_t> pruned_up_to_{0};  // the key where the next prune() goes on
};

class SqliteReader final : public TaskReader {
 public:
  SqliteReader(const Parts& parts, const IdCodec& ids) : parts_(parts), ids_(ids) {}
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
  std::vector<QueueStats> queues_from_file();
  // What `read` answers; a failure says of which task.
  template <class F>
  auto about(TaskKey key, F&& read) const;

  const Parts& parts_;
  const IdCodec& ids_;
};

class SqliteFleet final : public Fleet {
 public:
  explicit SqliteFleet(const Parts& parts) : parts_(parts) {}
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
  const Parts& parts_;
};

class SqliteOutbox final : public Outbox {
 public:
  explicit SqliteOutbox(const Parts& parts) : parts_(parts) {}
  std::vector<OutboxRow> due(OutboxRow::Kind kind, size_t limit,
                             const std::vector<std::string>& but_for) override;
  void settle(std::span<const int64_t> delivered) override;
  void add(std::vector<OutboxRow> rows) override;
  using Outbox::record;
  void record(std::span<const OutboxTry> tried) override;

 private:
  const Parts& parts_;
};

class SqliteJobs final : public Jobs {
 public:
  explicit SqliteJobs(const Parts& parts) : parts_(parts) {}
  Job create(const NewJob& job) override;
  std::optional<Job> find(JobId id) override;
  std::vector<Job> list(size_t limit) override;
  std::vector<Job> unfinished() override;
  JobLook look(const Job& job, size_t most) override;
  Job advance(const Job& from, const JobSlice& slice) override;
  std::optional<Job> end(JobId id, JobState state, const std::string& error) override;
  std::vector<JobId> forget(TimePoint ended_before) override;

 private:
  const Parts& parts_;
};

// Takes the best due tasks on the committer's thread; what they need is read afterwards by the
// caller's, from the keys.
struct Claims {
  std::vector<TaskKey> keys;
  std::vector<std::string> skipped_types;
  bool more = false;
  std::optional<TimePoint> next_due_at;
};
Claims claim_due(WriteSide& side, const ClaimRequest& request);

}  // namespace opscore::sqlite
