#pragma once
// What the parts of the PostgreSQL store share.

#include <string>

#include "opscore/base/log.h"
#include "opscore/base/mutex.h"
#include "opscore/base/random.h"
#include "opscore/store/postgres/home.h"
#include "opscore/store/postgres/lanes.h"
#include "opscore/store/postgres/partitions.h"
#include "opscore/store/postgres/readers.h"
#include "opscore/store/postgres/settings_rows.h"
#include "opscore/store/postgres/writers.h"
#include "opscore/store/store.h"

namespace opscore::postgres {

struct Parts {
  const Clock& clock;
  Random& random;
  Log& log;
  Feed& feed;
  Floors& floors;
  Lanes& lanes;
  SettingsCache& settings;
  Home& home;
  Partitions& partitions;
  Writers& writers;
  Readers& readers;
  Duration timeout;
};

// What callers share transactions for: new tasks; the end of what ran well; all other plans.
std::unique_ptr<Writers::Shared> make_inserting(Parts& parts);
std::unique_ptr<Writers::Shared> make_completing(Parts& parts);
std::unique_ptr<Writers::Shared> make_changing(Parts& parts);

class StepBack;

class PostgresTasks final : public TaskStore {
 public:
  explicit PostgresTasks(Parts& parts);
  ~PostgresTasks() override;
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
  static constexpr Duration kLookAtDaysEvery = std::chrono::minutes(10);
  void drop_days(const Retention& retention) OPSCORE_REQUIRES(prune_mutex_);
  Parts& parts_;
  const std::unique_ptr<Writers::Shared> inserting_, completing_, changing_;
  const std::unique_ptr<StepBack> step_back_;
  Mutex prune_mutex_;                                      // guards what follows
  TaskKey pruned_up_to_ OPSCORE_GUARDED_BY(prune_mutex_);  // where the next prune() goes on
  std::optional<SteadyPoint> dropped_at_ OPSCORE_GUARDED_BY(prune_mutex_);
};

class PostgresReader final : public TaskReader {
 public:
  PostgresReader(Parts& parts, const IdCodec& ids) : parts_(parts), ids_(ids) {}
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
  Parts& parts_;
  const IdCodec& ids_;
};

class PostgresFleet final : public Fleet {
 public:
  explicit PostgresFleet(Parts& parts) : parts_(parts) {}
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
  Parts& parts_;
};

class PostgresOutbox final : public Outbox {
 public:
  explicit PostgresOutbox(Parts& parts) : parts_(parts) {}
  std::vector<OutboxRow> due(OutboxRow::Kind kind, size_t limit,
                             const std::vector<std::string>& but_for) override;
  void settle(std::span<const int64_t> delivered) override;
  void add(std::vector<OutboxRow> rows) override;
  using Outbox::record;
  void record(std::span<const OutboxTry> tried) override;

 private:
  Parts& parts_;
};

class PostgresJobs final : public Jobs {
 public:
  explicit PostgresJobs(Parts& parts) : parts_(parts) {}
  Job create(const NewJob& job) override;
  std::optional<Job> find(JobId id) override;
  std::vector<Job> list(size_t limit) override;
  std::vector<Job> unfinished() override;
  JobLook look(const Job& job, size_t most) override;
  Job advance(const Job& from, const JobSlice& slice) override;
  std::optional<Job> end(JobId id, JobState state, const std::string& error) override;
  std::vector<JobId> forget(TimePoint ended_before) override;

 private:
  Parts& parts_;
};

}  // namespace opscore::postgres
