// Walks every documented response: for each operation and status in api/openapi.yaml there is a
// request here that gets it. 503 and 507 need a store that fails and are left to the end-to-end
// tests; except /ready, whose 503 is an everyday answer.

#include <fmt/format.h>

#include <atomic>
#include <set>

#include "opscore/api/api_fixture.h"
#include "opscore/api/openapi.h"
#include "opscore/api/server.h"

namespace opscore {
namespace {

struct Request {
  std::string method, path, body, headers;
};

class ResponsesTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiOptions options;
    options.port = 0;
    options.reload = [this]() -> ReloadReport {
      if (broken_config) throw Error(Errc::invalid, "opscore.toml:1: is not a setting");
      return {{"log.level"}, {"server.port"}, {}};
    };
    open_server = std::make_unique<ApiServer>(*service, metrics, *log, options);
    open_server->start();
    options.token = "secret";
    locked_server = std::make_unique<ApiServer>(*service, metrics, *log, options);
    locked_server->start();
    options.token.clear();
    options.ops_core = true;
    compat_server = std::make_unique<ApiServer>(*service, metrics, *log, options);
    compat_server->start();
  }
  void TearDown() override {
    open_server->stop(Deadline::after(std::chrono::seconds(5)));
    locked_server->stop(Deadline::after(std::chrono::seconds(5)));
    compat_server->stop(Deadline::after(std::chrono::seconds(5)));
  }

  // A new task that is the only one to claim.
  std::string submit_alone() {
    if (!service->queues().empty()) service->purge("default");
    return submit();
  }
  std::string finished() {
    std::string id = submit_alone();
    finish(claim(), Outcome::complete("1"));
    return id;
  }
  std::string running() {
    std::string id = submit_alone();
    claim();
    return id;
  }
  std::string job(JobAction action, bool ended) {
    JobRequest request;
    request.action = action;
    request.filter.queue = "nowhere";
    std::string id = BulkJobs::id_of(service->bulk().start(request).id);
    if (ended) work_on_jobs();
    return id;
  }
  void renew(const std::string& state) {
    SessionReport report;
    report.state = state;
    report.queues = {"default"};
    store->fleet().renew(session, report);
  }

  // The request with which `operation` answers `status`; nothing when there is none here.
  std::optional<Request> request_for(const std::string& operation, int status, Request plain);
  std::optional<Request> special(const std::string& operation, int status, Request plain);
  std::optional<Request> of_worker_or_log(const std::string& key, const Request& plain);
  std::optional<Request> plain_success(const std::string& operation, int status, Request plain);
  std::optional<Request> of_dramatiq(const std::string& key, const std::string& path);

  std::atomic<bool> broken_config{false};
  const std::string kTask = R"({"task_type": "mail.send"})";
  std::unique_ptr<ApiServer> open_server, locked_server, compat_server;
};

std::string with(std::string path, const std::string& part, const std::string& value) {
  size_t at = path.find(part);
  return at == std::string::npos ? path : path.replace(at, part.size(), value);
}

std::optional<Request> ResponsesTest::request_for(const std::string& operation, int status,
                                                  Request plain) {
  if (status == 401) return plain;  // to the server with a token
  if (auto request = special(operation, status, plain)) return request;
  plain.path = with(plain.path, "{task_id}", status == 404 ? "nobody" : submit());
  plain.path = with(plain.path, "{queue}", status == 404 ? "nowhere" : "default");
  plain.path =
      with(plain.path, "{job_id}", status == 404 ? "job_0" : job(JobAction::cancel, false));
  plain.path = with(plain.path, "{task_type}", status == 404 ? "nobody" : "mail.send");
  plain.path =
      with(plain.path, "{worker}", status == 404 ? "worker-99" : service->worker_name(session));
  if (plain.method == "PATCH" || plain.method == "PUT") plain.body = "{}";
  switch (status) {
    case 400:
      plain.body = "{";
      return plain;
    case 403:
      plain.headers = "Origin: http://elsewhere.example\r\n";
      return plain;
    case 404:
      return plain;
    case 413:
      plain.body = std::string((64 << 20) + 1, ' ');
      return plain;
    case 415:
      plain.headers = "Content-Type: text/plain\r\n";
      return plain;
    default:
      return plain_success(operation, status, plain);
  }
}

