#include "opscore/model/webhook.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "opscore/base/json.h"
#include "opscore/model/decide.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using Kind = WebhookAnswer::Kind;

const TimePoint kNow = from_ms(1'763'632'800'000);
const TaskEnd kEnd{TaskKey{1234}, 3, State::failed};

OutboxRow due_row(const std::string& properties = "") {
  OutboxRow row;
  row.id = 7;
  row.kind = OutboxRow::Kind::effect;
  row.properties = properties;
  return row;
}

OutboxTry after(const WebhookAnswer& answer, const std::string& properties = "") {
  SeededRandom random(1);
  WebhookPolicy policy;
  policy.tries = 5;
  policy.backoff.jitter_low = policy.backoff.jitter_high = 1;
  return decide_delivery(due_row(properties), kEnd, answer, policy, kNow, random);
}

TEST(Webhook, OptionsSurviveStorage) {
  TaskOptions options;
  options.webhook = Webhook{"https://example.com/a\"b", {{"X-A", "1"}, {"X-B", ""}}, "s"};
  EXPECT_EQ(decode_options(encode_options(options)), options);
  options.webhook = Webhook{"https://example.com/", {}, ""};
  EXPECT_EQ(decode_options(encode_options(options)), options);
  EXPECT_FALSE(options.empty());
}

TEST(Webhook, TheReceiverIsSchemeAndAuthority) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"https://example.com", "https://example.com"},
      {"http://example.com:81/a/b?c", "http://example.com:81"},
      {"http://example.com?x=http://y/", "http://example.com"},
      {"http://[::1]:80#x", "http://[::1]:80"}};
  for (const auto& [url, receiver] : cases) {
    TaskOptions options;
    options.webhook = Webhook{url, {}, {}};
    EXPECT_EQ(receiver_of(options), receiver) << url;
  }
  EXPECT_EQ(receiver_of({}), "");
}

TEST(Webhook, OnlyAnEndHasARow) {
  Plan plan;
  plan.key = kEnd.task;
  plan.attempt = 3;
  plan.at = kNow;
  plan.next = State::failed;
  EXPECT_FALSE(webhook_row(plan)) << "it has no webhook";
  plan.receiver = "https://example.com";
  const auto row = webhook_row(plan);
  ASSERT_TRUE(row);
  EXPECT_EQ(row->kind, OutboxRow::Kind::effect);
  EXPECT_EQ(row->destination, "https://example.com");
  EXPECT_EQ(row->not_before, kNow);
  EXPECT_EQ(decode_webhook_row(*row), kEnd);
  for (State next : {State::pending, State::scheduled, State::running, State::waiting}) {
    plan.next = next;
    EXPECT_FALSE(webhook_row(plan)) << to_string(next);
  }
}

TEST(Webhook, DamagedRowsAreErrors) {
  for (const char* body : {"{", R"({"state":"gone"})", R"({"task":"x"})"}) {
    OutboxRow row = due_row();
    row.body = body;
    EXPECT_THROW(decode_webhook_row(row), Error) << body;
  }
}

TEST(Webhook, DeliveredIsSettled) {
  const OutboxTry tried = after({Kind::delivered, "answered 200", {}});
  EXPECT_EQ(tried.row, 7);
  EXPECT_EQ(tried.task, kEnd.task);
  EXPECT_FALSE(tried.again);
  EXPECT_EQ(tried.event.kind, "webhook_delivered");
  EXPECT_EQ(tried.event.attempt, 3);
  EXPECT_EQ(tried.event.at, kNow);
  EXPECT_EQ(parse_json(tried.event.data), (Json{{"try", 1}, {"answer", "answered 200"}}));
}

TEST(Webhook, FailuresBackOff) {
  const WebhookAnswer failed{Kind::failed, "refused", {}};
  OutboxTry tried = after(failed);
  EXPECT_EQ(tried.again, 1s);
  EXPECT_EQ(tried.event.kind, "webhook_failed");
  EXPECT_THAT(tried.event.data, HasSubstr(to_rfc3339(kNow + 1s)));
  for (Duration expected : {2s, 4s, 8s}) {
    tried = after(failed, tried.properties);
    EXPECT_EQ(tried.again, expected);
  }
  tried = after(failed, tried.properties);
  EXPECT_FALSE(tried.again);
  EXPECT_EQ(tried.event.kind, "webhook_given_up");
  EXPECT_EQ(parse_json(tried.event.data), (Json{{"try", 5}, {"answer", "refused"}}));
}

TEST(Webhook, ARefusalIsNotTriedAgain) {
  EXPECT_EQ(after({Kind::refused, "answered 410", {}}).event.kind, "webhook_given_up");
}

TEST(Webhook, AReceiverMayAskForMorePatience) {
  EXPECT_EQ(after({Kind::failed, "answered 503", 30s}).again, 30s);
  EXPECT_EQ(after({Kind::failed, "answered 503", 10ms}).again, 1s);
  EXPECT_EQ(after({Kind::failed, "answered 503", 100h}).again, 1h);
}

TEST(Webhook, TheDefaultTriesLastForHalfADay) {
  SeededRandom random(1);
  const WebhookPolicy policy;
  std::string properties;
  Duration total{0};
  int tries = 0;
  for (std::optional<Duration> again = Duration(0); again; ++tries) {
    const OutboxTry tried =
        decide_delivery(due_row(properties), kEnd, {Kind::failed, "", {}}, policy, kNow, random);
    again = tried.again;
    total += again.value_or(Duration(0));
    properties = tried.properties;
  }
  EXPECT_EQ(tries, 24);
  EXPECT_GT(total, 10h);
  EXPECT_LT(total, 16h);
}

}  // namespace
}  // namespace opscore
