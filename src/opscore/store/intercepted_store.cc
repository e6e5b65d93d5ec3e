#include "opscore/store/intercepted_store.h"

#include <fmt/format.h>

#include <map>

#include "opscore/base/mutex.h"

namespace opscore {
namespace {

class Interceptor {
 public:
  explicit Interceptor(Around around) : around_(std::move(around)) {}

  // Runs `call` inside around() and hands its answer through.
  template <class F>
  auto operator()(std::string_view operation, F&& call) const {
    using Answer = decltype(call());
    if constexpr (std::is_void_v<Answer>) {
      around_(operation, call);
    } else {
      std::optional<Answer> answer;
      around_(operation, [&] { answer = call(); });
      return std::move(*answer);
    }
  }

 private:
  Around around_;
};

class InterceptedTasks final : public TaskStore {
 public:
  InterceptedTasks(TaskStore& inner, const Interceptor& run) : inner_(inner), run_(run) {}
  std::vector<InsertResult> insert(std::vector<InsertItem> items, InsertMode mode) override {
    return run_("insert", [&] { return inner_.insert(std::move(items), mode); });
  }
  void check_room() override {
    run_("check_room", [&] { inner_.check_room(); });
  }
  ClaimResult claim(const ClaimRequest& request) override {
    // Patience would be counted as slowness.
    return run_(request.patience > Duration(0) ? "claim_wait" : "claim",
                [&] { return inner_.claim(request); });
  }
  std::vector<Applied> apply(std::vector<Plan> plans) override {
    return run_("apply", [&] { return inner_.apply(std::move(plans)); });
  }
  Promoted promote(size_t limit) override {
    return run_("promote", [&] { return inner_.promote(limit); });
  }
  size_t expire(size_t limit) override {
    return run_("expire", [&] { return inner_.expire(limit); });
  }
  size_t rescue(const LostSession& lost) override {
    return run_("rescue", [&] { return inner_.rescue(lost); });
  }
  size_t prune(const Retention& retention, size_t limit) override {
    return run_("prune", [&] { return inner_.prune(retention, limit); });
  }
  void record_progress(std::vector<ProgressUpdate> updates) override {
    run_("record_progress", [&] { inner_.record_progress(std::move(updates)); });
  }
  Applied append_step(const Lease& lease, const Step& step) override {
    return run_("append_step", [&] { return inner_.append_step(lease, step); });
  }
  size_t remove(std::span<const TaskKey> keys) override {
    return run_("remove", [&] { return inner_.remove(keys); });
  }
  void change_settings(const std::function<void(Settings&)>& change) override {
    run_("change_settings", [&] { inner_.change_settings(change); });
  }

 private:
  TaskStore& inner_;
  const Interceptor& run_;
};

class InterceptedReader final : public TaskReader {
 public:
  InterceptedReader(TaskReader& inner, const Interceptor& run) : inner_(inner), run_(run) {}
  std::optional<TaskKey> resolve(std::string_view id) override {
    return run_("resolve", [&] { return inner_.resolve(id); });
  }
  std::optional<Task> find(TaskKey key) override {
    return run_("find", [&] { return inner_.find(key); });
  }
  TaskPage list(const TaskFilter& filter, std::optional<TaskKey> before, size_t limit) override {
    return run_("list", [&] { return inner_.list(filter, before, limit); });
  }
  std::vector<Attempt> attempts(TaskKey key) override {
    return run_("attempts", [&] { return inner_.attempts(key); });
  }
  std::vector<TaskEvent> events(TaskKey key) override {
    return run_("events", [&] { return inner_.events(key); });
  }
  std::vector<Step> steps(TaskKey key) override {
    return run_("steps", [&] { return inner_.steps(key); });
  }
  std::vector<std::string> inputs(TaskKey key) override {
    return run_("inputs", [&] { return inner_.inputs(key); });
  }
  std::vector<Task> doubtful(size_t limit) override {
    return run_("doubtful", [&] { return inner_.doubtful(limit); });
  }
  std::optional<MessageOrigin> origin(TaskKey key) override {
    return run_("origin", [&] { return inner_.origin(key); });
  }
  std::vector<QueueStats> queues() override {
    return run_("queues", [&] { return inner_.queues(); });
  }

 private:
  TaskReader& inner_;
  const Interceptor& run_;
};

class InterceptedFleet final : public Fleet {
 public:
  InterceptedFleet(Fleet& inner, const Interceptor& run) : inner_(inner), run_(run) {}
  SessionId open_session(const std::string& name, const std::string& context) override {
    return run_("open_session", [&] { return inner_.open_session(name, context); });
  }
  RenewReply renew(SessionId session, const SessionReport& report) override {
    return run_("renew", [&] { return inner_.renew(session, report); });
  }
  std::vector<Session> sessions(Duration ended_within) override {
    return run_("sessions", [&] { return inner_.sessions(ended_within); });
  }
  void extend(std::span<const Lease> leases, TimePoint until) override {
    run_("extend", [&] { inner_.extend(leases, until); });
  }
  void command(SessionId session, const std::string& command) override {
    run_("command", [&] { inner_.command(session, command); });
  }
  void announce_actors(const std::vector<CatalogueEntry>& entries) override {
    run_("announce_actors", [&] { inner_.announce_actors(entries); });
  }
  std::vector<CatalogueEntry> catalogue() override {
    return run_("catalogue", [&] { return inner_.catalogue(); });
  }
  void describe(SessionId session, const std::string& context) override {
    run_("describe", [&] { inner_.describe(session, context); });
  }
  std::string context(SessionId session) override {
    return run_("context", [&] { return inner_.context(session); });
  }
  bool lead(SessionId session) override {
    return run_("lead", [&] { return inner_.lead(session); });
  }

