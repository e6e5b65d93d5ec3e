// The whole server over real sockets.

#include "opscore/api/server.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <thread>

#include "opscore/api/api_fixture.h"

namespace opscore {
namespace {

class ServerTest : public ApiTest {
 protected:
  ~ServerTest() override {
    if (server) server->stop(Deadline::after(std::chrono::seconds(5)));
  }
  uint16_t serve(ApiOptions options = {}) {
    options.port = 0;
    server = std::make_unique<ApiServer>(*service, metrics, *log, options);
    server->start();
    return server->port();
  }
  static ApiOptions impatient() {
    ApiOptions options;
    options.client_timeout = Duration(200);
    return options;
  }
  const std::string kTask = R"({"task_type": "mail.send"})";
  std::unique_ptr<ApiServer> server;
};

TEST_F(ServerTest, SubmitsAndReadsOnOneConnection) {
  RawClient client(serve());
  auto answer = client.ask("POST", "/api/v1/tasks/", kTask, "Content-Type: application/json\r\n");
  EXPECT_EQ(answer.status, 202);
  EXPECT_TRUE(answer.has("date"));
  std::string id = parse_json(answer.body)["task_id"];
  EXPECT_EQ(answer.headers["location"], "/api/v1/tasks/" + id);
  answer = client.ask("GET", answer.headers["location"]);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.headers["content-type"], "application/json");
  EXPECT_EQ(parse_json(answer.body)["task_id"], id);
  auto size = answer.headers["content-length"];
  answer = client.ask("HEAD", "/api/v1/tasks/" + id);
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.body.empty());
  EXPECT_FALSE(answer.has("connection"));
  EXPECT_EQ(client.ask("DELETE", "/api/v1/tasks/" + id).status, 204);
  EXPECT_EQ(client.ask("GET", "/api/v1/tasks/" + id).status, 404);
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  RawClient client(serve());
  std::string post =
      fmt::format("POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{}",
                  kTask.size(), kTask);
  client.send(post + "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" + post +
              "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(client.read_answer().status, 202);
  EXPECT_EQ(client.read_answer().status, 200);
  EXPECT_EQ(client.read_answer().status, 202);
  EXPECT_EQ(client.read_answer().status, 404);
}

TEST_F(ServerTest, ManyClientsSubmitAtOnce) {
  uint16_t port = serve();
  constexpr int kClients = 16, kEach = 50;
  std::vector<std::jthread> clients;
  std::atomic<int> accepted = 0;
  for (int i = 0; i < kClients; ++i)
    clients.emplace_back([&] {
      RawClient client(port);
      for (int n = 0; n < kEach; ++n)
        if (client.ask("POST", "/api/v1/tasks", kTask).status == 202) ++accepted;
    });
  clients.clear();
  EXPECT_EQ(accepted, kClients * kEach);
  EXPECT_EQ(service->queue("default").stats.pending, kClients * kEach);
}

TEST_F(ServerTest, WrongMethodsAndRoutesAreProblems) {
  RawClient client(serve());
  auto answer = client.ask("PUT", "/api/v1/tasks/x", "{}");
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.headers["allow"], "GET, HEAD, DELETE");
  EXPECT_EQ(answer.headers["content-type"], "application/problem+json");
  EXPECT_EQ(client.ask("GET", "/api/v1/nothing").status, 404);
  EXPECT_EQ(client.ask("BREW", "/health").status, 405);
  answer = client.ask("POST", "/api/v1/tasks", kTask, "Content-Type: text/plain\r\n");
  EXPECT_EQ(answer.status, 415);
  EXPECT_EQ(client.ask("POST", "/api/v1/tasks", "{\"task_type\":").status, 400);
  EXPECT_EQ(client.ask("GET", "/api/v1/tasks/%zz").status, 400);
}

