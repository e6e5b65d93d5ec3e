#include "opscore/api/routes.h"

#include "opscore/api/api_fixture.h"
#include "opscore/api/openapi.h"

namespace opscore {
namespace {

class RoutesTest : public ApiTest {
 protected:
  Response answer(const std::string& method, const std::string& target, std::string body = {}) {
    request.method = method;
    size_t mark = target.find('?');
    request.path = target.substr(0, mark);
    request.query = mark == std::string::npos ? "" : target.substr(mark + 1);
    request.body = std::move(body);
    request.route = find_route(request.method, request.path);
    EXPECT_NE(request.route, nullptr) << method << " " << target;
    Reply reply = routes.handle(request);
    EXPECT_TRUE(std::holds_alternative<Response>(reply));
    return std::get<Response>(std::move(reply));
  }
  Json json(const Response& response) { return parse_json(response.body); }
  Json get(const std::string& id) { return json(answer("GET", "/api/v1/tasks/" + id)); }
  void expect_invalid(const Response& response, const std::string& field) {
    EXPECT_EQ(response.status, 422) << response.body;
    EXPECT_EQ(json(response)["type"], "urn:opscore:error:invalid");
    EXPECT_EQ(json(response)["field"], field) << response.body;
  }

  ApiRequest request;
  Routes routes{*service, metrics, *log, {"1.2.3", std::string(openapi_json())}};
};

TEST_F(RoutesTest, SubmitAnswers202WithWhatIsKnownAndWhereItIs) {
  auto response = answer("POST", "/api/v1/tasks/",
                         R"({"task_type": "mail.send", "input_data": {"to":  "a@b"}})");
  EXPECT_EQ(response.status, 202);
  Json body = json(response);
  std::string id = body["task_id"];
  EXPECT_TRUE(id.starts_with("task_"));
  EXPECT_EQ(body["status"], "pending");
  EXPECT_EQ(body["task_type"], "mail.send");
  EXPECT_EQ(body["queue"], "default");
  EXPECT_TRUE(body.contains("created_at"));
  EXPECT_NE(response.headers.end(),
            std::find(response.headers.begin(), response.headers.end(),
                      std::pair<std::string, std::string>("Location", "/api/v1/tasks/" + id)));
}

TEST_F(RoutesTest, PayloadsComeBackByteForByte) {
  std::string input = R"({"big":  12345678901234567890.10, "\u00e9": [1,2 , 3]})";
  auto id = submit(input);
  auto response = answer("GET", "/api/v1/tasks/" + id);
  EXPECT_NE(response.body.find("\"input_data\":" + input), std::string::npos) << response.body;
  finish(claim(), Outcome::complete(R"({"n":  1.50})"));
  response = answer("GET", "/api/v1/tasks/" + id);
  EXPECT_NE(response.body.find(R"("result":{"n":  1.50})"), std::string::npos) << response.body;
}

TEST_F(RoutesTest, AllSubmitFieldsArriveAndComeBack) {
  auto response = answer("POST", "/api/v1/tasks", R"({"task_type": "mail.send", "queue": "bulk",
      "priority": -7, "delay": "1h", "max_attempts": 0, "timeout": 90, "deadline": "2h",
      "backoff": {"min": "2s", "max": "1m", "factor": 3, "jitter": 0.25}, "idempotency_key": "k",
      "task_id": "my:1", "name": "Hi", "labels": {"team": "x", "a": "y"}, "metadata": {"m": 1}})");
  ASSERT_EQ(response.status, 202) << response.body;
  Json task = get("my:1");
  EXPECT_EQ(task["task_id"], "my:1");
  EXPECT_EQ(task["status"], "scheduled");
  EXPECT_EQ(task["queue"], "bulk");
  EXPECT_EQ(task["priority"], -7);
  EXPECT_EQ(task["max_attempts"], 0);
  EXPECT_EQ(task["timeout"], "90s");
  EXPECT_TRUE(task["deadline"].is_string());
  EXPECT_EQ(task["backoff"],
            Json::parse(R"({"min":"2s","max":"1m","factor":3.0,"jitter":[0.75,1.0]})"));
  EXPECT_EQ(task["idempotency_key"], "k");
  EXPECT_EQ(task["name"], "Hi");
  EXPECT_EQ(task["labels"], Json::parse(R"({"team":"x","a":"y"})"));
  EXPECT_EQ(task["metadata"], Json::parse(R"({"m":1})"));
  EXPECT_TRUE(task["scheduled_at"].is_string());
  EXPECT_TRUE(task["reason"].is_string());
}

TEST_F(RoutesTest, WrongFieldsAreNamed) {
  struct Case {
    const char* body;
    const char* field;
  };
  for (const Case& wrong : {
           Case{R"({"input_data": 1})", "task_type"},
           Case{R"({"task_type": 5})", "task_type"},
           Case{R"({"task_type": "mail.sent"})", "task_type"},
           Case{R"({"task_type": "mail.send", "priority": 101})", "priority"},
           Case{R"({"task_type": "mail.send", "priority": 1.5})", "priority"},
           Case{R"({"task_type": "mail.send", "priority": 99999999999})", "priority"},
           Case{R"({"task_type": "mail.send", "priorty": 1})", "priorty"},
           Case{R"({"task_type": "mail.send", "delay": "soon"})", "delay"},
           Case{R"({"task_type": "mail.send", "delay": -1})", "delay"},
           Case{R"({"task_type": "mail.send", "run_at": "tomorrow"})", "run_at"},
           Case{R"({"task_type": "mail.send", "deadline": "whenever"})", "deadline"},
           Case{R"({"task_type": "mail.send", "labels": {"a": 1}})", "labels.a"},
           Case{R"({"task_type": "mail.send", "metadata": []})", "metadata"},
           Case{R"({"task_type": "mail.send", "backoff": {"min": "x"}})", "backoff.min"},
           Case{R"({"task_type": "mail.send", "backoff": {"jitter": 2}})", "backoff.jitter"},
           Case{R"({"task_type": "mail.send", "backoff": {"jitter": [1]}})", "backoff.jitter"},
           Case{R"({"task_type": "mail.send", "task_id": "no spaces"})", "task_id"},
           Case{R"({"task_type": "mail.send", "queue": "x.DQ"})", "queue"},
       })
    expect_invalid(answer("POST", "/api/v1/tasks", wrong.body), wrong.field);
  auto response = answer("POST", "/api/v1/tasks", R"({"task_type": "mail.send", "priorty": 1})");
  EXPECT_NE(response.body.find("did you mean 'priority'"), std::string::npos) << response.body;
}

TEST_F(RoutesTest, NullMeansNotGiven) {
  auto response = answer("POST", "/api/v1/tasks", R"({"task_type": "mail.send", "queue": null,
      "priority": null, "run_at": null, "delay": null, "max_attempts": null, "backoff": null,
      "timeout": null, "deadline": null, "idempotency_key": null, "task_id": null, "name": null,
      "labels": null, "metadata": null, "input_data": null})");
  EXPECT_EQ(response.status, 202) << response.body;
}

