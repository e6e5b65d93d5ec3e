#include "opscore/agent/tools/http_get_tool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/agent/journaled_task.h"
#include "opscore/net/loopback_server.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;
using Reply = LoopbackServer::Reply;
using Request = LoopbackServer::Request;

class HttpGetTest : public testing::Test {
 protected:
  std::expected<std::string, std::string> call(const Json& arguments, HttpGetLimits limits = {}) {
    return make_http_get(http_, guard_, limits)->call(arguments, {task_, task_.limit});
  }
  HttpClient http_;
  AddressGuard guard_{{IpRange::parse("127.0.0.1").value()}};
  Journal journal_;
  JournaledTask task_{"{}", journal_};
};

TEST_F(HttpGetTest, AnswersTheText) {
  LoopbackServer server([](const Request&, Reply& reply) { reply.send(200, "", "héllo"); });
  EXPECT_EQ(call({{"url", server.url()}}), "héllo");
  EXPECT_EQ(server.requests().at(0).method, "GET");
}

TEST_F(HttpGetTest, IsOptIn) {
  EXPECT_TRUE(make_http_get(http_, guard_)->spec().opt_in);
}

TEST_F(HttpGetTest, BadArgumentsAreExplained) {
  EXPECT_THAT(call(Json::object()).error(), HasSubstr("'url'"));
  EXPECT_THAT(call({{"url", 5}}).error(), HasSubstr("'url'"));
  EXPECT_THAT(call({{"url", "http://a/"}, {"method", "POST"}}).error(), HasSubstr("'method'"));
  EXPECT_THAT(call({{"url", "file:///etc/passwd"}}).error(), HasSubstr("http://"));
}

TEST_F(HttpGetTest, PrivateAddressesAreRefusedAlsoAfterARedirect) {
  EXPECT_THAT(call({{"url", "http://10.0.0.1/"}}).error(), HasSubstr("private address"));
  EXPECT_THAT(call({{"url", "http://[::1]/"}}).error(), HasSubstr("loopback"));
  LoopbackServer server([](const Request&, Reply& reply) {
    reply.send(302, "Location: http://169.254.169.254/latest/\r\n", "");
  });
  EXPECT_THAT(call({{"url", server.url()}}).error(), HasSubstr("169.254.169.254 is a link-local"));
}

TEST_F(HttpGetTest, LongAnswersAreCutBetweenCharacters) {
  LoopbackServer server([](const Request&, Reply& reply) { reply.send(200, "", "aé€é"); });
  EXPECT_THAT(*call({{"url", server.url()}}, {.bytes = 5}), StartsWith("aé\n... (cut off"));
  EXPECT_THAT(*call({{"url", server.url()}}, {.bytes = 6}), StartsWith("aé€\n... (cut off"));
  EXPECT_EQ(call({{"url", server.url()}}, {.bytes = 8}), "aé€é");
}

TEST_F(HttpGetTest, ErrorsBinariesAndSilenceAreErrors) {
  LoopbackServer server([](const Request& request, Reply& reply) {
    if (request.target == "/404") return reply.send(404, "", "no such page");
    if (request.target == "/png") return reply.send(200, "Content-Type: image/png\r\n", "\x89PNG");
    reply.hold();
  });
  EXPECT_THAT(call({{"url", server.url() + "/404"}}).error(),
              testing::AllOf(HasSubstr("answered 404"), HasSubstr("no such page")));
  EXPECT_THAT(call({{"url", server.url() + "/png"}}).error(), HasSubstr("image/png"));
  EXPECT_THAT(call({{"url", server.url() + "/slow"}}, {.timeout = 50ms}).error(),
              HasSubstr("before the deadline"));
}

}  // namespace
}  // namespace opscore
