// Tasks: listing, reading, changing, and what is known about each.

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "opscore/api/filters.h"
#include "opscore/api/json_object.h"
#include "opscore/api/problem.h"
#include "opscore/api/query.h"
#include "opscore/api/routes.h"
#include "opscore/api/submit_body.h"
#include "opscore/api/views.h"

namespace opscore {
namespace {

constexpr size_t kPageBytes = 16 << 20;  // a page ends early when its tasks are large

[[noreturn]] void refuse(const std::string& field, const std::string& message) {
  throw Error(Errc::invalid, field + ": " + message).at(field);
}

bool wants_stream(const ApiRequest& request) {
  constexpr std::string_view kStream = "text/event-stream";
  auto found = std::search(request.accept.begin(), request.accept.end(), kStream.begin(),
                           kStream.end(), [](char a, char b) { return (a | 0x20) == (b | 0x20); });
  return request.method != "HEAD" && found != request.accept.end();
}

int last_event_of(const ApiRequest& request) {
  const std::string& text = request.last_event_id;
  int number = 0;
  if (text.empty()) return number;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (code != std::errc() || end != text.data() + text.size() || number < 0)
    refuse("Last-Event-ID", fmt::format("'{}' is not the number of an event", text));
  return number;
}

}  // namespace

Response Routes::task_response(const Task& task, int status,
                               const std::vector<std::string>* warnings) {
  Response response;
  response.status = status;
  TaskView view = view_of(task);
  if (!is_terminal(task.state())) view.reason = service_.reason(task);
  view.warnings = warnings;
  append_task(response.body, view);
  return response;
}

TaskView Routes::view_of(const Task& task) {
  return {.task = task,
          .id = service_.id_of(task),
          .worker = service_.worker_name(task.worker),
          .reason = {},
          .with_output_data = options_.ops_core};
}

// How many tasks match, from the counters of the queues. They know nothing of the other filters:
// with one of those the number is an upper bound, unless the first page already holds everything.
void Routes::append_total(std::string& out, const TaskFilter& filter, const TaskPage& page,
                          bool first_page) {
  bool counted = filter.type.empty() && filter.labels.empty() && !filter.created_since &&
                 !filter.created_before;
  bool all_here = first_page && !page.next && !page.partial;
  int64_t total = 0;
  for (const QueueStats& queue : service_.store().reader().queues()) {
    if (!filter.queue.empty() && queue.name != filter.queue) continue;
    const std::pair<State, int64_t> counts[] = {
        {State::scheduled, queue.scheduled}, {State::waiting, queue.waiting},
        {State::pending, queue.pending},     {State::running, queue.running},
        {State::completed, queue.completed}, {State::failed, queue.dead},
        {State::cancelled, queue.cancelled}};
    for (const auto& [state, count] : counts)
      if (filter.states.empty() || filter.states.has(state)) total += count;
  }
  if (all_here) total = static_cast<int64_t>(page.tasks.size());
  out += fmt::format(",\"total\":{},\"total_exact\":{}", total, counted || all_here);
}

// A list without them would look complete.
void Routes::append_corrupt(std::string& out, const TaskPage& page) {
  if (page.corrupt.empty()) return;
  out += ",\"warnings\":";
  append_array(out, page.corrupt, [this](std::string& to, const auto& found) {
    const auto& [key, problem] = found;
    const std::string id = service_.store().ids().encode(key);
    log_.error("list: task {} cannot be read: {}", id, problem);
    append_quoted(to, fmt::format("task {} cannot be read: {}", id, problem));
  });
}

Reply Routes::list_tasks(const Call& call) {
  Query query(call.request.query, {"status", "type", "task_type", "queue", "label", "limit",
                                   "cursor", "created_after", "created_before"});
  TaskFilter filter = read_filter(query);
  std::string cursor = query.one("cursor").value_or("");
  TaskPage page = service_.list(filter, cursor, read_limit(query));
  Response response;
  std::string& out = response.body;
  out = "{\"tasks\":[";
  for (size_t i = 0; i < page.tasks.size(); ++i) {
    const Task& task = page.tasks[i];
    if (i != 0) out += ',';
    append_task(out, view_of(task));
    if (out.size() < kPageBytes || i + 1 == page.tasks.size()) continue;
    page.next = task.key;
    page.partial = true;
    break;
  }
  out += "],\"next_cursor\":";
  if (page.next)
    append_quoted(out, service_.cursor_of(*page.next));
  else
    out += "null";
  out += page.partial ? ",\"partial\":true" : ",\"partial\":false";
  append_corrupt(out, page);
  if (options_.ops_core) append_total(out, filter, page, cursor.empty());
  out += '}';
  return response;
}

Reply Routes::get_task(const Call& call) {
  auto until = wait_until(Query(call.request.query, {"wait"}).one("wait"));
  Task task = service_.get(call.args[0]);
  if (until && !is_terminal(task.state()))
    return Wait{.key = task.key, .until = *until, .warnings = {}};
  return task_response(task, 200);
}

std::optional<Response> Routes::look(const Wait& wait, bool expired) {
  bool goes_on = false;
  Reply reply = guarded([&]() -> Reply {
    try {
      Task task = service_.get(wait.key);
      bool done = is_terminal(task.state());
      goes_on = !done && !expired;
      if (goes_on) return Response{};
      Response response = task_response(task, done ? 200 : wait.unfinished_status, &wait.warnings);
      response.headers.emplace_back("Location", "/api/v1/tasks/" + service_.id_of(task));
      return response;
    } catch (const Error& error) {
      // The store may be back before the client's time is up.
      goes_on = error.retryable() && !expired;
      if (goes_on) return Response{};
      throw;
    }
  });
  if (goes_on) return std::nullopt;
  return std::get<Response>(std::move(reply));
}

Reply Routes::delete_task(const Call& call) {
  Query query(call.request.query, {});
  service_.remove(call.args[0]);
  Response response;
  response.status = 204;
  return response;
}

Reply Routes::cancel_task(const Call& call) {
  Query query(call.request.query, {});
  Task task = service_.cancel(call.args[0]);
  return task_response(task, is_terminal(task.state()) ? 200 : 202);
}

Reply Routes::retry_task(const Call& call) {
  Query query(call.request.query, {});
  Task task = service_.retry(call.args[0], read_retry(call.request.body));
  Response response = task_response(task, 202);
  response.headers.emplace_back("Location", "/api/v1/tasks/" + service_.id_of(task));
  return response;
}

Reply Routes::task_events(const Call& call) {
  Query query(call.request.query, {});
  Task task = service_.get(call.args[0]);
  auto events = service_.events(task);
  if (!wants_stream(call.request)) return list_response("events", events, append_event);
  int last = last_event_of(call.request);
  if (is_terminal(task.state()) && last >= static_cast<int>(events.size())) {
    Response nothing_more;  // which also tells a browser's EventSource to stop reconnecting
    nothing_more.status = 204;
    return nothing_more;
  }
  return Stream{task.key, last};
}

Reply Routes::task_steps(const Call& call) {
  Query query(call.request.query, {});
  return list_response("steps", service_.steps(service_.get(call.args[0])), append_step);
}

Reply Routes::task_attempts(const Call& call) {
  Query query(call.request.query, {});
  auto attempts = service_.attempts(service_.get(call.args[0]));
  return list_response("attempts", attempts, [&](std::string& out, const Attempt& attempt) {
    append_attempt(out, attempt, service_.worker_name(attempt.worker));
  });
}

Reply Routes::explain_task(const Call& call) {
  Query query(call.request.query, {});
  return explained(explain(service_.store(), service_.clock(), call.args[0],
                           {.look_at_queues = options_.look_at_queues}));
}

Response Routes::explained(const Explanation& explanation) const {
  Response response;
  response.body = to_json(explanation).dump(-1, ' ', false, Json::error_handler_t::replace);
  return response;
}

}  // namespace opscore