TEST_F(RoutesTest, MalformedJsonIs400WithLineAndColumn) {
  auto response = answer("POST", "/api/v1/tasks", "{\"task_type\": \"mail.send\",\n  oops}");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.content_type, "application/problem+json");
  EXPECT_EQ(json(response)["line"], 2);
  EXPECT_EQ(json(response)["column"], 3);
  EXPECT_EQ(answer("POST", "/api/v1/tasks", "").status, 400);
  EXPECT_EQ(answer("POST", "/api/v1/tasks", R"({"task_type": "mail.send"} x)").status, 400);
}

TEST_F(RoutesTest, AReplayAnswersTheFirstTask) {
  const char* body = R"({"task_type": "mail.send", "input_data": 1, "idempotency_key": "once"})";
  Json first = json(answer("POST", "/api/v1/tasks", body));
  auto again = answer("POST", "/api/v1/tasks", body);
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(json(again)["task_id"], first["task_id"]);
  request.idempotency_key = "once";
  again = answer("POST", "/api/v1/tasks", R"({"task_type": "mail.send", "input_data": 1})");
  EXPECT_EQ(again.status, 200);
  auto other = answer("POST", "/api/v1/tasks", R"({"task_type": "mail.send", "input_data": 2})");
  EXPECT_EQ(other.status, 409);
  request.idempotency_key = "";
  expect_invalid(answer("POST", "/api/v1/tasks", body), "idempotency_key");
  request.idempotency_key = "else";
  expect_invalid(answer("POST", "/api/v1/tasks", body), "idempotency_key");
}