 private:
  Fleet& inner_;
  const Interceptor& run_;
};

class InterceptedOutbox final : public Outbox {
 public:
  InterceptedOutbox(Outbox& inner, const Interceptor& run) : inner_(inner), run_(run) {}
  std::vector<OutboxRow> due(OutboxRow::Kind kind, size_t limit,
                             const std::vector<std::string>& but_for) override {
    return run_("outbox_due", [&] { return inner_.due(kind, limit, but_for); });
  }
  void settle(std::span<const int64_t> delivered) override {
    run_("outbox_settle", [&] { inner_.settle(delivered); });
  }
  void add(std::vector<OutboxRow> rows) override {
    run_("outbox_add", [&] { inner_.add(rows); });
  }
  using Outbox::record;
  void record(std::span<const OutboxTry> tried) override {
    run_("outbox_record", [&] { inner_.record(tried); });
  }

 private:
  Outbox& inner_;
  const Interceptor& run_;
};

class InterceptedJobs final : public Jobs {
 public:
  InterceptedJobs(Jobs& inner, const Interceptor& run) : inner_(inner), run_(run) {}
  Job create(const NewJob& job) override {
    return run_("job_create", [&] { return inner_.create(job); });
  }
  std::optional<Job> find(JobId id) override {
    return run_("job_find", [&] { return inner_.find(id); });
  }
  std::vector<Job> list(size_t limit) override {
    return run_("job_list", [&] { return inner_.list(limit); });
  }
  std::vector<Job> unfinished() override {
    return run_("job_unfinished", [&] { return inner_.unfinished(); });
  }
  JobLook look(const Job& job, size_t most) override {
    return run_("job_look", [&] { return inner_.look(job, most); });
  }
  Job advance(const Job& from, const JobSlice& slice) override {
    return run_("job_advance", [&] { return inner_.advance(from, slice); });
  }
  std::optional<Job> end(JobId id, JobState state, const std::string& error) override {
    return run_("job_end", [&] { return inner_.end(id, state, error); });
  }
  std::vector<JobId> forget(TimePoint ended_before) override {
    return run_("job_forget", [&] { return inner_.forget(ended_before); });
  }

 private:
  Jobs& inner_;
  const Interceptor& run_;
};

class InterceptedStore final : public Store {
 public:
  InterceptedStore(std::unique_ptr<Store> inner, Around around)
      : inner_(std::move(inner)),
        run_(std::move(around)),
        tasks_(inner_->tasks(), run_),
        reader_(inner_->reader(), run_),
        fleet_(inner_->fleet(), run_),
        outbox_(inner_->outbox(), run_),
        jobs_(inner_->jobs(), run_) {}
  TaskStore& tasks() override { return tasks_; }
  TaskReader& reader() override { return reader_; }
  Fleet& fleet() override { return fleet_; }
  Changes& changes() override { return inner_->changes(); }  // waits by design: not a call to time
  Outbox& outbox() override { return outbox_; }
  Jobs& jobs() override { return jobs_; }
  const IdCodec& ids() const override { return inner_->ids(); }
  const std::string& identity() const override { return inner_->identity(); }

 private:
  std::unique_ptr<Store> inner_;
  Interceptor run_;
  InterceptedTasks tasks_;
  InterceptedReader reader_;
  InterceptedFleet fleet_;
  InterceptedOutbox outbox_;
  InterceptedJobs jobs_;
};

// The series of each operation, made at its first call.
class StoreMetrics {
 public:
  StoreMetrics(const Clock& clock, Metrics& metrics) : clock_(clock), metrics_(metrics) {}

  void around(std::string_view operation, const std::function<void()>& call) {
    SteadyPoint began = clock_.steady();
    try {
      call();
    } catch (const Error&) {
      series(operation).errors.add();
      throw;
    }
    series(operation).seconds.observe(
        std::chrono::duration<double>(clock_.steady() - began).count());
  }

 private:
  struct Series {
    Histogram& seconds;
    Counter& errors;
  };
  Series& series(std::string_view operation) {
    MutexLock lock(mutex_);
    auto found = series_.find(operation);
    if (found == series_.end()) {
      Labels labels{{"operation", std::string(operation)}};
      found = series_
                  .emplace(operation,
                           Series{metrics_.duration("opscore_store_operation_duration_seconds",
                                                    "How long calls of the store took.", labels),
                                  metrics_.counter("opscore_store_errors_total",
                                                   "Calls of the store that failed.", labels)})
                  .first;
    }
    return found->second;
  }

  const Clock& clock_;
  Metrics& metrics_;
  Mutex mutex_;
  std::map<std::string, Series, std::less<>> series_ OPSCORE_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<Store> intercept(std::unique_ptr<Store> inner, Around around) {
  return std::make_unique<InterceptedStore>(std::move(inner), std::move(around));
}

std::unique_ptr<Store> observe(std::unique_ptr<Store> inner, const Clock& clock, Metrics& metrics) {
  auto series = std::make_shared<StoreMetrics>(clock, metrics);
  return intercept(std::move(inner),
                   [series](std::string_view operation, const std::function<void()>& call) {
                     series->around(operation, call);
                   });
}

std::unique_ptr<Store> inject_faults(std::unique_ptr<Store> inner, Random& random, Faults faults) {
  return intercept(std::move(inner), [&random, faults = std::move(faults)](
                                         std::string_view operation,
                                         const std::function<void()>& call) {
    bool on = faults.enabled(operation);
    if (on && random.unit() < faults.before)
      throw Error(Errc::unavailable, fmt::format("{}: injected before the call", operation));
    call();
    if (on && random.unit() < faults.after)
      throw Error(Errc::unavailable, fmt::format("{}: injected, the answer is lost", operation));
  });
}

}  // namespace opscore
