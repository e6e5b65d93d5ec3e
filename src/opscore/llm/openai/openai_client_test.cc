#include "opscore/llm/openai/openai_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "opscore/net/loopback_server.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using Request = LoopbackServer::Request;
using Reply = LoopbackServer::Reply;
using Role = LlmMessage::Role;
using testing::HasSubstr;
using testing::Not;

// A recorded answer: head and body as they came from another implementation of the protocol.
struct Recording {
  std::string head, body;
};

Recording recording(const std::string& name) {
  const auto path = std::filesystem::path(__FILE__).parent_path().parent_path() / "testdata" / name;
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t end = text.find("\r\n\r\n");
  EXPECT_NE(end, std::string::npos) << path;
  return {text.substr(0, end + 4), text.substr(end + 4)};
}

std::string chunk(const std::string& choice) {
  return "data: {\"model\":\"m-1\",\"choices\":[" + choice + "]}\n\n";
}
std::string delta(const std::string& members, const std::string& finish = "null") {
  return chunk("{\"index\":0,\"delta\":{" + members + "},\"finish_reason\":" + finish + "}");
}
std::string stopping() {
  return delta("", "\"stop\"");
}

class OpenAiClientTest : public testing::Test {
 protected:
  // Each call is answered by the next handler; the last one answers whatever comes after it.
  void serve(std::vector<LoopbackServer::Handler> handlers, OpenAiOptions options = {}) {
    handlers_ = std::move(handlers);
    next_ = 0;
    server_ = std::make_unique<LoopbackServer>([this](const Request& request, Reply& reply) {
      handlers_.at(std::min(next_++, handlers_.size() - 1))(request, reply);
    });
    options.base_url = server_->url() + "/v1/";
    options.api_key = "sk-secret-key";
    options.retry_base = 1ms;
    client_ = make_openai_client(http_, std::move(options), clock_, random_);
  }
  void serve_stream(const std::string& body, OpenAiOptions options = {.retries = 0}) {
    serve({stream(body)}, std::move(options));
  }
  static LoopbackServer::Handler stream(std::string body) {
    return [body = std::move(body)](const Request&, Reply& reply) {
      reply.begin(200, "Content-Type: text/event-stream\r\nx-request-id: req_7\r\n");
      reply.piece(body);
      reply.end();
    };
  }
  static LoopbackServer::Handler status(int code, std::string headers, std::string body) {
    return [=](const Request&, Reply& reply) { reply.send(code, headers, body); };
  }

  static LlmRequest question() {
    LlmRequest request{.model = "gpt-x"};
    request.messages = {{.role = Role::user, .text = "hi"}};
    return request;
  }
  LlmResponse ask(LlmRequest request = question()) {
    return client_->complete(request, {}, Deadline::after(20s));
  }
  LlmError failure(Deadline deadline = Deadline::after(20s)) {
    try {
      client_->complete(question(), {}, deadline);
    } catch (const LlmError& error) {
      return error;
    }
    ADD_FAILURE() << "expected an LlmError";
    return LlmError(Errc::internal, "", false);
  }
  size_t calls() const { return server_->requests().size(); }
  Json sent(size_t call = 0) const { return Json::parse(server_->requests().at(call).body); }

  FakeClock clock_{from_ms(1'795'164'475'000)};  // Fri, 20 Nov 2026 08:47:55 GMT
  SeededRandom random_{1};
  HttpClient http_;
  std::vector<LoopbackServer::Handler> handlers_;
  std::atomic<size_t> next_ = 0;
  std::unique_ptr<LoopbackServer> server_;
  std::unique_ptr<LlmClient> client_;
};

