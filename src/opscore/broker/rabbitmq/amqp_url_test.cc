#include "opscore/broker/rabbitmq/amqp_url.h"

#include <gmock/gmock.h>

namespace opscore {
namespace {

using testing::HasSubstr;
using testing::Not;

AmqpUrl parse(std::string_view text) {
  auto urls = parse_amqp_urls(text);
  EXPECT_TRUE(urls) << (urls ? "" : urls.error().message());
  return urls ? urls->front() : AmqpUrl{};
}

std::string problem(std::string_view text) {
  auto urls = parse_amqp_urls(text);
  EXPECT_FALSE(urls) << text;
  return urls ? "" : urls.error().message();
}

// Appendix A of the URI specification.
TEST(AmqpUrl, TheExamplesOfTheSpecification) {
  AmqpUrl url = parse("amqp://user:pass@host:10000/vhost");
  EXPECT_EQ(url.user, "user");
  EXPECT_EQ(url.password, "pass");
  EXPECT_EQ(url.host, "host");
  EXPECT_EQ(url.port, 10000);
  EXPECT_EQ(url.vhost, "vhost");
  url = parse("amqp://user%61:%61pass@ho%61st:10000/v%2fhost");
  EXPECT_EQ(url.user, "usera");
  EXPECT_EQ(url.password, "apass");
  EXPECT_EQ(url.host, "hoast");
  EXPECT_EQ(url.vhost, "v/host");
  url = parse("amqp://");
  EXPECT_EQ(url.where(), "amqp://localhost:5672/%2F");
  EXPECT_EQ(url.user, "guest");
  EXPECT_EQ(url.password, "guest");
  url = parse("amqp://:@/");
  EXPECT_EQ(url.user, "");
  EXPECT_EQ(url.password, "");
  EXPECT_EQ(url.vhost, "");
  EXPECT_EQ(parse("amqp://user@").user, "user");
  EXPECT_EQ(parse("amqp://user:pass@").password, "pass");
  EXPECT_EQ(parse("amqp://host").host, "host");
  EXPECT_EQ(parse("amqp://:10000").port, 10000);
  EXPECT_EQ(parse("amqp:///vhost").vhost, "vhost");
  EXPECT_EQ(parse("amqp://host/").vhost, "");
  EXPECT_EQ(parse("amqp://host/%2F").vhost, "/");
  EXPECT_EQ(parse("amqp://host").vhost, "/");
  EXPECT_EQ(parse("amqp://[::1]").host, "::1");
  EXPECT_EQ(parse("amqp://[::1]:10001/v").where(), "amqp://[::1]:10001/v");
}

TEST(AmqpUrl, TlsHasAPortOfItsOwnAndOptions) {
  AmqpUrl url = parse(
      "amqps://h/v?cacertfile=/etc/ca%20x.pem&verify=verify_none&certfile=c&keyfile=k"
      "&heartbeat=7&connection_timeout=1500");
  EXPECT_TRUE(url.tls);
  EXPECT_EQ(url.port, 5671);
  EXPECT_EQ(url.ca_file, "/etc/ca x.pem");
  EXPECT_EQ(url.certificate_file, "c");
  EXPECT_EQ(url.key_file, "k");
  EXPECT_FALSE(url.verify);
  EXPECT_EQ(url.heartbeat.count(), 7);
  EXPECT_EQ(url.connection_timeout, Duration(1500));
  EXPECT_TRUE(parse("amqps://h").verify);
}

TEST(AmqpUrl, AListForFailover) {
  auto urls = parse_amqp_urls("amqp://a,amqps://u:p,;x@b/v;amqp://c:1");
  ASSERT_TRUE(urls);
  ASSERT_EQ(urls->size(), 3u);
  EXPECT_EQ((*urls)[0].host, "a");
  EXPECT_EQ((*urls)[1].password, "p,;x");
  EXPECT_EQ((*urls)[2].port, 1);
}

TEST(AmqpUrl, WhatIsWrongIsSaidWithoutThePassword) {
  for (std::string_view text :
       {"http://u:s3cret@h", "", "amqp://u:s3c/ret@h", "amqp://u:123/s3cret@h", "amqp://u:s3cret",
        "amqp://u:s3cret@h:99999", "amqp://u:s3%cret@h", "amqp://u:s3cret%@h",
        "amqp://u:%00s3cret@h", "amqp://u:s3cret@h/a/b", "amqp://u:s3cret@h?colour=red",
        "amqp://u:s3cret@h?verify=verify_none", "amqps://u:s3cret@h?verify=perhaps",
        "amqps://u:s3cret@h?certfile=c", "amqp://u:s3cret@[::1", "amqp://u:s3cret@h?heartbeat=0",
        "amqp://u:s3#cret@h", "amqp://a,amqp://u:s3cret@b:x"}) {
    std::string words = problem(text);
    EXPECT_THAT(words, HasSubstr("RabbitMQ URL: "));
    EXPECT_THAT(words, Not(HasSubstr("s3"))) << text;
    EXPECT_THAT(words, Not(HasSubstr("cret"))) << text;
  }
  EXPECT_THAT(problem("amqp://h/" + std::string(65536, 'v')), HasSubstr("65536 bytes long"));
  EXPECT_THAT(parse("amqp://u:s3cret@h").where(), Not(HasSubstr("s3cret")));
}

}  // namespace
}  // namespace opscore