TEST_F(RoutesTest, SubmitsThatComeTogetherSucceedAndFailAlone) {
  std::vector<ApiRequest> requests(4);
  requests[0].body = R"({"task_type": "mail.send"})";
  requests[1].body = "{";
  requests[2].body = R"({"task_type": "no.such"})";
  requests[3].body = R"({"task_type": "mail.send"})";
  auto replies = routes.submit_all(requests);
  std::vector<int> statuses;
  for (Reply& reply : replies) statuses.push_back(std::get<Response>(reply).status);
  EXPECT_EQ(statuses, (std::vector<int>{202, 400, 422, 202}));
  EXPECT_EQ(json(std::get<Response>(replies[2]))["field"], "task_type");
}

TEST_F(RoutesTest, BatchesAreAllOrNothing) {
  for (const char* body :
       {R"([{"task_type": "mail.send"}, {"task_type": "mail.send"}])",
        R"({"tasks": [{"task_type": "mail.send"}, {"task_type": "mail.send"}]})"}) {
    auto response = answer("POST", "/api/v1/tasks/batch", body);
    EXPECT_EQ(response.status, 202) << response.body;
    EXPECT_EQ(json(response)["tasks"].size(), 2u);
    EXPECT_EQ(json(response)["tasks"][1]["status"], "pending");
  }
  size_t before = json(answer("GET", "/api/v1/tasks"))["tasks"].size();
  expect_invalid(
      answer("POST", "/api/v1/tasks/batch",
             R"([{"task_type": "mail.send"}, {"task_type": "mail.send", "priority": 500}])"),
      "tasks[1].priority");
  expect_invalid(answer("POST", "/api/v1/tasks/batch",
                        R"({"tasks": [{"task_type": "mail.send"}, {"task_type": 1}]})"),
                 "tasks[1].task_type");
  expect_invalid(answer("POST", "/api/v1/tasks/batch", R"([{"task_type": "mail.send"}, {}])"),
                 "tasks[1].task_type");
  expect_invalid(answer("POST", "/api/v1/tasks/batch", R"([{"task_type": "none.such"}])"),
                 "tasks[0].task_type");
  EXPECT_EQ(json(answer("GET", "/api/v1/tasks"))["tasks"].size(), before);
}

TEST_F(RoutesTest, BatchesMayBeNdjson) {
  request.content_type = "application/x-ndjson; charset=utf-8";
  auto response = answer("POST", "/api/v1/tasks/batch",
                         "{\"task_type\": \"mail.send\"}\r\n\n{\"task_type\": \"mail.send\"}");
  EXPECT_EQ(response.status, 202) << response.body;
  EXPECT_EQ(json(response)["tasks"].size(), 2u);
  response = answer("POST", "/api/v1/tasks/batch",
                    "{\"task_type\": \"mail.send\"}\n\n{\"task_type\": oops}\n");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(json(response)["line"], 3);
  EXPECT_EQ(json(response)["column"], 15);
  expect_invalid(answer("POST", "/api/v1/tasks/batch",
                        "{\"task_type\": \"mail.send\"}\n{\"task_type\": true}\n"),
                 "tasks[1].task_type");
}

TEST_F(RoutesTest, ItemsMayFailAlone) {
  auto response = answer("POST", "/api/v1/tasks/batch?atomic=false",
                         R"([{"task_type": "mail.send"}, {"task_type": "mail.send", "queue": 3},
                             {"task_type": "none.such"}, {"task_type": "mail.send"}])");
  EXPECT_EQ(response.status, 202) << response.body;
  Json body = json(response);
  EXPECT_EQ(body["accepted"], 2);
  EXPECT_EQ(body["refused"], 2);
  EXPECT_EQ(body["tasks"][0]["status"], "pending");
  EXPECT_EQ(body["tasks"][1]["index"], 1);
  EXPECT_EQ(body["tasks"][1]["error"]["field"], "queue");
  EXPECT_EQ(body["tasks"][2]["error"]["status"], 422);
  EXPECT_TRUE(body["tasks"][3].contains("task_id"));
  EXPECT_EQ(answer("POST", "/api/v1/tasks/batch?atomic=false", R"([{}])").status, 200);
  expect_invalid(answer("POST", "/api/v1/tasks/batch?atomic=perhaps", "[]"), "atomic");
}

