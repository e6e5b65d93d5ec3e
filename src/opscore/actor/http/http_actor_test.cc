#include "opscore/actor/http/http_actor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "opscore/actor/http/http_outcome.h"
#include "opscore/actor/recorded_context.h"
#include "opscore/base/hash.h"
#include "opscore/model/error_kind.h"
#include "opscore/net/loopback_server.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;
using Kind = Outcome::Kind;
using Reply = LoopbackServer::Reply;
using Request = LoopbackServer::Request;

HttpResponse answer(int status, std::string body = "", HttpHeaders headers = {}) {
  HttpResponse response;
  response.status = status;
  response.body = std::move(body);
  response.headers = std::move(headers);
  return response;
}

Outcome decided(const HttpResponse& response, HttpActorOptions options = {}) {
  options.url = "http://example.com/a?key=hidden";
  return decide_http(options, response, parse_rfc3339("2026-11-20T08:00:00Z").value());
}

TEST(HttpOutcome, ResultsByFormat) {
  const HttpHeaders json{{"content-type", "application/JSON; charset=utf-8"}};
  EXPECT_EQ(decided(answer(200, R"( {"a": 1} )", json)).result, R"({"a": 1})");
  EXPECT_EQ(decided(answer(201, "[1]", {{"content-type", "application/problem+json"}})).result,
            "[1]");
  EXPECT_EQ(decided(answer(200, R"({"a": 1})", {{"content-type", "text/html"}})).result,
            R"("{\"a\": 1}")");
  EXPECT_EQ(decided(answer(200, "plain\n")).result, R"("plain\n")");
  EXPECT_EQ(decided(answer(200, "1"), {.output = OutputFormat::json}).result, "1");
  EXPECT_EQ(decided(answer(200, "1", json), {.output = OutputFormat::text}).result, R"("1")");
  EXPECT_EQ(decided(answer(204), {.output = OutputFormat::json}).result, "null");
  EXPECT_EQ(decided(answer(204)).result, R"("")");
}

void expect_final(const Outcome& outcome, const char* kind, const std::string& words) {
  EXPECT_EQ(outcome.kind, Kind::failed);
  EXPECT_EQ(outcome.error.kind, kind);
  EXPECT_THAT(outcome.error.message, HasSubstr(words));
  EXPECT_FALSE(outcome.retryable);
}

TEST(HttpOutcome, BadResultsAreFinal) {
  const HttpActorOptions json{.output = OutputFormat::json};
  expect_final(decided(answer(200, "{"), json), error_kind::kBadOutput, "not one JSON value");
  expect_final(decided(answer(200, ""), json), error_kind::kBadOutput, "empty");
  expect_final(decided(answer(200, "\xff")), error_kind::kBadOutput, "UTF-8");
  HttpResponse cut = answer(200, "abc");
  cut.cut = true;
  expect_final(decided(cut), error_kind::kResultTooLarge, "the answer");
  expect_final(decided(answer(200, "\n\n\n"), {.result_bytes_max = 5}), error_kind::kResultTooLarge,
               "as JSON");
}

TEST(HttpOutcome, StatusesThatAreFinal) {
  for (int status : {300, 301, 302, 307, 308, 400, 401, 403, 404, 408, 409, 410, 422, 451, 499})
    expect_final(decided(answer(status, "why")), error_kind::kActorError,
                 fmt::format("answered {}", status));
  const Outcome moved = decided(answer(302, "", {{"location", "http://elsewhere/?token=x"}}));
  EXPECT_THAT(moved.error.message, HasSubstr("http://elsewhere/"));
  EXPECT_THAT(moved.error.message, Not(HasSubstr("token")));
}

TEST(HttpOutcome, StatusesThatAreTriedAgain) {
  for (int status : {429, 500, 501, 502, 503, 504, 599}) {
    const Outcome outcome = decided(answer(status, "oops"));
    EXPECT_EQ(outcome.kind, Kind::failed) << status;
    EXPECT_TRUE(outcome.retryable) << status;
    EXPECT_EQ(outcome.error.detail, "oops");
    EXPECT_THAT(outcome.error.message, Not(HasSubstr("hidden")));
  }
}

TEST(HttpOutcome, RetryAfterSnoozes) {
  const std::vector<std::pair<std::string, Duration>> cases{{"30", 30s},
                                                            {"0", 1s},
                                                            {"Fri, 20 Nov 2026 08:01:00 GMT", 60s},
                                                            {"Fri, 20 Nov 2020 08:01:00 GMT", 1s}};
  for (int status : {429, 503})
    for (const auto& [value, delay] : cases) {
      const Outcome outcome = decided(answer(status, "", {{"retry-after", value}}));
      EXPECT_EQ(outcome.kind, Kind::snoozed) << value;
      EXPECT_EQ(outcome.delay, delay) << value;
    }
  EXPECT_EQ(decided(answer(503, "", {{"retry-after", "soon"}})).kind, Kind::failed);
  EXPECT_EQ(decided(answer(500, "", {{"retry-after", "5"}})).kind, Kind::failed);
  expect_final(decided(answer(404, "", {{"retry-after", "5"}})), error_kind::kActorError, "404");
}

class HttpActorTest : public testing::Test {
 protected:
  Outcome run(const std::string& url, HttpActorOptions options = {}) {
    options.url = url;
    return make_http_actor(http_, std::move(options))->run(task_);
  }
  HttpClient http_;
  RecordedContext task_{R"({"a":1})"};
};

TEST_F(HttpActorTest, PostsTheInputSigned) {
  LoopbackServer server([](const Request&, Reply& reply) { reply.send(200, "", "done"); });
  const Outcome outcome = run(server.url() + "/hook?x=1",
                              {.headers = {{"Authorization", "Bearer t"}}, .secret = "s3cret"});
  EXPECT_EQ(outcome.kind, Kind::completed);
  EXPECT_EQ(outcome.result, R"("done")");
  const Request request = server.requests().at(0);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/hook?x=1");
  EXPECT_EQ(request.body, R"({"a":1})");
  EXPECT_EQ(request.headers.at("content-type"), "application/json");
  EXPECT_EQ(request.headers.at("authorization"), "Bearer t");
  EXPECT_EQ(request.headers.at("x-opscore-task-id"), "task_test");
  EXPECT_EQ(request.headers.at("x-opscore-task-type"), "test.type");
  EXPECT_EQ(request.headers.at("x-opscore-attempt"), "3");
  const std::string timestamp = request.headers.at("x-opscore-timestamp");
  EXPECT_EQ(request.headers.at("x-opscore-signature"),
            "v1=" + to_hex(hmac_sha256("s3cret", timestamp + R"(.{"a":1})")));
}

TEST_F(HttpActorTest, WithoutASecretNothingIsSigned) {
  LoopbackServer server([](const Request&, Reply& reply) { reply.send(200, "", ""); });
  run(server.url());
  EXPECT_FALSE(server.requests().at(0).headers.contains("x-opscore-signature"));
  EXPECT_TRUE(server.requests().at(0).headers.contains("x-opscore-timestamp"));
}

TEST_F(HttpActorTest, ALargeAnswerIsBrokenOff) {
  LoopbackServer server([](const Request&, Reply& reply) {
    reply.begin(200, "");
    reply.piece(std::string(1 << 16, 'x'));
    reply.hold();  // it would go on for ever
  });
  expect_final(run(server.url(), {.result_bytes_max = 1000}), error_kind::kResultTooLarge,
               "1000 bytes");
}

TEST_F(HttpActorTest, ALargeErrorPageIsStillAnError) {
  LoopbackServer server(
      [](const Request&, Reply& reply) { reply.send(500, "", std::string(1 << 16, 'x')); });
  const Outcome outcome = run(server.url(), {.result_bytes_max = 10});
  EXPECT_TRUE(outcome.retryable);
  EXPECT_THAT(outcome.error.message, HasSubstr("answered 500"));
}

TEST_F(HttpActorTest, NetworkErrorsAreTriedAgain) {
  uint16_t port = 0;
  {
    LoopbackServer gone([](const Request&, Reply&) {});
    port = gone.port();
  }
  LoopbackServer cuts([](const Request&, Reply& reply) { reply.cut(); });
  LoopbackServer babbles([](const Request&, Reply& reply) {
    reply.raw("what?\r\n\r\n");
    reply.cut();
  });
  for (const std::string& url :
       {fmt::format("http://127.0.0.1:{}/", port), std::string("http://nowhere.invalid/"),
        cuts.url(), babbles.url()}) {
    const Outcome outcome = run(url);
    EXPECT_EQ(outcome.kind, Kind::failed) << url;
    EXPECT_TRUE(outcome.retryable) << url << ": " << outcome.error.message;
    EXPECT_EQ(outcome.error.kind, error_kind::kActorError);
  }
}

TEST_F(HttpActorTest, TheDeadlineBreaksTheTransferOff) {
  LoopbackServer server([](const Request&, Reply& reply) { reply.hold(); });
  task_.set_deadline(Deadline::after(50ms));
  const Outcome outcome = run(server.url());
  EXPECT_EQ(outcome.kind, Kind::timed_out);
  EXPECT_EQ(outcome.error.kind, error_kind::kTimeout);
}

TEST_F(HttpActorTest, AStopBreaksTheTransferOff) {
  std::promise<void> arrived, hung_up;
  LoopbackServer server([&](const Request&, Reply& reply) {
    arrived.set_value();
    reply.hold();
    hung_up.set_value();
  });
  auto running = std::async(std::launch::async, [&] { return run(server.url()); });
  arrived.get_future().wait();
  task_.request_stop();
  EXPECT_EQ(running.get().kind, Kind::failed);
  hung_up.get_future().wait();  // the connection is gone, not only our interest in it
}

TEST_F(HttpActorTest, AUrlThatCannotBeCalledIsRefused) {
  for (const char* url : {"", "example.com", "ftp://example.com/", "http://", "http://a b/"})
    EXPECT_THROW(make_http_actor(http_, {.url = url}), Error) << url;
}

}  // namespace
}  // namespace opscore
