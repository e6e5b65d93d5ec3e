#include "opscore/net/address_guard.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "opscore/net/url.h"

namespace opscore {
namespace {

using testing::HasSubstr;

IpAddress ip(const char* text) {
  return IpAddress::parse(text).value();
}

TEST(IpAddress, MappedAndPlainAreTheSame) {
  EXPECT_EQ(ip("::ffff:10.1.2.3"), ip("10.1.2.3"));
  EXPECT_EQ(ip("::ffff:10.1.2.3").text(), "10.1.2.3");
  EXPECT_EQ(ip("2A00::1").text(), "2a00::1");
  for (const char* bad : {"", "localhost", "1.2.3", "1.2.3.4.5", "[::1]", "::1%eth0", "256.1.1.1"})
    EXPECT_FALSE(IpAddress::parse(bad)) << bad;
}

TEST(IpAddress, OfASocket) {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = htonl(0x7f000001);
  EXPECT_EQ(IpAddress::of(reinterpret_cast<sockaddr&>(v4)), ip("127.0.0.1"));
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = in6addr_loopback;
  EXPECT_EQ(IpAddress::of(reinterpret_cast<sockaddr&>(v6)), ip("::1"));
  sockaddr other{};
  other.sa_family = AF_UNIX;
  EXPECT_FALSE(IpAddress::of(other));
}

TEST(IpRange, Contains) {
  const IpRange ten = IpRange::parse("10.128.0.0/9").value();
  EXPECT_TRUE(ten.contains(ip("10.128.0.0")));
  EXPECT_TRUE(ten.contains(ip("::ffff:10.255.255.255")));
  EXPECT_FALSE(ten.contains(ip("10.127.255.255")));
  EXPECT_TRUE(IpRange::parse("0.0.0.0/0")->contains(ip("8.8.8.8")));
  EXPECT_FALSE(IpRange::parse("0.0.0.0/0")->contains(ip("::1")));
  EXPECT_TRUE(IpRange::parse("::/0")->contains(ip("fe80::1")));
  EXPECT_TRUE(IpRange::parse("::1")->contains(ip("::1")));
  EXPECT_FALSE(IpRange::parse("::1")->contains(ip("::2")));
  for (const char* bad : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "x/8",
                          "10.0.0.0/8/8", "10.0.0.0/8 "})
    EXPECT_FALSE(IpRange::parse(bad)) << bad;
}

TEST(AddressGuard, RefusesWhatIsNotPublic) {
  const AddressGuard guard;
  for (const char* address : {"0.0.0.0",
                              "0.1.2.3",
                              "10.0.0.1",
                              "100.64.0.1",
                              "100.127.255.255",
                              "127.0.0.1",
                              "127.255.255.254",
                              "168.63.129.16",
                              "169.254.169.254",
                              "172.16.0.1",
                              "172.31.255.255",
                              "192.0.0.192",
                              "192.0.2.1",
                              "192.168.1.1",
                              "198.18.0.1",
                              "198.51.100.1",
                              "203.0.113.1",
                              "224.0.0.1",
                              "239.255.255.255",
                              "240.0.0.1",
                              "255.255.255.255",
                              "100.100.100.200",
                              "::",
                              "::1",
                              "::ffff:127.0.0.1",
                              "::ffff:10.0.0.1",
                              "::127.0.0.1",
                              "64:ff9b::7f00:1",
                              "64:ff9b::a9fe:a9fe",
                              "64:ff9b:1::1",
                              "fc00::1",
                              "fd00:ec2::254",
                              "fe80::1",
                              "febf::1",
                              "fec0::1",
                              "ff02::1",
                              "100::1",
                              "2001::1",
                              "2001:db8::1",
                              "2002:7f00:1::",
                              "3fff::1",
                              "4000::1"})
    EXPECT_TRUE(guard.problem(ip(address))) << address;
}

TEST(AddressGuard, PermitsWhatIsPublic) {
  const AddressGuard guard;
  for (const char* address :
       {"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
        "126.255.255.255", "128.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255",
        "223.255.255.255", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111",
        "2001:4860:4860::8888", "2a00:1450:4001::200e"})
    EXPECT_EQ(guard.problem(ip(address)), std::nullopt) << address;
}

TEST(AddressGuard, TheOperatorCanOpenRanges) {
  const AddressGuard guard(
      {IpRange::parse("10.1.0.0/16").value(), IpRange::parse("127.0.0.1").value()});
  EXPECT_EQ(guard.problem(ip("10.1.2.3")), std::nullopt);
  EXPECT_EQ(guard.problem(ip("::ffff:10.1.2.3")), std::nullopt);
  EXPECT_EQ(guard.problem(ip("64:ff9b::7f00:1")), std::nullopt);
  EXPECT_TRUE(guard.problem(ip("10.2.0.0")));
  EXPECT_TRUE(guard.problem(ip("127.0.0.2")));
  EXPECT_TRUE(guard.problem(ip("::1")));
}

TEST(AddressGuard, Urls) {
  const AddressGuard guard;
  const std::vector<std::pair<std::string, std::string>> refused{
      {"", "must be a URL"},
      {"example.com/hook", "must be a URL"},
      {"ftp://example.com/", "must be a URL"},
      {"file:///etc/passwd", "must be a URL"},
      {"http://", "must be a URL"},
      {"http:///path", "must be a URL"},
      {"http://exa mple.com/", "is not a URL"},
      {"http://example.com:99999/", "is not a URL"},
      {"http://user:pass@example.com/", "user or password"},
      {"http://user@example.com/", "user or password"},
      {"http://127.0.0.1/", "127.0.0.1 is a loopback address"},
      {"HTTP://127.1:80/", "127.0.0.1"},
      {"http://0x7f000001/", "127.0.0.1"},
      {"http://017700000001/", "127.0.0.1"},
      {"http://2130706433/", "127.0.0.1"},
      {"http://127.0.0.1./", "127.0.0.1"},
      {"http://[::1]:8000/", "::1"},
      {"http://[::ffff:7f00:1]/", "127.0.0.1"},
      {"https://169.254.169.254/latest/meta-data", "link-local"},
      {"http://localhost/", "127.0.0.1"},
      {"http://LOCALHOST./", "127.0.0.1"},
      {"http://a.localhost:9/", "127.0.0.1"}};
  for (const auto& [url, words] : refused)
    EXPECT_THAT(guard.url_problem(url).value_or("(fine)"), HasSubstr(words)) << url;
  for (const char* url :
       {"https://example.com", "http://example.com:8080/a?b=c#d", "https://8.8.8.8/x",
        "http://[2606:4700::1111]/", "https://xn--bcher-kva.ch/"})
    EXPECT_EQ(guard.url_problem(url), std::nullopt) << url;
}

TEST(AddressGuard, AnOpenedLoopbackOpensItsNames) {
  const AddressGuard guard({IpRange::parse("127.0.0.1").value()});
  for (const char* url :
       {"http://127.0.0.1/", "http://127.1/", "http://localhost:1/", "http://[::ffff:127.0.0.1]/"})
    EXPECT_EQ(guard.url_problem(url), std::nullopt) << url;
  EXPECT_TRUE(guard.url_problem("http://127.0.0.2/"));
}

}  // namespace
}  // namespace opscore
