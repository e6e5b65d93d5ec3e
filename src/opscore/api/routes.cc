#include "opscore/api/routes.h"

#include <fmt/format.h>

#include <algorithm>

#include "opscore/api/problem.h"
#include "opscore/api/query.h"

namespace opscore {
namespace {

constexpr std::string_view kPrefix = "/api/v1";

// The hot ones first: the search is from the top.
constexpr Route kRoutes[] = {
    {"POST", "/api/v1/tasks", &Routes::submit, Route::Kind::submit},
    {"POST", "/api/v1/tasks/batch", &Routes::submit_batch, Route::Kind::batch},
    {"GET", "/api/v1/tasks", &Routes::list_tasks},
    {"GET", "/api/v1/tasks/{task_id}", &Routes::get_task},
    {"DELETE", "/api/v1/tasks/{task_id}", &Routes::delete_task},
    {"POST", "/api/v1/tasks/{task_id}/cancel", &Routes::cancel_task},
    {"POST", "/api/v1/tasks/{task_id}/retry", &Routes::retry_task},
    {"GET", "/api/v1/tasks/{task_id}/events", &Routes::task_events},
    {"GET", "/api/v1/tasks/{task_id}/steps", &Routes::task_steps},
    {"GET", "/api/v1/tasks/{task_id}/attempts", &Routes::task_attempts},
    {"GET", "/api/v1/tasks/{task_id}/explain", &Routes::explain_task},
    {"GET", "/api/v1/queues", &Routes::list_queues},
    {"GET", "/api/v1/queues/{queue}", &Routes::get_queue},
    {"PATCH", "/api/v1/queues/{queue}", &Routes::change_queue},
    {"PUT", "/api/v1/queues/{queue}", &Routes::replace_queue},
    {"POST", "/api/v1/queues/{queue}/pause", &Routes::pause_queue},
    {"POST", "/api/v1/queues/{queue}/resume", &Routes::resume_queue},
    {"POST", "/api/v1/queues/{queue}/purge", &Routes::purge_queue},
    {"GET", "/api/v1/queues/{queue}/explain", &Routes::explain_queue},
    {"POST", "/api/v1/jobs", &Routes::start_job},
    {"GET", "/api/v1/jobs", &Routes::list_jobs},
    {"GET", "/api/v1/jobs/{job_id}", &Routes::get_job},
    {"POST", "/api/v1/jobs/{job_id}/stop", &Routes::stop_job},
    {"GET", "/api/v1/jobs/{job_id}/export", &Routes::job_export},
    {"POST", "/api/v1/dramatiq/messages", &Routes::take_message},
    {"POST", "/api/v1/dramatiq/reports", &Routes::hear_reports},
    {"GET", "/api/v1/workers", &Routes::list_workers},
    {"GET", "/api/v1/workers/{worker}/explain", &Routes::explain_worker},
    {"POST", "/api/v1/workers/{worker}/drain", &Routes::drain_worker},
    {"POST", "/api/v1/workers/{worker}/stop", &Routes::stop_worker},
    {"GET", "/api/v1/workers/{worker}", &Routes::get_worker},
    {"GET", "/api/v1/actors", &Routes::list_actors},
    {"GET", "/api/v1/actors/{task_type}", &Routes::get_actor},
    {"PATCH", "/api/v1/actors/{task_type}", &Routes::change_actor},
    {"POST", "/api/v1/config/reload", &Routes::reload_config},
    {"GET", "/health", &Routes::health, Route::Kind::plain, true},
    {"GET", "/ready", &Routes::ready, Route::Kind::plain, true},
    {"GET", "/metrics", &Routes::metrics},
    {"GET", "/openapi.json", &Routes::openapi},
};

std::string_view take_segment(std::string_view& path) {
  path.remove_prefix(1);  // the slash
  size_t end = std::min(path.find('/'), path.size());
  std::string_view segment = path.substr(0, end);
  path.remove_prefix(end);
  return segment;
}

bool is_part(std::string_view segment) {
  return segment.starts_with('{');
}

// Whether `path` fits; the texts of the {parts} go to `args`, when wanted.
bool fits(std::string_view pattern, std::string_view path, std::vector<std::string>* args) {
  if (pattern == path && path.find('{') == path.npos) return true;
  while (!pattern.empty() && !path.empty()) {
    std::string_view wanted = take_segment(pattern);
    std::string_view segment = take_segment(path);
    if (!is_part(wanted) ? wanted != segment : segment.empty()) return false;
    if (!is_part(wanted) || !args) continue;
    auto decoded = percent_decode(segment, false);
    if (!decoded) throw Error(Errc::malformed, "broken percent-encoding in the path");
    if (!is_clean_text(*decoded))
      throw Error(Errc::malformed, "the path holds bytes that are not UTF-8, or a NUL");
    args->push_back(std::move(*decoded));
  }
  return pattern.empty() && path.empty();
}

std::string_view trimmed(std::string_view path) {
  if (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return path;
}

bool leads_to(const Route& route, std::string_view path, std::vector<std::string>* args = nullptr) {
  path = trimmed(path);
  if (!path.starts_with('/')) return false;
  if (fits(route.pattern, path, args)) return true;
  return !route.pattern.starts_with(kPrefix) && path.starts_with(kPrefix) &&
         route.pattern == path.substr(kPrefix.size());
}

// "tasks/batch" is a route of its own, so it is never a task.
bool is_shadowed(const Route& route, std::string_view path) {
  return is_part(route.pattern.substr(route.pattern.rfind('/') + 1)) &&
         trimmed(path) == "/api/v1/tasks/batch";
}

bool has_json_suffix(std::string_view type) {
  return type.ends_with("+json");
}

// Without parameters, in lower case.
std::string media_type(std::string_view content_type) {
  std::string type(content_type.substr(0, content_type.find(';')));
  while (!type.empty() && (type.back() == ' ' || type.back() == '\t')) type.pop_back();
  std::transform(type.begin(), type.end(), type.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return type;
}

}  // namespace

std::span<const Route> all_routes() {
  return kRoutes;
}

const Route* find_route(std::string_view method, std::string_view path) {
  if (method == "HEAD") method = "GET";
  for (const Route& route : kRoutes)
    if (route.method == method && leads_to(route, path) && !is_shadowed(route, path)) return &route;
  return nullptr;
}

std::string allowed_methods(std::string_view path) {
  std::string allowed;
  for (const Route& route : kRoutes) {
    if (!leads_to(route, path) || is_shadowed(route, path)) continue;
    if (!allowed.empty()) allowed += ", ";
    allowed += route.method;
    if (route.method == "GET") allowed += ", HEAD";
  }
  return allowed;
}

Routes::Routes(Service& service, Metrics& metrics, Log& log, RoutesOptions options)
    : service_(service), metrics_(metrics), log_(log), options_(std::move(options)) {}

Reply Routes::handle(const ApiRequest& request) {
  return guarded([&] {
    Call call{request, {}};
    leads_to(*request.route, request.path, &call.args);
    return (this->*request.route->handle)(call);
  });
}

Response Routes::failed(const std::exception& failure) const {
  if (auto error = dynamic_cast<const Error*>(&failure)) {
    // Of a store that is away every request has the same to say: see Refusals.
    if (info(error->code()).http_status >= 500 && error->code() != Errc::unavailable)
      log_.warn("http: {}", error->what());
    return problem(*error);
  }
  log_.error("http: a bug, survived: {}", failure.what());
  return problem(Error(Errc::internal, "the request failed because of a bug; see the log"));
}

std::optional<SteadyPoint> wait_until(const std::optional<std::string>& wait) {
  constexpr Duration kWaitMax = std::chrono::seconds(300);
  if (!wait) return std::nullopt;
  auto duration = parse_duration(*wait);
  if (!duration) throw Error(Errc::invalid, "wait: " + duration.error().message()).at("wait");
  if (*duration > kWaitMax)
    throw Error(Errc::invalid, fmt::format("wait: {} is more than {}", *wait, to_text(kWaitMax)))
        .at("wait");
  return std::chrono::steady_clock::now() + *duration;
}

bool is_json_type(std::string_view content_type) {
  std::string type = media_type(content_type);
  // The third is what curl -d says of anything; the fourth says nothing.
  return type.empty() || type == "application/json" ||
         type == "application/x-www-form-urlencoded" || type == "application/octet-stream" ||
         has_json_suffix(type);
}

bool is_declared_json(std::string_view content_type) {
  std::string type = media_type(content_type);
  return type == "application/json" || has_json_suffix(type) || is_ndjson_type(content_type);
}

bool is_ndjson_type(std::string_view content_type) {
  std::string type = media_type(content_type);
  return type == "application/x-ndjson" || type == "application/ndjson" ||
         type == "application/jsonl" || type == "application/x-jsonlines";
}

}  // namespace opscore