TEST_F(RoutesTest, ABatchHasAtMostTenThousandTasks) {
  std::string body = "[";
  for (int i = 0; i < 10'001; ++i)
    body += i ? ",{\"task_type\":\"mail.send\"}" : "{\"task_type\":\"mail.send\"}";
  EXPECT_EQ(answer("POST", "/api/v1/tasks/batch", body + "]").status, 413);
}

TEST_F(RoutesTest, ListsArePagedAndFiltered) {
  for (int i = 0; i < 5; ++i) submit();
  answer("POST", "/api/v1/tasks", R"({"task_type": "mail.send", "queue": "other",
         "labels": {"team": "x:y"}})");
  Json page = json(answer("GET", "/api/v1/tasks/?limit=4"));
  EXPECT_EQ(page["tasks"].size(), 4u);
  EXPECT_EQ(page["tasks"][0]["queue"], "other");  // newest first
  ASSERT_TRUE(page["next_cursor"].is_string());
  page =
      json(answer("GET", "/api/v1/tasks?limit=4&cursor=" + page["next_cursor"].get<std::string>()));
  EXPECT_EQ(page["tasks"].size(), 2u);
  EXPECT_TRUE(page["next_cursor"].is_null());

  auto count = [&](const std::string& query) {
    return json(answer("GET", "/api/v1/tasks?" + query))["tasks"].size();
  };
  EXPECT_EQ(count("queue=other"), 1u);
  EXPECT_EQ(count("label=team:x%3Ay"), 1u);
  EXPECT_EQ(count("label=team:z"), 0u);
  EXPECT_EQ(count("status=pending&status=running"), 6u);
  EXPECT_EQ(count("status=failed,completed"), 0u);
  EXPECT_EQ(count("task_type=mail.send"), 6u);
  EXPECT_EQ(count("type=none"), 0u);
  EXPECT_EQ(count("created_before=2001-01-01T00:00:00Z"), 0u);
  EXPECT_EQ(count("created_after=2001-01-01T00:00:00Z"), 6u);
  EXPECT_EQ(count("created_after=2001-01-01T00:00:00+01:00"), 6u) << "a + that was not encoded";
  EXPECT_EQ(count("created_after=2001-01-01T00:00:00%2B01:00"), 6u);
  EXPECT_EQ(count("type=mail.send&task_type=mail.send"), 6u);
  EXPECT_EQ(answer("GET", "/api/v1/tasks?type=a&task_type=b").status, 422);
  const std::string both = R"({"action": "cancel", "filter": {"type": "a", "task_type": "b"}})";
  EXPECT_EQ(answer("POST", "/api/v1/jobs", both).status, 422);
  for (const char* field : {"limit", "status", "label", "created_after", "cursor"})
    expect_invalid(answer("GET", std::string("/api/v1/tasks?") + field + "=!"), field);
  expect_invalid(answer("GET", "/api/v1/tasks?limit=1001"), "limit");
  expect_invalid(answer("GET", "/api/v1/tasks?stauts=failed"), "stauts");
}

TEST_F(RoutesTest, TasksAreCancelledRetriedAndDeleted) {
  auto id = submit("1");
  auto path = "/api/v1/tasks/" + id;
  auto response = answer("POST", path + "/cancel");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(json(response)["status"], "cancelled");
  EXPECT_EQ(answer("POST", path + "/cancel").status, 409);
  response = answer("POST", path + "/retry/", R"({"input_data": {"edited":true}})");
  EXPECT_EQ(response.status, 202) << response.body;
  EXPECT_EQ(get(id)["input_data"], Json::parse(R"({"edited":true})"));
  expect_invalid(answer("POST", path + "/retry", R"({"input": 1})"), "input");
  auto task = claim();
  EXPECT_EQ(answer("DELETE", path).status, 409);
  response = answer("POST", path + "/cancel");
  EXPECT_EQ(response.status, 202);
  EXPECT_EQ(json(response)["cancel_requested"], true);
  finish(task, Outcome::complete("1"));
  EXPECT_EQ(answer("POST", path + "/retry").status, 202);
  EXPECT_EQ(answer("DELETE", path).status, 204);
  response = answer("GET", path);
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(json(response)["type"], "urn:opscore:error:not-found");
}