TEST_F(ServerTest, BytesThatAreNotHttpAreRefused) {
  uint16_t port = serve();
  for (const char* bytes :
       {"hello\r\n\r\n", "GET / HTTP/3.0\r\n\r\n", "GET /health HTTP/1.1\r\nNo colon\r\n\r\n",
        "POST /api/v1/tasks HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "POST /api/v1/tasks HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /api/v1/tasks HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"}) {
    RawClient client(port);
    client.send(bytes);
    auto answer = client.read_answer();
    EXPECT_EQ(answer.status, 400) << bytes;
    EXPECT_EQ(answer.headers["connection"], "close");
    client.close_sending();
    EXPECT_TRUE(client.closed_by_server());
  }
}

TEST_F(ServerTest, FieldsThatContradictThemselvesAreRefused) {
  uint16_t port = serve();
  auto ask = [&](const std::string& fields) {
    return RawClient(port).ask("POST", "/api/v1/tasks", kTask, fields);
  };
  const std::pair<const char*, const char*> differ[] = {
      {"Idempotency-Key", "Idempotency-Key: a\r\nidempotency-key: b\r\n"},
      {"Idempotency-Key", "Idempotency-Key:\r\nIdempotency-Key: b\r\n"},
      {"Content-Type", "Content-Type: text/csv\r\nContent-Type: application/json\r\n"},
      {"Authorization", "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"},
      {"Origin", "Origin: http://evil.example\r\nOrigin: http://localhost\r\n"},
      {"Last-Event-ID", "Last-Event-ID: 1\r\nLast-Event-ID: 2\r\n"},
  };
  for (const auto& [name, fields] : differ) {
    auto answer = ask(fields);
    EXPECT_EQ(answer.status, 400) << fields;
    EXPECT_THAT(answer.body, testing::HasSubstr(fmt::format("several {} fields", name)));
  }
  EXPECT_THAT(service->list({}, "", 10).tasks, testing::IsEmpty());
  EXPECT_EQ(ask("Content-Encoding: gzip\r\nContent-Encoding: identity\r\n").status, 415);
  EXPECT_EQ(ask("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n").status, 400);
  EXPECT_EQ(ask("Sec-Fetch-Site: cross-site\r\nSec-Fetch-Site: none\r\n"
                "Content-Type: application/json\r\n")
                .status,
            403);
  EXPECT_EQ(ask("Idempotency-Key: a\r\nIdempotency-Key: a\r\n").status, 202);
}

TEST_F(ServerTest, HeadAndBodyAreBounded) {
  uint16_t port = serve();
  RawClient header(port);
  header.send("GET /health HTTP/1.1\r\nX: " + std::string(17'000, 'x') + "\r\n\r\n");
  EXPECT_EQ(header.read_answer().status, 431);
  RawClient below(port);
  EXPECT_EQ(below.ask("GET", "/health", {}, "X: " + std::string(12'000, 'x') + "\r\n").status, 200);
  RawClient body(port);  // refused before any of it is sent
  body.send(
      "POST /api/v1/tasks/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 67108865\r\n\r\n");
  auto answer = body.read_answer();
  EXPECT_EQ(answer.status, 413);
  EXPECT_EQ(answer.headers["connection"], "close");
  RawClient chunks(port);
  chunks.send(
      "POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: "
      "chunked\r\n\r\nfffffff\r\n");
  EXPECT_EQ(chunks.read_answer().status, 413);
  RawClient input(port);
  EXPECT_EQ(input
                .ask("POST", "/api/v1/tasks",
                     R"({"task_type": "mail.send", "input_data": ")" +
                         std::string((1 << 20) + 1, 'x') + "\"}")
                .status,
            413);
}

TEST_F(ServerTest, LargeAndChunkedBodiesArrive) {
  uint16_t port = serve();
  RawClient client(port);
  std::string batch = "[";
  for (int i = 0; i < 5000; ++i)
    batch += fmt::format("{}{{\"task_type\":\"mail.send\",\"input_data\":\"{:0500}\"}}",
                         i ? "," : "", i);
  EXPECT_EQ(client.ask("POST", "/api/v1/tasks/batch", batch + "]").status, 202);
  client.send(
      "POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
  client.send("e\r\n{\"task_type\": \r\nd\r\n\"mail.send\" }\r\n0\r\n\r\n");
  EXPECT_EQ(client.read_answer().status, 202);
  EXPECT_EQ(service->queue("default").stats.pending, 5001);
}

TEST_F(ServerTest, ExpectContinueIsAnswered) {
  uint16_t port = serve();
  RawClient client(port);
  client.send(
      fmt::format("POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n"
                  "Expect: 100-continue\r\n\r\n",
                  kTask.size()));
  EXPECT_EQ(client.read_answer(false).status, 100);
  client.send(kTask);
  EXPECT_EQ(client.read_answer().status, 202);
  EXPECT_EQ(client.ask("POST", "/api/v1/tasks", kTask, "Expect: a miracle\r\n").status, 417);
}

TEST_F(ServerTest, ConnectionsCloseWhenAsked) {
  uint16_t port = serve();
  RawClient modern(port);
  EXPECT_EQ(modern.ask("GET", "/health", {}, "Connection: close\r\n").headers["connection"],
            "close");
  EXPECT_TRUE(modern.closed_by_server());
  RawClient old(port);
  old.send("GET /health HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.read_answer().status, 200);
  EXPECT_TRUE(old.closed_by_server());
  RawClient kept(port);
  kept.send("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(kept.read_answer().headers["connection"], "keep-alive");
  RawClient half(port);
  half.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
  half.close_sending();
  EXPECT_EQ(half.read_answer().status, 200);
}

TEST_F(ServerTest, SlowClientsAreTimedOut) {
  uint16_t port = serve(impatient());
  RawClient head(port);
  head.send("GET /health HTT");
  EXPECT_EQ(head.read_answer().status, 408);
  RawClient body(port);
  body.send("POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{");
  EXPECT_EQ(body.read_answer().status, 408);
}

TEST_F(ServerTest, ConnectionsAreBounded) {
  ApiOptions options;
  options.connections_max = 2;
  uint16_t port = serve(options);
  std::string follow = "GET /api/v1/tasks/" + submit() +
                       "/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
  RawClient idle(port);
  EXPECT_EQ(idle.ask("GET", "/health").status, 200);
  RawClient busy(port);
  busy.send(follow);
  EXPECT_EQ(busy.read_answer().status, 200);
  RawClient third(port);
  third.send(follow);
  EXPECT_EQ(third.read_answer().status, 200);
  EXPECT_TRUE(idle.closed_by_server()) << "it was idle longest";
  RawClient fourth(port);
  EXPECT_EQ(fourth.read_answer().status, 503) << "nobody is idle";
}

TEST_F(ServerTest, ATokenIsDemanded) {
  ApiOptions options;
  options.token = "secret";
  RawClient client(serve(options));
  auto answer = client.ask("GET", "/api/v1/tasks");
  EXPECT_EQ(answer.status, 401);
  EXPECT_TRUE(answer.headers["www-authenticate"].starts_with("Bearer"));
  for (const char* wrong : {"Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret"})
    EXPECT_EQ(client.ask("GET", "/metrics", {}, fmt::format("Authorization: {}\r\n", wrong)).status,
              401)
        << wrong;
  EXPECT_EQ(client.ask("GET", "/api/v1/tasks", {}, "Authorization: bearer secret\r\n").status, 200);
  EXPECT_EQ(client.ask("GET", "/health").status, 200);
  EXPECT_EQ(client.ask("GET", "/ready").status, 503);  // no worker consumes
  EXPECT_EQ(client.ask("GET", "/nowhere").status, 401);
}

TEST_F(ServerTest, PagesOfOtherSitesCannotSubmit) {
  RawClient client(serve());
  EXPECT_EQ(client.ask("POST", "/api/v1/tasks", kTask, "Origin: http://evil.example\r\n").status,
            403);
  EXPECT_EQ(client.ask("POST", "/api/v1/tasks", kTask, "Origin: null\r\n").status, 403);
  EXPECT_EQ(client
                .ask("POST", "/api/v1/tasks", kTask,
                     "Origin: http://localhost\r\nContent-Type: application/json\r\n")
                .status,
            202);
  EXPECT_EQ(client.ask("GET", "/health", {}, "Origin: http://evil.example\r\n").status, 403);
  EXPECT_EQ(client.ask("POST", "/api/v1/tasks", kTask, "Sec-Fetch-Site: cross-site\r\n").status,
            403);
  EXPECT_EQ(client.ask("GET", "/health", {}, "Sec-Fetch-Site: cross-site\r\n").status, 200)
      << "a link that somebody follows";
}

TEST_F(ServerTest, OnlyKnownNamesLeadHere) {
  ApiOptions options;
  options.allowed_hosts = {"Tasks.Example"};
  uint16_t port = serve(options);
  auto status = [&](const std::string& host) {
    RawClient client(port);
    client.send("GET /health HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n");
    return client.read_answer().status;
  };
  for (const char* host : {"localhost", "LOCALHOST:80", "localhost.", "a.localhost",
                           "127.0.0.1:8000", "127.9.9.9", "[::1]:8000", "tasks.example:1234"})
    EXPECT_EQ(status(host), 200) << host;
  for (const char* host : {"evil.example", "localhost.evil.example", "127.0.0.1.evil.example",
                           "192.168.1.1", "[::2]", "0.0.0.0", "evil@localhost", "xlocalhost", ""})
    EXPECT_EQ(status(host), 403) << host;
}

TEST_F(ServerTest, ABrowserHasToSayThatItsBodyIsJson) {
  RawClient client(serve());
  for (const char* field : {"Origin: http://localhost", "Referer: http://localhost/page",
                            "User-Agent: Mozilla/5.0", "Sec-Fetch-Site: same-origin"}) {
    std::string browser = fmt::format("{}\r\n", field);
    EXPECT_EQ(client.ask("POST", "/api/v1/tasks", kTask, browser).status, 415) << field;
    EXPECT_EQ(client.ask("POST", "/api/v1/queues/default/pause", {}, browser).status, 200)
        << "nothing that could be taken for JSON";
  }
}

TEST_F(ServerTest, WaitsEndWithTheTaskOrTheTime) {
  uint16_t port = serve();
  RawClient submits(port);
  submits.send(
      fmt::format("POST /api/v1/tasks?wait=60s HTTP/1.1\r\nHost: localhost\r\n"
                  "Content-Length: {}\r\n\r\n{}",
                  kTask.size(), kTask));
  RawClient client(port);
  std::string id;
  while (id.empty()) {
    Json tasks = parse_json(client.ask("GET", "/api/v1/tasks").body)["tasks"];
    if (!tasks.empty()) id = tasks[0]["task_id"];
  }
  auto expired = client.ask("GET", "/api/v1/tasks/" + id + "?wait=50ms");
  EXPECT_EQ(expired.status, 202);
  EXPECT_EQ(parse_json(expired.body)["status"], "pending");
  RawClient watcher(port);
  watcher.send("GET /api/v1/tasks/" + id + "?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  finish(claim(), Outcome::complete("{\"n\":1}"));
  for (RawClient* waiting : {&submits, &watcher}) {
    auto answer = waiting->read_answer();
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(parse_json(answer.body)["result"]["n"], 1);
    // The connection is fit for another wait.
    EXPECT_EQ(waiting->ask("GET", "/api/v1/tasks/" + id + "?wait=1s").status, 200);
  }
}

TEST_F(ServerTest, WaitsFollowOneAnotherOnAConnection) {
  uint16_t port = serve();
  RawClient client(port);
  for (int i = 0; i < 50; ++i) {
    client.send(
        fmt::format("POST /api/v1/tasks?wait=60s HTTP/1.1\r\nHost: localhost\r\n"
                    "Content-Length: {}\r\n\r\n{}",
                    kTask.size(), kTask));
    while (service->queues().empty() || service->queue("default").stats.pending == 0) continue;
    finish(claim(), Outcome::complete("1"));
    ASSERT_EQ(client.read_answer().status, 200) << i;
  }
}

TEST_F(ServerTest, EventsAreStreamedToTheEnd) {
  uint16_t port = serve();
  std::string id = submit();
  std::string request = "GET /api/v1/tasks/" + id +
                        "/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n";
  RawClient client(port);
  client.send(request + "\r\n");
  EXPECT_EQ(client.read_answer(false).headers["content-type"], "text/event-stream");
  EXPECT_EQ(client.read_until("\n\n").substr(0, 22), "id: 1\nevent: submitted");
  auto task = claim();
  store->tasks().record_progress({{task.lease(), "{\"at\":\n 0.5}"}});
  EXPECT_NE(client.read_until("{\"at\":  0.5}\n\n").find("event: progress"), std::string::npos);
  finish(task, Outcome::complete("1"));
  std::string rest = client.read_to_end();
  EXPECT_NE(rest.find("event: completed\ndata: {"), std::string::npos) << rest;

  RawClient resumed(port);
  resumed.send(request + "Last-Event-ID: 1\r\n\r\n");
  rest = resumed.read_to_end();
  EXPECT_EQ(rest.find("event: submitted"), std::string::npos);
  EXPECT_NE(rest.find("event: completed"), std::string::npos);
  RawClient done(port);
  done.send(request + "Last-Event-ID: 1000\r\n\r\n");
  EXPECT_EQ(done.read_answer().status, 204);
  RawClient wrong(port);
  wrong.send(request + "Last-Event-ID: x\r\n\r\n");
  EXPECT_EQ(wrong.read_answer().status, 422);
}

TEST_F(ServerTest, ADeletedTaskEndsItsStream) {
  uint16_t port = serve();
  std::string id = submit();
  RawClient client(port);
  client.send("GET /api/v1/tasks/" + id +
              "/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
  client.read_until("event: submitted");
  service->remove(id);
  client.read_to_end();
}

TEST_F(ServerTest, StoppingAnswersWhoWaits) {
  uint16_t port = serve();
  std::string id = submit();
  RawClient waits(port), streams(port), idle(port);
  EXPECT_EQ(idle.ask("GET", "/health").status, 200);
  waits.send("GET /api/v1/tasks/" + id + "?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n");
  streams.send("GET /api/v1/tasks/" + id +
               "/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
  streams.read_until("event: submitted");
  server->stop(Deadline::after(std::chrono::seconds(10)));
  // What was not read before the stop is cut; what was, is answered.
  auto answer = waits.read_answer();
  EXPECT_TRUE(answer.status == 202 || answer.status == 0) << answer.status;
  streams.read_to_end();
  EXPECT_TRUE(idle.closed_by_server());
  server->stop(Deadline::after(std::chrono::seconds(1)));
}

TEST_F(ServerTest, StartAndStopComeInAnyOrder) {
  ApiOptions options;
  options.port = 0;
  ApiServer never_started(*service, metrics, *log, options);
  never_started.stop(Deadline::after(std::chrono::seconds(1)));
  never_started.start();
  ApiServer twice(*service, metrics, *log, options);
  twice.start();
  twice.start();
  EXPECT_EQ(RawClient(twice.port()).ask("GET", "/health").status, 200);
  twice.stop(Deadline::after(std::chrono::seconds(5)));
  twice.stop(Deadline::after(std::chrono::seconds(5)));
}

TEST_F(ServerTest, ATakenPortIsAClearError) {
  ApiOptions options;
  options.port = serve();
  try {
    ApiServer second(*service, metrics, *log, options);
    ADD_FAILURE() << "it started";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::unavailable);
    EXPECT_NE(error.message().find(fmt::format("127.0.0.1:{}", options.port)), std::string::npos);
  }
}

TEST_F(ServerTest, AListeningSocketIsTakenOver) {
  int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(fd, 16), 0);
  ApiOptions options;
  options.listen_fd = fd;
  RawClient client(serve(options));
  EXPECT_EQ(client.ask("GET", "/health").status, 200);
}

}  // namespace
}  // namespace opscore
