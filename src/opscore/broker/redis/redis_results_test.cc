#include "opscore/broker/redis/redis_results.h"

#include <gmock/gmock.h>

#include "opscore/base/random.h"
#include "opscore/broker/conformance/results_conformance.h"
#include "opscore/broker/conformance/tcp_proxy_fixture.h"
#include "opscore/broker/redis/redis_connection.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

// Where ./dev services started one; null when the environment names none.
const RedisUrl* redis_url() {
  static const std::optional<RedisUrl> url = [] {
    const char* text = std::getenv("REDIS_URL");
    return text && *text ? std::optional(parse_redis_url(text).value()) : std::nullopt;
  }();
  return url ? &*url : nullptr;
}

std::string url_with(uint16_t port, const std::string& password) {
  return fmt::format("redis://:{}@127.0.0.1:{}/{}", password, port, redis_url()->database);
}

// The backend speaks through a proxy, Python's side straight to Redis.
class RedisSide final : public ResultsSide {
 public:
  explicit RedisSide(const ResultKeys& keys = {}) : proxy_(redis_url()->port) {
    options_.url = url_with(proxy_.port(), redis_url()->password);
    options_.keys = keys;
    options_.keys.name_space = fmt::format("opscore-test-{:x}", SystemRandom().next());
    options_.call_timeout = 2000ms;
    backend_ = open_redis_results(options_);
  }
  ResultsBackend& backend() override { return *backend_; }
  void create_barrier(const std::string& group, int members) override {
    ask({"SET", group, std::to_string(members), "PX", "60000", "NX"});
  }
  std::optional<std::string> result(const StoredResult& stored) override {
    return text({"LINDEX", key(stored), "0"});
  }
  void set_away(bool away) override { proxy_.stand_still(away); }

  RedisReply ask(const RedisCommand& command) { return python_.ask({command}).at(0); }
  std::optional<std::string> text(const RedisCommand& command) {
    RedisReply reply = ask(command);
    return reply.kind == RedisReply::Kind::nothing ? std::nullopt : std::optional(reply.text);
  }
  std::string key(const StoredResult& stored) const {
    return result_key(options_.keys, stored.queue, stored.actor, stored.message_id);
  }
  std::string unique(const std::string& name) const { return options_.keys.name_space + name; }
  Barrier count(const std::string& group, const std::string& message_id) {
    const std::vector<GroupMember> members{{group, message_id}};
    return backend_->count(members).at(0);
  }
  TcpProxy& proxy() { return proxy_; }

 private:
  TcpProxy proxy_;
  RedisResultsOptions options_;
  std::unique_ptr<ResultsBackend> backend_;
  RedisConnection python_{*redis_url(), 20s};
};

ResultsFactory redis_results_factory() {
  ResultsFactory factory{"redis", nullptr};
  if (redis_url()) factory.open = [] { return std::make_unique<RedisSide>(); };
  return factory;
}

struct RedisResultsTest : testing::Test {
  void SetUp() override {
    if (redis_url()) return;
    const char* words = "REDIS_URL is not set; see ./dev services start redis";
    if (std::getenv("CI")) FAIL() << words;
    GTEST_SKIP() << words;
  }
  static std::string problem(ResultsBackend& backend) {
    try {
      backend.store(std::vector{StoredResult{"q", "a", "m", "1", 60s}});
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::unavailable);
      return error.message();
    }
  }
};

TEST_F(RedisResultsTest, AResultLastsAsLongAsItShould) {
  RedisSide side;
  const StoredResult result{"q", "a", "m", "1", 30s};
  side.backend().store(std::vector{result});
  const int64_t left = std::stoll(side.ask({"PTTL", side.key(result)}).text);
  EXPECT_GT(left, 0);
  EXPECT_LE(left, 30'000);
  EXPECT_EQ(side.ask({"LLEN", side.key(result)}).text, "1");
}

TEST_F(RedisResultsTest, PlainKeys) {
  RedisSide side({.plain = true});
  side.backend().store(std::vector{StoredResult{"q", "a", "m", "1", 30s}});
  EXPECT_EQ(side.text({"LINDEX", side.unique(":q:a:m"), "0"}), "1");
}

TEST_F(RedisResultsTest, PythonsMembersCountInTheSameBarrier) {
  RedisSide side;
  const std::string group = side.unique("g");
  side.create_barrier(group, 3);
  EXPECT_EQ(side.count(group, "1"), Barrier::waiting);
  EXPECT_EQ(side.text({"GET", group}), "2");
  side.ask({"SET", group, "1", "PX", "60000"});  // as one of Python's does
  EXPECT_EQ(side.count(group, "2"), Barrier::cleared);
  EXPECT_EQ(side.text({"GET", group}), "1");  // as Dramatiq leaves it
  EXPECT_EQ(side.text({"LINDEX", group + "@events", "0"}), "x");
  for (const std::string& key : {group, group + "@events", group + "@opscore"})
    EXPECT_GT(std::stoll(side.ask({"PTTL", key}).text), 0) << key;
}

TEST_F(RedisResultsTest, KeysThatAreSomethingElseHoldUpNoOther) {
  RedisSide side;
  const std::string list = side.unique("list"), text = side.unique("text");
  side.ask({"LPUSH", list, "x"});
  side.ask({"SET", text, "not a number"});
  side.create_barrier(side.unique("good"), 2);
  const std::vector<GroupMember> members{{list, "1"}, {text, "1"}, {side.unique("good"), "1"}};
  EXPECT_THAT(side.backend().count(members),
              testing::ElementsAre(Barrier::gone, Barrier::gone, Barrier::waiting));
}

TEST_F(RedisResultsTest, AConnectionThatBrokeUnnoticedIsMadeAgain) {
  RedisSide side;
  EXPECT_EQ(problem(side.backend()), "");
  side.proxy().cut();
  EXPECT_EQ(problem(side.backend()), "");
}

TEST_F(RedisResultsTest, WhatIsWrongIsSaid) {
  auto problem_of = [](const std::string& url) {
    return problem(*open_redis_results({.url = url, .keys = {}}));
  };
  EXPECT_THAT(problem_of(url_with(redis_url()->port, "hunter2")),
              testing::AllOf(HasSubstr("WRONGPASS"), testing::Not(HasSubstr("hunter2"))));
  EXPECT_THAT(problem_of(url_with(1, "")), HasSubstr("redis://127.0.0.1:1/"));
  EXPECT_THROW(open_redis_results({.url = "http://h", .keys = {}}), Error);
}

}  // namespace
}  // namespace opscore

INSTANTIATE_RESULTS_CONFORMANCE(redis, opscore::redis_results_factory());