TEST_F(RoutesTest, AFailureIsShownWithKindMessageAndDetail) {
  auto id = submit();
  finish(claim(), Outcome::fail({"actor_error", "it \"broke\"", "at line 1\n"}, false));
  Json task = get(id);
  EXPECT_EQ(task["status"], "failed");
  EXPECT_EQ(task["error"]["kind"], "actor_error");
  EXPECT_EQ(task["error"]["detail"], "at line 1\n");
  EXPECT_EQ(task["error_message"], "it \"broke\"");
  EXPECT_EQ(task["attempts"], 1);
  EXPECT_TRUE(task["completed_at"].is_string());
  Json attempts = json(answer("GET", "/api/v1/tasks/" + id + "/attempts"));
  EXPECT_EQ(attempts["attempts"][0]["outcome"], "fatal");
  EXPECT_EQ(attempts["attempts"][0]["error"]["kind"], "actor_error");
  Json events = json(answer("GET", "/api/v1/tasks/" + id + "/events"));
  EXPECT_EQ(events["events"][0]["kind"], "submitted");
  EXPECT_EQ(events["events"][0]["number"], 1);
  EXPECT_EQ(json(answer("GET", "/api/v1/tasks/" + id + "/steps"))["steps"].size(), 0u);
}

TEST_F(RoutesTest, ExplainNamesTheFirstBrokenLink) {
  auto id = submit();
  Json explanation = json(answer("GET", "/api/v1/tasks/" + id + "/explain"));
  EXPECT_EQ(explanation["task_id"], id);
  EXPECT_FALSE(explanation["verdict"].get<std::string>().empty());
}

TEST_F(RoutesTest, QueuesArePausedResumedAndPurged) {
  submit();
  Json queues = json(answer("GET", "/api/v1/queues/"));
  EXPECT_EQ(queues["queues"][0]["name"], "default");
  EXPECT_EQ(queues["queues"][0]["pending"], 1);
  EXPECT_TRUE(queues["queues"][0]["oldest_pending_age_s"].is_number());
  EXPECT_EQ(json(answer("POST", "/api/v1/queues/default/pause"))["paused"], true);
  EXPECT_EQ(json(answer("GET", "/api/v1/queues/default"))["paused"], true);
  EXPECT_EQ(json(answer("POST", "/api/v1/queues/default/resume"))["paused"], false);
  EXPECT_EQ(json(answer("POST", "/api/v1/queues/default/purge"))["purged"], 1);
  EXPECT_EQ(answer("GET", "/api/v1/queues/none").status, 404);
  EXPECT_EQ(answer("POST", "/api/v1/queues/none/resume").status, 404);
  // What a change leaves of a queue that had nothing but settings.
  EXPECT_EQ(answer("POST", "/api/v1/queues/new/pause").status, 200);
  Response resumed = answer("POST", "/api/v1/queues/new/resume");
  EXPECT_EQ(resumed.status, 200);
  EXPECT_EQ(json(resumed)["paused"], false);
  EXPECT_EQ(answer("PATCH", "/api/v1/queues/new", R"({"max_pending": 3})").status, 200);
  Response reset = answer("PATCH", "/api/v1/queues/new", R"({"max_pending": "default"})");
  EXPECT_EQ(reset.status, 200);
  EXPECT_EQ(json(reset)["name"], "new");
  EXPECT_EQ(json(reset)["limits"]["max_pending"], nullptr);
  EXPECT_EQ(answer("GET", "/api/v1/queues/new").status, 404);
  EXPECT_EQ(answer("POST", "/api/v1/queues/bad%20name/pause").status, 422);
}

