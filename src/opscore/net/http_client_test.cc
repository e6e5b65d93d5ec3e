#include "opscore/net/http_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <latch>

#include "opscore/net/loopback_server.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using Request = LoopbackServer::Request;
using Reply = LoopbackServer::Reply;
using testing::HasSubstr;
using testing::Not;

Deadline soon() {
  return Deadline::after(20s);
}

// What send() threw; fails the test when it did not.
Error failure_of(HttpClient& client, const HttpRequest& request, std::stop_token stop = {},
                 Deadline deadline = soon()) {
  try {
    client.send(request, std::move(stop), deadline);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "expected an Error";
  return Error(Errc::internal, "");
}

TEST(HttpClient, SendsMethodTargetHeadersAndBody) {
  LoopbackServer server([](const Request&, Reply& reply) {
    reply.send(201, "X-Answer: Yes \r\nX-Answer: no\r\n", "body");
  });
  HttpClient client;
  const HttpResponse response = client.send({.method = "PUT",
                                             .url = server.url() + "/a/b?c=d",
                                             .headers = {{"X-Name", "value"}, {"X-Empty", ""}},
                                             .body = "payload"},
                                            {}, soon());
  EXPECT_EQ(response.status, 201);
  EXPECT_EQ(response.body, "body");
  EXPECT_EQ(response.header("x-ANSWER"), "Yes");
  EXPECT_EQ(response.header("absent"), std::nullopt);
  const Request request = server.requests().at(0);
  EXPECT_EQ(request.method, "PUT");
  EXPECT_EQ(request.target, "/a/b?c=d");
  EXPECT_EQ(request.body, "payload");
  EXPECT_EQ(request.headers.at("x-name"), "value");
  EXPECT_TRUE(request.headers.contains("x-empty"));
  EXPECT_FALSE(request.headers.contains("expect"));
}

TEST(HttpClient, EveryMethodWorksWithAndWithoutABody) {
  LoopbackServer server([](const Request&, Reply& reply) { reply.send(200, "", ""); });
  HttpClient client;
  for (const char* method : {"GET", "POST", "PUT", "PATCH", "DELETE"})
    for (const char* body : {"", "x"})
      EXPECT_EQ(
          client.send({.method = method, .url = server.url(), .body = body}, {}, soon()).status,
          200)
          << method << " '" << body << "'";
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 10u);
  EXPECT_EQ(requests[1].method, "GET");
  EXPECT_EQ(requests[1].body, "x");
  EXPECT_EQ(requests[2].headers.at("content-length"), "0");
  EXPECT_EQ(server.connections(), 1u) << "the connection is reused";
}

TEST(HttpClient, HeadHasNoBody) {
  LoopbackServer server([](const Request&, Reply& reply) {
    reply.raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
  });
  HttpClient client;
  const auto response = client.send({.method = "HEAD", .url = server.url()}, {}, soon());
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("content-length"), "1000");
}

TEST(HttpClient, ABodyArrivesPieceByPiece) {
  std::latch first_seen(1);
  LoopbackServer server([&](const Request&, Reply& reply) {
    reply.begin(200, "");
    reply.piece("one");
    first_seen.wait();  // the client has the first piece before the second is sent
    reply.piece("two");
    reply.end();
  });
  HttpClient client;
  std::string seen;
  HttpRequest request{.url = server.url()};
  request.on_body = [&](std::string_view bytes) {
    if (seen.empty()) first_seen.count_down();
    seen += bytes;
    return true;
  };
  const HttpResponse response = client.send(request, {}, soon());
  EXPECT_EQ(seen, "onetwo");
  EXPECT_EQ(response.body, "");
}

TEST(HttpClient, TheBodyReaderMayEndTheCallOrThrow) {
  LoopbackServer server([&](const Request&, Reply& reply) {
    reply.begin(200, "");
    reply.piece("enough");
    reply.hold();
  });
  HttpClient client;
  HttpRequest request{.url = server.url()};
  request.on_body = [](std::string_view) { return false; };
  EXPECT_EQ(client.send(request, {}, soon()).status, 200);
  request.on_body = [](std::string_view) -> bool { throw Error(Errc::conflict, "mine"); };
  EXPECT_EQ(failure_of(client, request).code(), Errc::conflict);
}

TEST(HttpClient, TheBodyOfAnErrorIsCollected) {
  LoopbackServer server([](const Request&, Reply& reply) { reply.send(500, "", "why"); });
  HttpClient client;
  HttpRequest request{.url = server.url()};
  request.on_body = [](std::string_view) -> bool { throw Error(Errc::internal, "not called"); };
  EXPECT_EQ(client.send(request, {}, soon()).body, "why");
}