TEST_F(OpenAiClientTest, SendsTheRequestAsTheProtocolWants) {
  serve({status(200, "", recording("openai-chat.txt").body)},
        {.organization = "org-1", .project = "proj-1", .headers = {{"X-Title", "opscore"}}});
  LlmRequest request = question();
  request.messages.insert(request.messages.begin(), {.role = Role::system, .text = "sys"});
  request.messages.push_back(
      {.role = Role::assistant, .text = "", .tool_calls = {{"call_1", "look", "{\"a\":1}"}}});
  request.messages.push_back({.role = Role::tool, .text = "seen", .tool_call_id = "call_1"});
  request.tools = {{"look", "looks", {{"type", "object"}}}};
  request.temperature = 0.5;
  request.max_tokens = 100;
  ask(request);
  const Request http = server_->requests().at(0);
  EXPECT_EQ(http.method, "POST");
  EXPECT_EQ(http.target, "/v1/chat/completions");
  EXPECT_EQ(http.headers.at("authorization"), "Bearer sk-secret-key");
  EXPECT_EQ(http.headers.at("openai-organization"), "org-1");
  EXPECT_EQ(http.headers.at("openai-project"), "proj-1");
  EXPECT_EQ(http.headers.at("x-title"), "opscore");
  EXPECT_EQ(http.headers.at("content-type"), "application/json");
  EXPECT_EQ(sent(), Json::parse(R"({
    "model": "gpt-x", "temperature": 0.5, "max_tokens": 100,
    "stream": true, "stream_options": {"include_usage": true},
    "messages": [
      {"role": "system", "content": "sys"}, {"role": "user", "content": "hi"},
      {"role": "assistant", "content": "", "tool_calls": [{"id": "call_1", "type": "function",
        "function": {"name": "look", "arguments": "{\"a\":1}"}}]},
      {"role": "tool", "tool_call_id": "call_1", "content": "seen"}],
    "tools": [{"type": "function", "function": {"name": "look", "description": "looks",
      "parameters": {"type": "object"}}}]})"));
}

TEST_F(OpenAiClientTest, RecordedText) {
  for (const char* name : {"openai-chat.txt", "openai-chat-stream.txt"}) {
    const Recording recorded = recording(name);
    serve({[&](const Request&, Reply& reply) {
      reply.raw(recorded.head);
      reply.piece(recorded.body);
      reply.end();
    }});
    const LlmResponse response = ask();
    EXPECT_EQ(response.message.text, "Hello from aimock") << name;
    EXPECT_EQ(response.finish_reason, "stop") << name;
    EXPECT_EQ(response.model, "gpt-4o") << name;
    EXPECT_EQ(response.usage.input_tokens, 2) << name;
    EXPECT_EQ(response.usage.output_tokens, 5) << name;
    EXPECT_TRUE(response.request_id.starts_with("req-")) << name;
  }
}

TEST_F(OpenAiClientTest, RecordedToolCallAndItsEcho) {
  for (const char* name : {"openai-chat-tool.txt", "openai-chat-stream-tool.txt"}) {
    const Recording recorded = recording(name);
    serve({[&](const Request&, Reply& reply) {
      reply.raw(recorded.head);
      reply.piece(recorded.body);
      reply.end();
    }});
    const LlmResponse response = ask();
    ASSERT_EQ(response.message.tool_calls.size(), 1u) << name;
    const LlmToolCall& call = response.message.tool_calls[0];
    EXPECT_EQ(call.name, "get_weather");
    EXPECT_EQ(call.arguments, "{\"city\":\"Paris\"}");
    EXPECT_TRUE(call.id.starts_with("call_"));
    EXPECT_EQ(response.finish_reason, "tool_calls");
    LlmRequest next = question();
    next.messages.push_back(response.message);
    next.messages.push_back({.role = Role::tool, .text = "18C", .tool_call_id = call.id});
    ask(next);
    const Json echo = sent(1)["messages"][1];
    EXPECT_EQ(echo["role"], "assistant") << name;
    EXPECT_TRUE(echo["content"].is_null()) << name;
    EXPECT_EQ(echo["tool_calls"][0]["id"], call.id) << name;
    EXPECT_EQ(echo["tool_calls"][0]["function"]["arguments"], "{\"city\":\"Paris\"}") << name;
    EXPECT_FALSE(echo["tool_calls"][0].contains("index")) << name;
  }
}

TEST_F(OpenAiClientTest, RecordedRefusal) {
  serve({status(404, "x-request-id: req-9\r\n", recording("unmatched.txt").body)});
  const LlmError error = failure();
  EXPECT_EQ(error.code(), Errc::not_found);
  EXPECT_FALSE(error.retryable());
  EXPECT_EQ(error.message(),
            "openai: HTTP 404 no_fixture_match: No fixture matched (request req-9)");
}