TEST_F(RoutesTest, WorkersActorsAndTheServerItself) {
  Json workers = json(answer("GET", "/api/v1/workers"));
  ASSERT_EQ(workers["workers"].size(), 1u);
  EXPECT_EQ(workers["workers"][0]["name"], "test:1");
  EXPECT_EQ(workers["workers"][0]["context"]["pid"], 1);
  EXPECT_EQ(json(answer("GET", "/api/v1/workers/worker-1"))["context"]["pid"], 1);
  store->fleet().describe(SessionId{1}, R"({"cwd": "/srv"})");
  EXPECT_EQ(json(answer("GET", "/api/v1/workers/worker-1"))["context"]["cwd"], "/srv");
  EXPECT_EQ(json(answer("GET", "/api/v1/workers/1"))["worker"], "worker-1");
  EXPECT_EQ(json(answer("GET", "/api/v1/workers"))["workers"][0]["context"].count("cwd"), 0u);
  for (const char* unknown : {"worker-99", "x", "worker-1x"})
    EXPECT_EQ(answer("GET", std::string("/api/v1/workers/") + unknown).status, 404);
  expect_invalid(answer("GET", "/api/v1/workers?ended_within=x"), "ended_within");
  EXPECT_EQ(json(answer("GET", "/api/v1/actors"))["actors"][0]["task_type"], "mail.send");
  EXPECT_EQ(json(answer("GET", "/health"))["version"], "1.2.3");
  EXPECT_EQ(json(answer("GET", "/api/v1/health/"))["status"], "ok");
  auto ready = answer("GET", "/ready");
  EXPECT_EQ(ready.status, 503);
  EXPECT_FALSE(json(ready)["reasons"].empty());
  submit();
  auto text = answer("GET", "/metrics").body;
  EXPECT_NE(text.find("opscore_queue_tasks{queue=\"default\",state=\"pending\"} 1"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("opscore_store_up 1"), std::string::npos);
}

TEST_F(RoutesTest, WaitingIsBounded) {
  auto path = "/api/v1/tasks/" + submit();
  expect_invalid(answer("GET", path + "?wait=301"), "wait");
  expect_invalid(answer("GET", path + "?wait=x"), "wait");
  request.route = find_route("GET", path);
  request.query = "wait=30s";
  auto reply = routes.handle(request);
  ASSERT_TRUE(std::holds_alternative<Wait>(reply));
  EXPECT_FALSE(routes.look(std::get<Wait>(reply), false));
  auto expired = routes.look(std::get<Wait>(reply), true);
  ASSERT_TRUE(expired);
  EXPECT_EQ(expired->status, 202);
  finish(claim(), Outcome::complete("1"));
  EXPECT_EQ(routes.look(std::get<Wait>(reply), false)->status, 200);
  EXPECT_EQ(answer("GET", path + "?wait=30s").status, 200);
}

TEST(RouteTable, PathsAreFoundWithAndWithoutASlash) {
  EXPECT_NE(find_route("GET", "/api/v1/tasks/x/"), nullptr);
  EXPECT_NE(find_route("HEAD", "/api/v1/tasks/x"), nullptr);
  EXPECT_EQ(find_route("GET", "/api/v1/tasks/batch"), nullptr);
  EXPECT_EQ(find_route("GET", "/api/v1/tasks//events"), nullptr);
  EXPECT_EQ(find_route("GET", "/api/v1/tasks/x/y/z"), nullptr);
  EXPECT_EQ(find_route("GET", "*"), nullptr);
  EXPECT_EQ(find_route("GET", ""), nullptr);
  EXPECT_EQ(allowed_methods("/api/v1/tasks/batch/"), "POST");
  EXPECT_EQ(allowed_methods("/api/v1/tasks"), "POST, GET, HEAD");
  EXPECT_EQ(allowed_methods("/api/v1/tasks/x"), "GET, HEAD, DELETE");
  EXPECT_EQ(allowed_methods("/nowhere"), "");
}

TEST_F(RoutesTest, AMessageOfDramatiqIsATaskUnderItsOwnId) {
  const std::string body =
      R"({"queue_name": "default.DQ", "actor_name": "mail.send", "args": [NaN], "kwargs": {},
          "options": {"max_retries": 2, "own": 1}, "message_id": "m-1", "message_timestamp": 5})";
  auto taken = answer("POST", "/api/v1/dramatiq/messages", body);
  ASSERT_EQ(taken.status, 202) << taken.body;
  EXPECT_EQ(json(taken)["task_id"], "m-1");
  Json task = get("m-1");
  EXPECT_EQ(task["queue"], "default");
  EXPECT_EQ(task["max_attempts"], 3);
  EXPECT_EQ(task["input_data"], (Json{{"args", {nullptr}}, {"kwargs", Json::object()}}));
  EXPECT_EQ(task["metadata"]["dramatiq_lossy"], Json({"args[0]"}));
  EXPECT_EQ(task["metadata"]["dramatiq_options"]["own"], 1);
  auto again = answer("POST", "/api/v1/dramatiq/messages", body);
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(json(again)["task_id"], "m-1");
}