std::optional<Request> ResponsesTest::plain_success(const std::string& operation, int status,
                                                    Request plain) {
  static const std::set<std::string> kSubmits = {"submit", "submit_batch"};
  if (kSubmits.contains(operation) && (status == 202 || status == 201)) {
    plain.body = operation == "submit" ? kTask : "[" + kTask + "]";
    return plain;
  }
  if (operation == "delete_task" && status == 204) return plain;
  const bool ends_worker = operation == "drain_worker" || operation == "stop_worker";
  if (ends_worker && status == 202) return plain;
  if (operation == "ready") renew(status == 200 ? "consuming" : "draining");
  if (status == 200 || (operation == "ready" && status == 503)) return plain;
  return std::nullopt;
}

std::optional<Request> ResponsesTest::of_dramatiq(const std::string& key, const std::string& path) {
  auto message = [&](const char* queue, const char* actor) {
    return fmt::format(
        R"({{"queue_name":"{}","actor_name":"{}","args":[],"kwargs":{{}},"options":{{}},)"
        R"("message_id":"{}","message_timestamp":1}})",
        queue, actor, key.substr(key.find(' ') + 1));
  };
  if (key == "take_message 202") return Request{"POST", path, message("default", "mail.send"), {}};
  if (key == "take_message 200") {
    RawClient(open_server->port()).ask("POST", path, message("default", "mail.send"));
    return Request{"POST", path, message("default", "mail.send"), {}};
  }
  if (key == "take_message 404") return Request{"POST", path, message("default", "nobody"), {}};
  if (key == "take_message 422") return Request{"POST", path, "[]", {}};
  if (key == "take_message 429") {
    service->set_limits("full", {.max_pending = 0});
    return Request{"POST", path, message("full", "mail.send"), {}};
  }
  if (key == "hear_reports 200")
    return Request{"POST", path, R"({"reports": [{"message_id": "x", "kind": "running"}]})", {}};
  if (key == "hear_reports 422") return Request{"POST", path, R"({"reports": [{}]})", {}};
  return std::nullopt;
}

std::optional<Request> ResponsesTest::of_worker_or_log(const std::string& key,
                                                       const Request& plain) {
  const std::string& path = plain.path;
  if (key == "list_workers 422") return Request{"GET", path + "?ended_within=x", {}, {}};
  return std::nullopt;
}