TEST_F(OpenAiClientTest, AStreamCutAtEveryByteIsNeverAnAnswer) {
  const std::string body = recording("openai-chat-stream.txt").body;
  const size_t finish = body.find("\"finish_reason\":\"stop\"");
  ASSERT_NE(finish, std::string::npos);
  std::atomic<size_t> length = 0;
  serve({[&](const Request&, Reply& reply) {
          reply.begin(200, "Content-Type: text/event-stream\r\n");
          reply.piece(std::string_view(body).substr(0, length));
          reply.end();
        }},
        {.retries = 0});
  for (length = 0; length < finish; length += 13) {
    const LlmError error = failure();
    EXPECT_TRUE(error.code() == Errc::unavailable || error.code() == Errc::malformed) << length;
    EXPECT_TRUE(error.retryable()) << length;
  }
  length = body.size();
  EXPECT_EQ(ask().message.text, "Hello from aimock");
}

TEST_F(OpenAiClientTest, ABrokenConnectionInTheStreamIsTriedAgain) {
  serve({[](const Request&, Reply& reply) {
           reply.begin(200, "");
           reply.piece(delta("\"content\":\"half\""));
           reply.cut();
         },
         stream(delta("\"content\":\"whole\"") + stopping() + "data: [DONE]\n\n")});
  EXPECT_EQ(ask().message.text, "whole");
  EXPECT_EQ(calls(), 2u);
}

TEST_F(OpenAiClientTest, TheEndWithoutDoneIsTheEndOnceAFinishReasonWasSeen) {
  serve_stream(delta("\"content\":\"x\"") + stopping());
  EXPECT_EQ(ask().message.text, "x");
}

TEST_F(OpenAiClientTest, NothingAfterDoneIsWaitedFor) {
  serve({[](const Request&, Reply& reply) {
    reply.begin(200, "");
    reply.piece(delta("\"content\":\"x\"") + stopping() + "data: [DONE]\n\n");
    reply.hold();
  }});
  EXPECT_EQ(ask().message.text, "x");
}

TEST_F(OpenAiClientTest, UtfEightSplitAcrossPieces) {
  const std::string body = delta(
                               "\"content\":\"gr\xC3\xBC\xC3\x9F"
                               "e \xF0\x9F\x9A\x80\"") +
                           stopping();
  serve({[&](const Request&, Reply& reply) {
    reply.begin(200, "");
    for (const char& byte : body) reply.piece({&byte, 1});
    reply.end();
  }});
  EXPECT_EQ(ask().message.text,
            "gr\xC3\xBC\xC3\x9F"
            "e \xF0\x9F\x9A\x80");
}

TEST_F(OpenAiClientTest, CommentsAndUnknownEventsAreSkipped) {
  serve_stream(": OPENROUTER PROCESSING\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n" +
               delta("\"content\":\"a\",\"obfuscation\":\"zzz\"") + ": x\n\n" + stopping());
  const LlmResponse response = ask();
  EXPECT_EQ(response.message.text, "a");
  EXPECT_FALSE(response.message.raw.contains("obfuscation"));
}

TEST_F(OpenAiClientTest, ToolCallsAreMergedByIndex) {
  serve_stream(
      delta(R"("tool_calls":[{"index":0,"id":"a","function":{"name":"x","arguments":"{\"k\""}}])") +
      delta(R"("tool_calls":[{"index":1,"id":"b","function":{"name":"y","arguments":""}}])") +
      delta(R"("tool_calls":[{"index":0,"function":{"arguments":":1}"}},)"
            R"({"index":1,"function":{"arguments":"{}"}}])") +
      delta("", "\"tool_calls\"") + "data: [DONE]\n\n");
  const auto response = ask();
  const auto& calls = response.message.tool_calls;
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].arguments, "{\"k\":1}");
  EXPECT_EQ(calls[1].name, "y");
  EXPECT_EQ(calls[1].arguments, "{}");
}

