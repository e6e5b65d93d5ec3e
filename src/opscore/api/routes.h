#pragma once
// The routes of the REST API: which there are, and what each does with a request. Every handler
// runs on a thread of the request pool, may block in Service, and never throws out of handle().

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "opscore/api/reload_report.h"
#include "opscore/api/request.h"
#include "opscore/base/log.h"
#include "opscore/base/metrics.h"
#include "opscore/base/mutex.h"
#include "opscore/doctor/explain.h"
#include "opscore/engine/service.h"

namespace opscore {

class Routes;
struct TaskView;

// One request on one route: `args` are the decoded {parts} of the pattern.
struct Call {
  const ApiRequest& request;
  std::vector<std::string> args;
};

struct Route {
  std::string_view method;
  std::string_view pattern;  // "/api/v1/tasks/{task_id}"
  Reply (Routes::*handle)(const Call&);
  enum class Kind : uint8_t { plain, submit, batch } kind = Kind::plain;
  bool is_open = false;  // without a token
};

// All of them, and where a request goes: by path with or without a trailing slash; HEAD goes where
// GET does. The routes without /api/v1 are found with it, too.
std::span<const Route> all_routes();
const Route* find_route(std::string_view method, std::string_view path);
// The methods of a path, for Allow; empty when there is no such path.
std::string allowed_methods(std::string_view path);

struct RoutesOptions {
  std::string version;
  std::string openapi;  // the document for /openapi.json
  // As clients of ops-core expect it: 201 for submits, output_data in tasks, total in lists.
  bool ops_core = false;
  std::function<ReloadReport()> reload;  // empty: cannot
  LookAtQueues look_at_queues;           // empty: there is no broker to ask
};

// Safe for concurrent use. What it refers to must outlive it.
class Routes {
 public:
  Routes(Service& service, Metrics& metrics, Log& log, RoutesOptions options);

  Reply handle(const ApiRequest& request);
  // Single submits that came at about the same time, as one call; one reply each, in order.
  std::vector<Reply> submit_all(std::span<const ApiRequest> requests);

  // A waiting request is looked at again: the answer, or nothing when it goes on waiting.
  std::optional<Response> look(const Wait& wait, bool expired);

  // The boundary where failures end: whatever goes wrong becomes a problem document.
  template <class F>
  Reply guarded(F&& action) {
    try {
      return action();
    } catch (const std::exception& error) {
      return failed(error);
    }
  }

  // The handlers, in the order of the table.
  Reply submit(const Call& call);
  Reply submit_batch(const Call& call);
  Reply list_tasks(const Call& call);
  Reply get_task(const Call& call);
  Reply delete_task(const Call& call);
  Reply cancel_task(const Call& call);
  Reply retry_task(const Call& call);
  Reply task_events(const Call& call);
  Reply task_steps(const Call& call);
  Reply task_attempts(const Call& call);
  Reply explain_task(const Call& call);
  Reply explain_queue(const Call& call);
  Reply explain_worker(const Call& call);
  Reply list_queues(const Call& call);
  Reply get_queue(const Call& call);
  Reply change_queue(const Call& call);
  Reply replace_queue(const Call& call);
  Reply pause_queue(const Call& call);
  Reply resume_queue(const Call& call);
  Reply purge_queue(const Call& call);
  Reply start_job(const Call& call);
  Reply list_jobs(const Call& call);
  Reply get_job(const Call& call);
  Reply stop_job(const Call& call);
  Reply job_export(const Call& call);
  Reply take_message(const Call& call);
  Reply hear_reports(const Call& call);
  Reply list_workers(const Call& call);
  Reply drain_worker(const Call& call);
  Reply stop_worker(const Call& call);
  Reply get_worker(const Call& call);
  Reply list_actors(const Call& call);
  Reply get_actor(const Call& call);
  Reply change_actor(const Call& call);
  Reply reload_config(const Call& call);
  Reply health(const Call& call);
  Reply ready(const Call& call);
  Reply metrics(const Call& call);
  Reply openapi(const Call& call);

 private:
  Response failed(const std::exception& error) const;
  Response task_response(const Task& task, int status,
                         const std::vector<std::string>* warnings = nullptr);
  Reply submitted(const ApiRequest& request, Submitted submitted, std::optional<SteadyPoint> until);
  Response batch_response(const std::vector<Submitted>& answers);
  Reply submit_per_item(const ApiRequest& request, bool ndjson);
  Response queue_response(const std::string& name);
  std::string id_of(TaskKey key);
  Response actor_response(const std::string& type);
  Response explained(const Explanation& explanation) const;
  Reply end_worker(const Call& call, const char* command);
  int accepted() const { return options_.ops_core ? 201 : 202; }
  TaskView view_of(const Task& task);
  void append_corrupt(std::string& out, const TaskPage& page);
  void append_total(std::string& out, const TaskFilter& filter, const TaskPage& page,
                    bool first_page);
  void set_queue_gauges();
  void set_worker_gauges();

  Service& service_;
  Metrics& metrics_;
  Log& log_;
  const RoutesOptions options_;
  Mutex gauges_mutex_;  // one scrape at a time sets and reads the gauges
};

// The instant until which ?wait= asks to wait; nothing without it.
std::optional<SteadyPoint> wait_until(const std::optional<std::string>& wait);

// The body may be any type that is JSON, or none is named; `ndjson`: application/x-ndjson, too.
bool is_json_type(std::string_view content_type);
// The type says itself that it is JSON or lines of it.
bool is_declared_json(std::string_view content_type);
bool is_ndjson_type(std::string_view content_type);

}  // namespace opscore