// What differs from operation to operation.
std::optional<Request> ResponsesTest::special(const std::string& operation, int status,
                                              Request plain) {
  const std::string key = fmt::format("{} {}", operation, status);
  const std::string& path = plain.path;
  auto at = [&](const std::string& id) { return with(path, "{task_id}", id); };
  const std::string keyed = R"({"task_type": "mail.send", "idempotency_key": "k", "input_data": )";
  if (key == "submit 200" || key == "submit_batch 200" || key == "submit 409" ||
      key == "submit_batch 409") {
    RawClient(open_server->port()).ask("POST", "/api/v1/tasks", keyed + "1}");
    std::string body = keyed + (status == 200 ? "1}" : "2}");
    return Request{"POST", path, operation == "submit" ? body : "[" + body + "]", {}};
  }
  if (key == "submit 422") return Request{"POST", path, "{}", {}};
  if (key == "submit_batch 422") return Request{"POST", path, "[{}]", {}};
  if (key == "submit 429" || key == "submit_batch 429") {
    service->set_limits("full", {.max_pending = 0});
    std::string body = R"({"task_type": "mail.send", "queue": "full"})";
    return Request{"POST", path, operation == "submit" ? body : "[" + body + "]", {}};
  }
  if (key == "change_queue 422" || key == "replace_queue 422")
    return Request{plain.method, with(path, "{queue}", "default"), R"({"concurrency": 0})", {}};
  if (key == "change_actor 422")
    return Request{plain.method, with(path, "{task_type}", "mail.send"), R"({"x": 1})", {}};
  if (operation == "reload_config" && (status == 200 || status == 422)) {
    broken_config = status == 422;
    return Request{"POST", path, {}, {}};
  }
  if (key == "list_tasks 422") return Request{"GET", path + "?limit=0", {}, {}};
  if (key == "get_task 202") return Request{"GET", at(submit()) + "?wait=0", {}, {}};
  if (key == "get_task 422") return Request{"GET", at(submit()) + "?wait=x", {}, {}};
  if (key == "delete_task 409") return Request{"DELETE", at(running()), {}, {}};
  if (key == "cancel_task 202") return Request{"POST", at(running()), {}, {}};
  if (key == "cancel_task 409") return Request{"POST", at(finished()), {}, {}};
  if (key == "retry_task 202") return Request{"POST", at(finished()), {}, {}};
  if (key == "retry_task 409") return Request{"POST", at(running()), {}, {}};
  if (key == "retry_task 422") return Request{"POST", at(finished()), R"({"x": 1})", {}};
  if (key == "task_events 204" || key == "task_events 422")
    return Request{"GET",
                   at(finished()),
                   {},
                   fmt::format("Accept: text/event-stream\r\nLast-Event-ID: {}\r\n",
                               status == 204 ? "99" : "x")};
  if (key == "pause_queue 422") return Request{"POST", with(path, "{queue}", "no%20name"), {}, {}};
  auto at_job = [&](const std::string& id) { return with(path, "{job_id}", id); };
  const std::string cancel_all = R"({"action": "cancel", "all": true)";
  if (key == "start_job 202") return Request{"POST", path, cancel_all + "}", {}};
  if (key == "start_job 200")
    return Request{"POST", path, cancel_all + R"(, "dry_run": true})", {}};
  if (key == "start_job 422") return Request{"POST", path, R"({"action": "delete"})", {}};
  if (key == "list_jobs 422") return Request{"GET", path + "?limit=0", {}, {}};
  if (key == "stop_job 409") return Request{"POST", at_job(job(JobAction::cancel, true)), {}, {}};
  if (key == "job_export 200")
    return Request{"GET", at_job(job(JobAction::export_tasks, true)), {}, {}};
  if (key == "job_export 409") return Request{"GET", at_job(job(JobAction::cancel, true)), {}, {}};
  if (auto request = of_dramatiq(key, path)) return request;
  return of_worker_or_log(key, plain);
}

TEST_F(ResponsesTest, EveryDocumentedResponseIsGiven) {
  Json document = Json::parse(openapi_json());
  int walked = 0;
  for (const auto& [path, operations] : document["paths"].items())
    for (const auto& [method, operation] : operations.items()) {
      if (method == "parameters") continue;
      for (const auto& [status_text, response] : operation["responses"].items()) {
        const std::string name = operation["operationId"];
        const int status = std::stoi(status_text);
        if (name != "ready" && (status == 503 || status == 507)) continue;
        SCOPED_TRACE(name + " " + status_text);
        Request plain{method, path, {}, {}};
        std::transform(method.begin(), method.end(), plain.method.begin(), ::toupper);
        auto request = request_for(name, status, plain);
        ASSERT_TRUE(request) << "no request is known that gets this response";
        RawClient client((status == 401   ? locked_server
                          : status == 201 ? compat_server
                                          : open_server)
                             ->port());
        auto answer = client.ask(request->method, request->path, request->body, request->headers);
        EXPECT_EQ(answer.status, status) << answer.body;
        const Json& said =
            response.contains("$ref")
                ? document[Json::json_pointer(response["$ref"].get<std::string>().substr(1))]
                : response;
        if (said.contains("content")) {
          std::string type = answer.headers["content-type"];
          EXPECT_TRUE(said["content"].contains(type.substr(0, type.find(';')))) << type;
        }
        ++walked;
      }
    }
  EXPECT_GT(walked, 80);
}

}  // namespace
}  // namespace opscore