TEST_F(OpenAiClientTest, ToolCallsOfOtherServers) {
  // No index; every index 0 with different ids; no id; arguments as an object; finish "stop".
  const std::vector<std::string> streams{
      delta(R"("tool_calls":[{"id":"a","function":{"name":"x","arguments":"{}"}}])") +
          delta(R"("tool_calls":[{"id":"b","function":{"name":"y","arguments":"{}"}}])"),
      delta(R"("tool_calls":[{"index":0,"id":"a","function":{"name":"x","arguments":"{}"}}])") +
          delta(R"("tool_calls":[{"index":0,"id":"b","function":{"name":"y","arguments":"{}"}}])"),
      delta(R"("tool_calls":[{"function":{"name":"x","arguments":{}}},)"
            R"({"function":{"name":"y","arguments":{}}}])")};
  for (const std::string& body : streams) {
    serve_stream(body + stopping());
    const LlmResponse response = ask();
    const auto& calls = response.message.tool_calls;
    ASSERT_EQ(calls.size(), 2u) << body;
    EXPECT_EQ(calls[0].name + calls[1].name, "xy");
    EXPECT_EQ(calls[0].arguments + calls[1].arguments, "{}{}");
    EXPECT_NE(calls[0].id, calls[1].id);
    EXPECT_EQ(response.finish_reason, "tool_calls");
    EXPECT_EQ(response.message.raw["tool_calls"][1]["id"], calls[1].id);
  }
}

TEST_F(OpenAiClientTest, UnknownMembersOfTheTurnAreSentBackVerbatim) {
  serve_stream(delta(R"("reasoning":"be","reasoning_details":[{"type":"t","data":"1"}])") +
               delta(R"("reasoning":"cause","reasoning_details":[{"type":"t","data":"2"}])") +
               delta("\"content\":\"so\"") + stopping());
  const LlmResponse response = ask();
  EXPECT_EQ(response.message.raw["reasoning"], "because");
  EXPECT_EQ(response.message.raw["reasoning_details"].size(), 2u);
  LlmRequest next = question();
  next.messages.push_back(response.message);
  ask(next);
  EXPECT_EQ(sent(1)["messages"][1], response.message.raw);
}

TEST_F(OpenAiClientTest, ContentOfOtherForms) {
  serve({status(200, "", R"({"choices":[{"message":{"content":[{"type":"text","text":"a"},
      {"type":"text","text":"b"}]}}],"usage":null,"created":1.5})")});
  EXPECT_EQ(ask().message.text, "ab");
  serve({status(200, "", R"({"choices":[{"message":{"content":null,"refusal":"I will not"},
      "finish_reason":"stop"}]})")});
  const LlmResponse refused = ask();
  EXPECT_EQ(refused.message.text, "I will not");
  EXPECT_EQ(refused.finish_reason, "refusal");
}

TEST_F(OpenAiClientTest, ErrorsBehindStatus200) {
  const std::vector<std::tuple<std::string, Errc, bool>> cases{
      {"data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\"}}\n\n", Errc::unavailable,
       true},
      {delta("\"content\":\"x\"") + "data: {\"error\":{\"code\":502,\"message\":\"boom\"}}\n\n",
       Errc::unavailable, true},
      {delta("\"content\":\"x\"", "\"error\""), Errc::unavailable, true},
      {"data: {\"error\":\"boom\"}\n\n", Errc::unavailable, true},
      {R"({"error":{"message":"boom","type":"invalid_request_error"}})", Errc::invalid, false},
      {R"({"error":{"code":429,"message":"boom"}})", Errc::queue_full, true},
      {R"({"error":{"code":402,"message":"boom"}})", Errc::queue_full, false},
      {R"({"error":{"message":"boom","code":"insufficient_quota"}})", Errc::queue_full, false},
      {R"([{"error":{"code":503,"message":"boom"}}])", Errc::unavailable, true}};
  for (const auto& [body, code, retryable] : cases) {
    serve_stream(body);
    const LlmError error = failure();
    EXPECT_EQ(error.code(), code) << body;
    EXPECT_EQ(error.retryable(), retryable) << body;
    EXPECT_THAT(error.message(),
                HasSubstr(body.find("boom") == std::string::npos ? "error" : "boom"));
    EXPECT_TRUE(error.message().starts_with("openai: ")) << error.message();
  }
}