TEST(HttpClient, RedirectsAreAnswers) {
  LoopbackServer server(
      [](const Request&, Reply& reply) { reply.send(302, "Location: /elsewhere\r\n", ""); });
  HttpClient client;
  EXPECT_EQ(client.send({.url = server.url()}, {}, soon()).status, 302);
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST(HttpClient, AnInterimAnswerIsNotTheAnswer) {
  LoopbackServer server([](const Request&, Reply& reply) {
    reply.raw("HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n");
    reply.send(200, "", "late");
  });
  HttpClient client;
  const auto response = client.send({.url = server.url()}, {}, soon());
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.header("x-early"), std::nullopt);
}

TEST(HttpClient, ABodyOverTheLimitIsRefused) {
  LoopbackServer server(
      [](const Request&, Reply& reply) { reply.send(200, "", std::string(2000, 'x')); });
  HttpClient client;
  EXPECT_EQ(failure_of(client, {.url = server.url(), .body_bytes_max = 1999}).code(),
            Errc::too_large);
  EXPECT_EQ(client.send({.url = server.url(), .body_bytes_max = 2000}, {}, soon()).body.size(),
            2000u);
}

TEST(HttpClient, AStopRequestEndsASilentCallAtOnce) {
  std::latch asked(1);
  LoopbackServer server([&](const Request&, Reply& reply) {
    asked.count_down();
    reply.hold();
  });
  HttpClient client;
  std::stop_source stop;
  auto call = std::async(std::launch::async, [&] {
    return failure_of(client, {.url = server.url()}, stop.get_token(), Deadline::never());
  });
  asked.wait();
  const auto begin = std::chrono::steady_clock::now();
  stop.request_stop();
  EXPECT_EQ(call.get().code(), Errc::cancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 500ms);
}

TEST(HttpClient, AStopRequestedBeforeTheCallSendsNothing) {
  LoopbackServer server([](const Request&, Reply& reply) { reply.send(200, "", ""); });
  HttpClient client;
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(failure_of(client, {.url = server.url()}, stop.get_token()).code(), Errc::cancelled);
  EXPECT_EQ(server.requests().size(), 0u);
}

TEST(HttpClient, TheDeadlineEndsACall) {
  LoopbackServer server([](const Request&, Reply& reply) { reply.hold(); });
  HttpClient client;
  const Error error = failure_of(client, {.url = server.url()}, {}, Deadline::after(50ms));
  EXPECT_EQ(error.code(), Errc::timeout);
  EXPECT_THAT(error.message(), HasSubstr("GET " + server.url()));
}

TEST(HttpClient, SilenceWithinAnAnswerEndsACall) {
  LoopbackServer server([](const Request&, Reply& reply) {
    reply.begin(200, "");
    reply.piece("a");
    reply.hold();
  });
  HttpClient client;
  const Error error = failure_of(client, {.url = server.url(), .idle_timeout = 50ms});
  EXPECT_EQ(error.code(), Errc::timeout);
  EXPECT_THAT(error.message(), HasSubstr("nothing received for 50ms"));
}

TEST(HttpClient, ARefusedConnectionSaysSo) {
  std::string url;
  {
    LoopbackServer gone([](const Request&, Reply&) {});
    url = gone.url();
  }
  HttpClient client;
  const Error error = failure_of(client, {.method = "POST", .url = url + "/v1/x?key=secret"});
  EXPECT_EQ(error.code(), Errc::unavailable);
  EXPECT_TRUE(error.retryable());
  EXPECT_THAT(error.message(), HasSubstr("POST " + url + "/v1/x: "));
  EXPECT_THAT(error.message(), HasSubstr("Connection refused"));
  EXPECT_THAT(error.message(), Not(HasSubstr("secret")));
}

TEST(HttpClient, ACutAnswerIsNoAnswer) {
  LoopbackServer server([](const Request& request, Reply& reply) {
    if (request.target == "/chunked") {
      reply.begin(200, "");
      reply.piece("half");
    } else if (request.target == "/length") {
      reply.raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    }
    reply.cut();
  });
  HttpClient client;
  for (const char* path : {"/chunked", "/length", "/nothing"}) {
    const Error error = failure_of(client, {.url = server.url() + path});
    EXPECT_EQ(error.code(), Errc::unavailable) << path;
    EXPECT_TRUE(error.retryable()) << path;
  }
}

TEST(HttpClient, WhatIsNotHttpIsMalformed) {
  LoopbackServer server([](const Request&, Reply& reply) {
    reply.raw("HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n");
    reply.cut();
  });
  HttpClient client;
  EXPECT_EQ(failure_of(client, {.url = server.url()}).code(), Errc::malformed);
}