TEST_F(RoutesTest, ReportsOfPythonsWorkersAreHeard) {
  CatalogueEntry python;
  python.type = "resize";
  python.kind = "dramatiq";
  python.dramatiq = "{}";
  service->declare({python});
  auto submitted = answer("POST", "/api/v1/tasks",
                          R"({"task_type": "resize", "task_id": "r1", "input_data": [1]})");
  ASSERT_EQ(submitted.status, 202) << submitted.body;
  auto heard = answer("POST", "/api/v1/dramatiq/reports", R"({"reports": [
      {"message_id": "r1", "kind": "progress", "progress": {"n":  1}, "worker": "web:1"},
      {"message_id": "r2", "kind": "running"}]})");
  EXPECT_EQ(heard.status, 200);
  EXPECT_EQ(heard.body, R"({"results":["applied","unknown"]})");
  EXPECT_EQ(get("r1")["status"], "running");
  EXPECT_EQ(get("r1")["progress"], Json({{"n", 1}}));
  answer("POST", "/api/v1/dramatiq/reports", R"({"reports": [{"message_id": "r1",
      "kind": "failed", "error": {"type": "ValueError", "message": "no", "traceback": "T"}}]})");
  EXPECT_EQ(get("r1")["status"], "failed");
  EXPECT_EQ(get("r1")["error"]["kind"], "ValueError");
  auto cancelled = answer("POST", "/api/v1/tasks/r1/cancel");
  EXPECT_EQ(cancelled.status, 409);
}

TEST_F(RoutesTest, WhatPythonRunsIsNotCancelled) {
  CatalogueEntry python;
  python.type = "resize";
  python.kind = "dramatiq";
  python.dramatiq = "{}";
  service->declare({python});
  answer("POST", "/api/v1/tasks", R"({"task_type": "resize", "task_id": "r1"})");
  for (auto refused :
       {answer("POST", "/api/v1/tasks/r1/cancel"), answer("DELETE", "/api/v1/tasks/r1")}) {
    EXPECT_EQ(refused.status, 409);
    EXPECT_EQ(json(refused)["type"], "urn:opscore:error:handed-to-dramatiq");
    EXPECT_NE(refused.body.find("handed_to_dramatiq"), std::string::npos);
  }
}

TEST_F(RoutesTest, ReportsThatAreNoneAreRefused) {
  auto report = [&](const std::string& body) {
    return answer("POST", "/api/v1/dramatiq/reports", body);
  };
  EXPECT_EQ(report(R"({"reports": [{"message_id": "a"}]})").status, 422);
  EXPECT_EQ(report(R"({"reports": [{"kind": "running"}]})").status, 422);
  EXPECT_EQ(report(R"({"reports": [{"message_id": "a", "kind": "well"}]})").status, 422);
  EXPECT_EQ(
      report(R"({"reports": [{"message_id": "a", "kind": "running", "retries": -1}]})").status,
      422);
  EXPECT_EQ(report(R"({"reports": 7})").status, 422);
  EXPECT_EQ(report("{").status, 400);
  std::string many = R"({"reports": [)";
  for (int i = 0; i < 1001; ++i)
    many += std::string(i ? "," : "") + R"({"message_id": "a", "kind": "running"})";
  EXPECT_EQ(report(many + "]}").status, 413);
}

}  // namespace
}  // namespace opscore