TEST_F(OpenAiClientTest, AnswersThatAreNone) {
  const std::vector<std::pair<std::string, Errc>> cases{
      {"<html>Sign in</html>", Errc::malformed},
      {"{\"choices\":[]}", Errc::malformed},
      {"{}", Errc::malformed},
      {"{\"choices\":[{\"message\":", Errc::malformed},
      {"data: {\"choices\":\n\n", Errc::malformed},
      {"data: 7\n\n", Errc::malformed},
      {"data: [DONE]\n\n", Errc::malformed},
      {"", Errc::unavailable},
      {"plain words", Errc::unavailable},
      {": only comments\n\n", Errc::unavailable}};
  for (const auto& [body, code] : cases) {
    serve_stream(body);
    EXPECT_EQ(failure().code(), code) << body;
  }
}

TEST_F(OpenAiClientTest, StatusesAndTheirMeaning) {
  const std::vector<std::tuple<int, Errc, bool>> cases{
      {400, Errc::invalid, false},    {401, Errc::unauthenticated, false},
      {402, Errc::queue_full, false}, {403, Errc::forbidden, false},
      {404, Errc::not_found, false},  {408, Errc::timeout, true},
      {409, Errc::unavailable, true}, {413, Errc::invalid, false},
      {422, Errc::invalid, false},    {429, Errc::queue_full, true},
      {500, Errc::unavailable, true}, {503, Errc::unavailable, true},
      {529, Errc::unavailable, true}, {302, Errc::invalid, false}};
  for (const auto& [code, errc, retryable] : cases) {
    serve({status(code, "Location: https://login.example/\r\n",
                  R"({"error":{"message":"because"}})")},
          {.retries = 0});
    const LlmError error = failure();
    EXPECT_EQ(error.code(), errc) << code;
    EXPECT_EQ(error.retryable(), retryable) << code;
    EXPECT_THAT(error.message(), HasSubstr(code == 302 ? "https://login.example/" : "because"));
  }
}

TEST_F(OpenAiClientTest, ErrorBodiesOfAllForms) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"({"error":"model 'x' not found"})", "model 'x' not found"},
      {R"({"object":"error","message":"too long","code":400})", "too long"},
      {R"({"detail":"Not authorised"})", "Not authorised"},
      {R"({"detail":[{"loc":["body"],"msg":"bad"}]})", "bad"},
      {R"([{"error":{"message":"from a list"}}])", "from a list"},
      {"<html>\n502 Bad Gateway\n</html>", "502 Bad Gateway"},
      {"\xFF\xFE", "\xEF\xBF\xBD"},
      {"", "(no body)"}};
  for (const auto& [body, words] : cases) {
    serve({status(400, "", body)});
    EXPECT_THAT(failure().message(), HasSubstr(words)) << body;
  }
}

TEST_F(OpenAiClientTest, TriesAgainWhatMaySucceed) {
  for (const int code : {408, 409, 429, 500, 503}) {
    serve({status(code, "", "{}"), status(code, "", "{}"),
           stream(delta("\"content\":\"ok\"") + stopping())});
    EXPECT_EQ(ask().message.text, "ok") << code;
    EXPECT_EQ(calls(), 3u) << code;
  }
}

TEST_F(OpenAiClientTest, GivesUpAfterTheRetries) {
  serve({status(500, "", "{}")}, {.retries = 3});
  EXPECT_TRUE(failure().retryable()) << "the task may still be tried again";
  EXPECT_EQ(calls(), 4u);
}

TEST_F(OpenAiClientTest, DoesNotRepeatWhatCannotSucceed) {
  for (const int code : {400, 401, 402, 403, 404, 422}) {
    serve({status(code, "", "{}")});
    failure();
    EXPECT_EQ(calls(), 1u) << code;
  }
}

TEST_F(OpenAiClientTest, MoneyErrorsAreFinal) {
  for (const char* error :
       {R"({"code":"credit_balance_exhausted","type":"insufficient_quota"})",
        R"({"type":"insufficient_quota"})", R"({"code":"organization_spend_limit_exceeded"})",
        R"({"code":"project_spend_limit_exceeded"})",
        R"({"code":"organization_usage_limit_exceeded"})",
        R"({"type":"rate_limit_error","details":{"error_code":"enforced_spend_limit_reached"}})"}) {
    serve({status(429, "retry-after: 1\r\nx-should-retry: true\r\n",
                  std::string("{\"error\":") + error + "}")});
    const LlmError refused = failure();
    EXPECT_EQ(refused.code(), Errc::queue_full) << error;
    EXPECT_FALSE(refused.retryable()) << error;
    EXPECT_EQ(refused.retry_after(), std::nullopt) << error;
    EXPECT_EQ(calls(), 1u) << error;
  }
}