TEST(HttpClient, HeadersWithoutEndAreRefused) {
  LoopbackServer server([](const Request&, Reply& reply) {
    reply.raw("HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 400; ++i) reply.raw("X-Filler: " + std::string(1000, 'x') + "\r\n");
    reply.hold();
  });
  HttpClient client;
  EXPECT_EQ(failure_of(client, {.url = server.url()}).code(), Errc::too_large);
}

TEST(HttpClient, BadRequestsAreRefusedBeforeTheyAreSent) {
  LoopbackServer server([](const Request&, Reply& reply) { reply.send(200, "", ""); });
  HttpClient client;
  for (const char* url : {"", "ftp://127.0.0.1/", "file:///etc/passwd", "http://", "not a url"})
    EXPECT_EQ(failure_of(client, {.url = url}).code(), Errc::invalid) << url;
  for (const auto& header : HttpHeaders{{"A", "b\r\nEvil: 1"}, {"A\nB", "c"}, {"", "x"}})
    EXPECT_EQ(failure_of(client, {.url = server.url(), .headers = {header}}).code(), Errc::invalid);
  EXPECT_EQ(server.requests().size(), 0u);
}

TEST(HttpClient, LoopbackIsNeverProxied) {
  LoopbackServer proxy([](const Request&, Reply& reply) { reply.send(502, "", ""); });
  LoopbackServer server([](const Request&, Reply& reply) { reply.send(200, "", ""); });
  ASSERT_EQ(::setenv("http_proxy", proxy.url().c_str(), 1), 0);
  HttpClient client;
  const int loopback = client.send({.url = server.url()}, {}, soon()).status;
  const int named =
      client.send({.url = fmt::format("http://localhost:{}", server.port())}, {}, soon()).status;
  const int elsewhere = client.send({.url = "http://opscore.invalid/"}, {}, soon()).status;
  ::unsetenv("http_proxy");
  EXPECT_EQ(loopback, 200);
  EXPECT_EQ(named, 200);
  EXPECT_EQ(elsewhere, 502) << "other hosts go through the proxy";
}

TEST(HttpClient, ConcurrentCallsDoNotMix) {
  LoopbackServer server(
      [](const Request& request, Reply& reply) { reply.send(200, "", request.body); });
  HttpClient client;
  std::vector<std::future<int>> threads;
  for (int t = 0; t < 8; ++t)
    threads.push_back(std::async(std::launch::async, [&, t] {
      int right = 0;
      for (int i = 0; i < 25; ++i) {
        const std::string body = fmt::format("{}:{}", t, i);
        const auto response =
            client.send({.method = "POST", .url = server.url(), .body = body}, {}, soon());
        right += response.body == body;
      }
      return right;
    }));
  for (auto& thread : threads) EXPECT_EQ(thread.get(), 25);
}

TEST(PrintableUrl, HidesCredentialsAndQuery) {
  EXPECT_EQ(printable_url("https://user:pass@host:1/a?key=1#f"), "https://host:1/a");
  EXPECT_EQ(printable_url("http://host/a@b"), "http://host/a@b");
  EXPECT_EQ(printable_url("nonsense"), "nonsense");
  EXPECT_EQ(printable_url(""), "");
}

LoopbackServer::Handler redirecting_to(const std::string& location) {
  return [location](const Request& request, Reply& reply) {
    if (request.target == "/end") return reply.send(200, "X-Place: end\r\n", "arrived");
    reply.send(302, "X-Place: start\r\nLocation: " + location + "\r\n", "moved");
  };
}

AddressGuard allowing(const char* range) {
  return AddressGuard({*IpRange::parse(range)});
}

TEST(HttpClient, RedirectsAreFollowedWhenAsked) {
  LoopbackServer server(redirecting_to("/end"));
  HttpClient client;
  EXPECT_EQ(client.send({.url = server.url()}, {}, soon()).status, 302);
  const auto response = client.send({.url = server.url(), .redirects_max = 3}, {}, soon());
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "arrived");
  EXPECT_EQ(response.header("x-place"), "end");
}

TEST(HttpClient, RedirectsAreBounded) {
  LoopbackServer server(redirecting_to("/again"));
  HttpClient client;
  const Error error = failure_of(client, {.url = server.url(), .redirects_max = 3});
  EXPECT_THAT(error.message(), HasSubstr("more than 3 redirects"));
  EXPECT_FALSE(error.retryable());
  EXPECT_EQ(server.requests().size(), 4u);
}

