// The written contract, api/openapi.yaml and docs/reference/errors.md, against the code.

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "opscore/api/api_fixture.h"
#include "opscore/api/openapi.h"
#include "opscore/api/problem.h"
#include "opscore/api/routes.h"
#include "opscore/api/submit_body.h"

namespace opscore {
namespace {

std::string read(const std::string& path) {
  auto root = std::filesystem::path(__FILE__).parent_path() / "../../..";
  std::ifstream file(root / path);
  EXPECT_TRUE(file) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::set<std::string> keys(const Json& object) {
  std::set<std::string> names;
  for (const auto& [name, value] : object.items()) names.insert(name);
  return names;
}

const Json& document() {
  static const Json parsed = Json::parse(openapi_json());
  return parsed;
}

TEST(Contract, HasEveryRouteAndNoOther) {
  std::set<std::string> coded, written;
  for (const Route& route : all_routes())
    coded.insert(std::string(route.method) + " " + std::string(route.pattern));
  for (const auto& [path, operations] : document()["paths"].items())
    for (const auto& [method, operation] : operations.items()) {
      if (method == "parameters") continue;
      std::string upper = method;
      std::transform(upper.begin(), upper.end(), upper.begin(), ::toupper);
      written.insert(upper + " " + path);
      EXPECT_TRUE(operation.contains("operationId")) << path;
      EXPECT_FALSE(operation["responses"].empty()) << path;
    }
  EXPECT_EQ(coded, written);
}

TEST(Contract, NamesTheBoundsThatAreCheckedFor) {
  const Json& schemas = document()["components"]["schemas"];
  const Json& submit = schemas["TaskSubmit"]["properties"];
  EXPECT_EQ(submit["max_attempts"]["maximum"], limits::kAttemptsMax);
  EXPECT_EQ(submit["priority"]["maximum"], limits::kPriorityMax);
  EXPECT_EQ(submit["priority"]["minimum"], -limits::kPriorityMax);
  const Json& backoff = schemas["Backoff"]["properties"];
  EXPECT_EQ(backoff["factor"]["maximum"], limits::kBackoffFactorMax);
  EXPECT_EQ(backoff["jitter"]["oneOf"][1]["items"]["maximum"], limits::kBackoffJitterMax);
}

void check_references(const Json& node) {
  if (node.is_object() && node.contains("$ref")) {
    std::string reference = node["$ref"];
    EXPECT_TRUE(document().contains(Json::json_pointer(reference.substr(1)))) << reference;
  }
  if (node.is_structured())
    for (const auto& child : node) check_references(child);
}
TEST(Contract, EveryReferenceLeadsSomewhere) {
  check_references(document());
}

TEST(Contract, HasEveryFieldOfASubmit) {
  auto names = submit_field_names();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()),
            keys(document()["components"]["schemas"]["TaskSubmit"]["properties"]));
}

TEST(Contract, ExplainsEveryError) {
  std::string text = read("docs/reference/errors.md");
  for (int i = 0; i < kErrcCount; ++i) {
    std::string slug(info(static_cast<Errc>(i)).slug);
    EXPECT_NE(text.find("## " + slug + "\n"), std::string::npos) << slug;
  }
  for (const HttpProblem& problem : kHttpProblems)
    EXPECT_NE(text.find("## " + std::string(problem.slug) + "\n"), std::string::npos)
        << problem.slug;
}

class ContractTest : public ApiTest {
 protected:
  // Every member of an answer is in the schema, and every required one in the answer.
  void expect_fits(const Json& value, const std::string& schema) {
    const Json& said = document()["components"]["schemas"][schema];
    for (const auto& [name, member] : value.items())
      EXPECT_TRUE(said["properties"].contains(name)) << schema << " has no " << name;
    for (const auto& name : said["required"])
      EXPECT_TRUE(value.contains(name.get<std::string>())) << schema << " without " << name;
  }
  Json answer(const std::string& method, const std::string& path, std::string body = {}) {
    ApiRequest request;
    request.method = method;
    request.path = path;
    request.body = std::move(body);
    request.route = find_route(method, path);
    return Json::parse(std::get<Response>(routes.handle(request)).body);
  }
  Routes routes{*service, metrics, *log, {"1", std::string(openapi_json())}};
};

TEST_F(ContractTest, AnswersHaveTheDocumentedShape) {
  Json made = answer("POST", "/api/v1/tasks", R"({"task_type": "mail.send", "timeout": "1s",
      "deadline": "1h", "backoff": {}, "labels": {"a": "b"}, "idempotency_key": "k"})");
  expect_fits(made, "Submitted");
  std::string path = "/api/v1/tasks/" + made["task_id"].get<std::string>();
  expect_fits(answer("GET", path), "Task");
  finish(claim(), Outcome::fail({"x", "y", "z"}, false));
  expect_fits(answer("GET", path), "Task");
  expect_fits(answer("GET", path)["error"], "TaskError");
  expect_fits(answer("GET", "/api/v1/tasks"), "TaskPage");
  expect_fits(answer("GET", path + "/events")["events"][0], "Event");
  expect_fits(answer("GET", path + "/attempts")["attempts"][0], "Attempt");
  expect_fits(answer("GET", path + "/explain"), "Explanation");
  expect_fits(answer("GET", "/api/v1/queues")["queues"][0], "Queue");
  const std::string queue = answer("GET", "/api/v1/queues")["queues"][0]["name"];
  expect_fits(answer("GET", "/api/v1/queues/" + queue + "/explain"), "QueueExplanation");
  const std::string worker = answer("GET", "/api/v1/workers")["workers"][0]["worker"];
  expect_fits(answer("GET", "/api/v1/workers/" + worker + "/explain"), "WorkerExplanation");
  expect_fits(answer("GET", "/api/v1/workers")["workers"][0], "Worker");
  expect_fits(answer("GET", "/api/v1/workers/worker-1"), "Worker");
  expect_fits(answer("GET", "/api/v1/actors")["actors"][0], "Actor");
  expect_fits(answer("GET", "/ready"), "Readiness");
  const std::string all = R"({"action": "export", "filter": {"labels": {"a": "b"}, "queue": "q",
      "type": "t", "created_after": "2026-01-01T00:00:00Z"})";
  expect_fits(answer("POST", "/api/v1/jobs", all + "}"), "Job");
  expect_fits(answer("POST", "/api/v1/jobs", all + R"(, "dry_run": true})"), "JobEstimate");
  expect_fits(answer("POST", "/api/v1/tasks/batch", R"([{"task_type": "mail.send"}])"), "Batch");
  expect_fits(answer("POST", "/api/v1/tasks", "{"), "Problem");
  expect_fits(answer("GET", "/api/v1/tasks/none"), "Problem");
}

}  // namespace
}  // namespace opscore