TEST_F(OpenAiClientTest, TheServerMaySayWhetherToRetry) {
  serve({status(500, "x-should-retry: false\r\n", "{}")});
  EXPECT_FALSE(failure().retryable());
  EXPECT_EQ(calls(), 1u);
  serve({status(400, "x-should-retry: true\r\n", "{}"),
         stream(delta("\"content\":\"ok\"") + stopping())});
  EXPECT_EQ(ask().message.text, "ok");
}

TEST_F(OpenAiClientTest, FormsOfRetryAfter) {
  const std::vector<std::pair<std::string, std::optional<Duration>>> cases{
      {"retry-after: 120\r\n", 120s},
      {"retry-after: 90.5\r\n", 90500ms},
      {"retry-after-ms: 70000\r\nretry-after: 1\r\n", 70s},
      {"retry-after: Fri, 20 Nov 2026 08:49:55 GMT\r\n", 120s},
      {"retry-after: Fri, 20 Nov 2020 08:49:55 GMT\r\n", std::nullopt},
      {"retry-after: 0\r\n", std::nullopt},
      {"retry-after: -5\r\n", std::nullopt},
      {"retry-after: soon\r\n", std::nullopt},
      {"retry-after: inf\r\n", std::nullopt}};
  for (const auto& [header, expected] : cases) {
    serve({status(429, header, "{}")}, {.retries = expected ? 5 : 0});
    EXPECT_EQ(failure().retry_after(), expected) << header;
    EXPECT_EQ(calls(), 1u) << "a long pause is left to the caller: " << header;
  }
}

TEST_F(OpenAiClientTest, AShortRetryAfterIsWaitedFor) {
  serve({status(429, "retry-after-ms: 30\r\n", "{}"),
         stream(delta("\"content\":\"ok\"") + stopping())});
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(ask().message.text, "ok");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 30ms);
}

TEST_F(OpenAiClientTest, NoRetryBeyondTheDeadline) {
  serve({status(429, "retry-after: 15\r\n", "{}")});
  EXPECT_EQ(failure(Deadline::after(10s)).code(), Errc::queue_full);
  EXPECT_EQ(calls(), 1u);
}

TEST_F(OpenAiClientTest, SilenceInTheStreamEndsIt) {
  serve({[](const Request&, Reply& reply) {
          reply.begin(200, "");
          reply.piece(delta("\"content\":\"x\""));
          reply.hold();
        }},
        {.retries = 0, .idle_timeout = 40ms});
  const LlmError error = failure();
  EXPECT_EQ(error.code(), Errc::timeout);
  EXPECT_TRUE(error.retryable());
}

TEST_F(OpenAiClientTest, NoServer) {
  serve({status(200, "", "{}")}, {.provider = "local", .retries = 1});
  server_.reset();
  const LlmError error = failure();
  EXPECT_EQ(error.code(), Errc::unavailable);
  EXPECT_TRUE(error.retryable());
  EXPECT_THAT(error.message(), HasSubstr("local: POST http://127.0.0.1:"));
}

TEST_F(OpenAiClientTest, TheKeyIsNeverInAMessage) {
  serve({status(401, "", R"({"error":{"message":"Incorrect API key provided: sk-secret-key."}})")});
  EXPECT_THAT(failure().message(), Not(HasSubstr("sk-secret-key")));
}

TEST_F(OpenAiClientTest, WithoutStreamingNothingAboutItIsSent) {
  serve({status(200, "", recording("openai-chat.txt").body)}, {.stream = false});
  EXPECT_EQ(ask().message.text, "Hello from aimock");
  EXPECT_FALSE(sent().contains("stream"));
  EXPECT_FALSE(sent().contains("stream_options"));
}

TEST_F(OpenAiClientTest, RefusesABaseUrlThatIsNone) {
  EXPECT_THROW(make_openai_client(http_, {.base_url = "api.openai.com"}, clock_, random_), Error);
}

}  // namespace
}  // namespace opscore
