#pragma once
// The verbs that clients use, for every edge alike. Checks, resolves defaults, decides, and has the
// store apply. Safe for concurrent use; each call blocks until its effect is durable. Throws Error;
// field() names what is wrong by its REST name ("priority", "tasks[3].input_data").

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/engine/bulk_jobs.h"
#include "opscore/engine/catalogue.h"
#include "opscore/engine/mirror.h"
#include "opscore/model/limits.h"
#include "opscore/store/store.h"

namespace opscore {

// As a client says it; nothing is resolved yet.
struct SubmitRequest {
  std::string type;
  std::optional<std::string> queue;
  std::string input = "null";  // JSON text, already checked by the edge (check_json / JsonReader)
  int priority = 0;
  std::optional<TimePoint> run_at;
  std::optional<Duration> delay;    // from the store's now; not together with run_at
  std::optional<int> max_attempts;  // 0: unlimited
  std::optional<RetryPolicy> retry;
  std::optional<Duration> timeout;
  std::optional<TimePoint> deadline;
  std::optional<Duration> deadline_in;  // from now, instead of deadline
  std::string idempotency_key;
  std::string task_id;
  std::string name;
  std::vector<std::pair<std::string, std::string>> labels;
  std::string metadata;  // JSON object text, or empty
  std::optional<Webhook> webhook;
};

struct Submitted {
  std::string id;
  TaskKey key;
  std::string type;
  std::string queue;
  State state = State::pending;
  bool replayed = false;              // an earlier request with the same key; nothing new was made
  std::vector<std::string> warnings;  // "no live worker runs ..."
  std::optional<Error> refused;       // per_item mode only
};

struct QueueView {
  QueueStats stats;
  std::optional<Duration> oldest_pending_age;
  int sessions = 0;  // live ones that consume it
  int slots = 0;     // theirs together
};

// What is absent stays as it is.
struct QueueLimitsChange {
  std::optional<LimitValue> max_pending, concurrency, max_input_bytes;
};

struct Readiness {
  bool ready = false;
  std::vector<std::string> reasons;  // why not; or what does not keep it from being ready
};

struct ServiceOptions {
  size_t input_bytes_max = limits::kPayloadBytes;
  size_t batch_tasks_max = limits::kBatchTasks;
  // Why the server may not call a URL that a client names; nothing when it may.
  std::function<std::optional<std::string>(const std::string& url)> url_problem =
      [](const std::string&) { return std::nullopt; };
  // Types that are known although no worker has announced them, with their defaults.
  std::vector<CatalogueEntry> declared;
  // Of messages that come over HTTP, see AdoptionContext.
  bool has_results = false;
  std::vector<std::string> stores_results;
  // Ready only while a worker takes tasks; else whenever the store answers and takes submits.
  bool needs_worker = true;
  // Why the worker of this very process takes no tasks yet; empty: it does.
  std::function<std::string()> why_not_consuming = [] { return std::string(); };
  BulkJobsOptions bulk;
};

class Service {
 public:
  // All must outlive the service.
  Service(Store& store, const Clock& clock, Log& log, Metrics& metrics, ServiceOptions options);
  ~Service();

  Submitted submit(SubmitRequest request);
  // all_or_nothing: throws for the first item that is wrong, with its place. per_item: a wrong item
  // carries its Error in `refused`.
  std::vector<Submitted> submit_many(std::vector<SubmitRequest> requests, InsertMode mode);

  Task get(std::string_view id);  // throws not_found
  Task get(TaskKey key);          // throws not_found
  TaskPage list(const TaskFilter& filter, const std::string& cursor, size_t limit);
  std::string cursor_of(TaskKey key) const;
  Task cancel(std::string_view id);
  Task retry(std::string_view id, std::optional<std::string> edited_input);
  void remove(std::string_view id);

  std::vector<Attempt> attempts(const Task& task);
  // The whole history: what rows imply and the stored, unusual events, numbered from 1. Numbers
  // never change; see history.h. `task` becomes what it was at that moment.
  std::vector<TaskEvent> events(Task& task);
  std::vector<Step> steps(const Task& task);
  std::vector<std::string> inputs(const Task& task);

  std::vector<QueueView> queues();
  QueueView queue(const std::string& name);  // throws not_found
  // Without tasks and limits when there is no such queue: what is left of one that had only limits.
  QueueView queue_or_empty(const std::string& name);
  void set_paused(const std::string& queue, bool paused);
  // Has a process end: with `drain` after what runs, or the grace; with `stop` at once. It hears of
  // it within its next renewal. Its session. Throws not_found, also for one that has ended.
  Session end_worker(std::string_view worker, const std::string& command);
  // Both set limits while running; see TaskStore::change_settings().
  void set_limits(const std::string& queue, const QueueLimitsChange& change);
  void set_concurrency(const std::string& type, LimitValue concurrency);  // throws not_found
  // Deletes what is unfinished and does not run. A job like others; worked on for a second here,
  // and in the background when that was not enough.
  Job purge(const std::string& queue);
  std::vector<Session> workers(Duration ended_within = Duration(0));
  std::vector<CatalogueEntry> actors();
  CatalogueEntry actor(const std::string& type);  // or an alias of it; throws not_found
  // What can be run, at most a second old; fresh_view of it for what was not found.
  Catalogue& catalogue() { return catalogue_; }
  // A message of Dramatiq that did not come through RabbitMQ; the same one again is a replay.
  // Errc::not_found: no actor of its name is known.
  Submitted take_message(const std::string& body);
  // Replaces ServiceOptions::declared.
  void declare(std::vector<CatalogueEntry> declared) { catalogue_.declare(std::move(declared)); }
  Readiness readiness();
  // What an operator should know of the installation whatever else was asked; mostly nothing.
  std::vector<std::string> warnings();
  // One sentence on why an unfinished task is not done.
  std::string reason(const Task& task);

  std::string id_of(const Task& task) const { return store_.id_of(task); }
  // By its name, "worker-12" or "12", also when it ended in the last days. Throws
  // Error{not_found}.
  Session worker(std::string_view name);
  // Where it runs, a JSON object; empty when it has not said so.
  std::string worker_context(SessionId session) { return store_.fleet().context(session); }
  static std::string worker_name(SessionId session);  // "worker-12"
  Store& store() { return store_; }
  BulkJobs& bulk() { return bulk_; }
  Mirror& mirror() { return mirror_; }
  const Clock& clock() const { return clock_; }
  const ServiceOptions& options() const { return options_; }

 private:
  struct Counters;
  std::optional<QueueView> find_queue(const std::string& name);
  InsertItem prepare(SubmitRequest request, std::vector<std::string>& warnings);
  void check_edit(const std::string& queue, const std::string& input);

  Store& store_;
  const Clock& clock_;
  Log& log_;
  Metrics& metrics_;
  ServiceOptions options_;
  Catalogue catalogue_;
  BulkJobs bulk_;
  Mirror mirror_;
  std::unique_ptr<Counters> counters_;
};

}  // namespace opscore