TEST(HttpClient, TooLargeAnswersCanBeCut) {
  LoopbackServer server([](const Request&, Reply& reply) { reply.send(200, "", "0123456789"); });
  HttpClient client;
  const auto cut =
      client.send({.url = server.url(), .body_bytes_max = 4, .cut_body = true}, {}, soon());
  EXPECT_EQ(cut.body, "0123");
  EXPECT_TRUE(cut.cut);
  const auto whole =
      client.send({.url = server.url(), .body_bytes_max = 10, .cut_body = true}, {}, soon());
  EXPECT_EQ(whole.body, "0123456789");
  EXPECT_FALSE(whole.cut);
}

TEST(HttpClient, TheGuardRefusesTheConnectedAddress) {
  LoopbackServer server([](const Request&, Reply& reply) { reply.send(200, "", "secret"); });
  HttpClient client;
  const AddressGuard guard;
  // The last is a name: only what it resolves to says where it leads.
  for (const std::string host : {"127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]",
                                 "localhost", "localhost.", "0"}) {
    const std::string url = fmt::format("http://{}:{}/", host, server.port());
    const Error error = failure_of(client, {.url = url, .guard = &guard});
    EXPECT_EQ(error.code(), Errc::forbidden) << host << ": " << error.message();
    EXPECT_FALSE(error.retryable());
    EXPECT_THAT(error.message(), HasSubstr("net.allow"));
  }
  EXPECT_EQ(server.connections(), 0u) << "nothing was connected";
}

TEST(HttpClient, TheGuardRefusesAConnectionThatWasKept) {
  LoopbackServer server([](const Request&, Reply& reply) { reply.send(200, "", "secret"); });
  HttpClient client;
  client.send({.url = server.url()}, {}, soon());
  const AddressGuard strict = allowing("127.0.0.2");
  EXPECT_EQ(failure_of(client, {.url = server.url(), .guard = &strict}).code(), Errc::forbidden);
  EXPECT_EQ(server.requests().size(), 1u);
}

TEST(HttpClient, TheGuardLooksAtEveryRedirect) {
  LoopbackServer secret([](const Request&, Reply& reply) { reply.send(200, "", "secret"); });
  for (const std::string host : {"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"}) {
    LoopbackServer server(redirecting_to(fmt::format("http://{}:{}/", host, secret.port())),
                          "127.0.0.2");
    HttpClient client;
    client.send({.url = secret.url()}, {}, soon());  // a kept connection does not help, either
    const AddressGuard guard = allowing("127.0.0.2");
    const Error error =
        failure_of(client, {.url = server.url(), .redirects_max = 5, .guard = &guard});
    EXPECT_EQ(error.code(), Errc::forbidden) << error.message();
    EXPECT_EQ(server.requests().size(), 1u);
  }
  EXPECT_EQ(secret.requests().size(), 3u) << "only the calls without a guard";
}

TEST(HttpClient, WhatTheGuardPermitsIsCalled) {
  LoopbackServer server([](const Request&, Reply& reply) { reply.send(200, "", "fine"); });
  HttpClient client;
  const AddressGuard guard = allowing("127.0.0.1");
  EXPECT_EQ(client.send({.url = server.url(), .guard = &guard}, {}, soon()).body, "fine");
  const std::string named = fmt::format("http://localhost:{}/", server.port());
  EXPECT_EQ(client.send({.url = named, .guard = &guard}, {}, soon()).body, "fine")
      << "of its two addresses one is permitted";
}

TEST(HttpClient, APermittedAddressThatIsDownMayComeBack) {
  uint16_t port = 0;
  {
    LoopbackServer gone([](const Request&, Reply&) {});
    port = gone.port();
  }
  HttpClient client;
  const AddressGuard guard = allowing("127.0.0.1");
  const Error error =
      failure_of(client, {.url = fmt::format("http://localhost:{}/", port), .guard = &guard});
  EXPECT_EQ(error.code(), Errc::unavailable) << error.message();
  EXPECT_TRUE(error.retryable());
}

TEST(HttpClient, AProxyOfTheEnvironmentDoesNotDefeatTheGuard) {
  LoopbackServer proxy([](const Request&, Reply& reply) { reply.send(200, "", "proxied"); });
  ::setenv("http_proxy", proxy.url().c_str(), 1);
  HttpClient client;
  const AddressGuard guard = allowing("127.0.0.1");
  const std::string url = "http://10.255.255.1/";
  EXPECT_EQ(failure_of(client, {.url = url, .guard = &guard}).code(), Errc::forbidden);
  // A name in the proxy's eyes only; nobody else resolves it.
  const std::string name = "http://inside.invalid/";
  EXPECT_EQ(failure_of(client, {.url = name, .guard = &guard}).code(), Errc::unavailable);
  EXPECT_EQ(client.send({.url = name}, {}, soon()).body, "proxied");
  ::unsetenv("http_proxy");
  EXPECT_EQ(proxy.requests().size(), 1u);
}

}  // namespace
}  // namespace opscore
