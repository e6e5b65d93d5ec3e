#include "opscore/worker/relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>

#include "opscore/model/decide.h"
#include "opscore/store/memory/memory_store.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;
using Kind = WebhookAnswer::Kind;

struct RelayTest : testing::Test {
  RelayOptions options() {
    RelayOptions options;
    options.leads = [this] { return leads; };
    options.call = [this](const WebhookCall& call, std::stop_token stop) {
      {
        std::lock_guard lock(mutex);
        calls.push_back(call.delivery_id);
      }
      return answer_call(call, stop);
    };
    options.policy.tries = 3;
    return options;
  }
  // A task that was cancelled, which ends it without a worker.
  TaskKey ended(const std::string& url = "https://example.com/") {
    InsertItem item;
    item.spec.type = "t";
    item.spec.options.webhook = Webhook{url, {}, {}};
    const TaskKey key = store->tasks().insert({item}, InsertMode::all_or_nothing)[0].key;
    cancel(key);
    return key;
  }
  void cancel(TaskKey key) {
    store->tasks().apply({*decide_cancel(*store->reader().find(key), clock.now())});
  }
  std::vector<std::string> events(TaskKey key) {
    std::vector<std::string> kinds;
    for (const TaskEvent& event : store->reader().events(key)) kinds.push_back(event.kind);
    return kinds;
  }
  void tick() { relay.tick({}); }

  FakeClock clock;
  SeededRandom random{3};
  Log log{{.level = LogLevel::off}};
  Metrics metrics;
  bool leads = true;
  std::mutex mutex;
  std::vector<std::string> calls;  // guarded by mutex while several call
  std::function<WebhookAnswer(const WebhookCall&, std::stop_token)> answer_call =
      [](const WebhookCall&, std::stop_token) {
        return WebhookAnswer{Kind::delivered, "answered 200", {}};
      };
  std::unique_ptr<Store> store = open_memory_store(clock, random, {});
  Relay relay{*store, clock, random, log, metrics, options()};
};

TEST_F(RelayTest, delivers_once_and_says_so) {
  TaskKey key = ended();
  tick();
  clock.advance(1h);
  tick();
  EXPECT_THAT(calls, ElementsAre(StartsWith(store->ids().encode(key) + "/")));
  EXPECT_THAT(events(key), ElementsAre("webhook_delivered"));
  EXPECT_NE(metrics.expose().find("opscore_webhook_calls_total{outcome=\"delivered\"} 1"),
            std::string::npos);
}

TEST_F(RelayTest, who_does_not_lead_delivers_nothing) {
  leads = false;
  ended();
  tick();
  EXPECT_THAT(calls, IsEmpty());
}

TEST_F(RelayTest, tries_again_with_the_same_delivery_id_until_it_is_given_up) {
  answer_call = [](const WebhookCall&, std::stop_token) {
    return WebhookAnswer{Kind::failed, "answered 500", {}};
  };
  TaskKey key = ended();
  for (int i = 0; i < 6; ++i) {
    tick();
    clock.advance(5s);
  }
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_EQ(calls[0], calls[1]);
  EXPECT_EQ(calls[0], calls[2]);
  EXPECT_THAT(events(key), ElementsAre("webhook_failed", "webhook_failed", "webhook_given_up"));
}

TEST_F(RelayTest, an_end_that_was_undone_is_not_told) {
  TaskKey key = ended();
  store->tasks().apply({*decide_retry(*store->reader().find(key), {}, clock.now())});
  tick();
  EXPECT_THAT(calls, IsEmpty());
  EXPECT_EQ(events(key).back(), "webhook_superseded");
  cancel(key);
  clock.advance(1s);
  tick();
  EXPECT_EQ(calls.size(), 1u);
}

TEST_F(RelayTest, a_deleted_task_tells_nobody) {
  TaskKey key = ended();
  store->tasks().remove(std::span(&key, 1));
  tick();
  EXPECT_THAT(calls, IsEmpty());
  EXPECT_THAT(store->outbox().due(OutboxRow::Kind::effect, 10), IsEmpty());
}

TEST_F(RelayTest, a_call_that_a_stop_broke_off_is_made_again) {
  std::stop_source stop;
  answer_call = [&](const WebhookCall&, std::stop_token) {
    stop.request_stop();
    return WebhookAnswer{Kind::failed, "cancelled", {}};
  };
  TaskKey key = ended();
  relay.tick(stop.get_token());
  EXPECT_THAT(events(key), IsEmpty());
  EXPECT_EQ(store->outbox().due(OutboxRow::Kind::effect, 10).size(), 1u);
}

TEST_F(RelayTest, a_slow_receiver_holds_two_calls_and_nobody_else) {
  std::latch both_hold(2), go_on(1);
  answer_call = [&](const WebhookCall& call, std::stop_token) {
    if (call.task.options.webhook->url.starts_with("http://slow/")) {
      both_hold.count_down();
      go_on.wait();
    }
    return WebhookAnswer{Kind::delivered, "answered 200", {}};
  };
  for (int i = 0; i < 3; ++i) ended("http://slow/");
  TaskKey other = ended("http://other/");
  std::jthread first([&] { tick(); }), second([&] { tick(); });
  both_hold.wait();
  tick();
  EXPECT_THAT(events(other), ElementsAre("webhook_delivered"));
  clock.advance(1s);
  tick();  // would wait for ever if it took the third
  EXPECT_EQ(calls.size(), 3u);
  go_on.count_down();
}

}  // namespace
}  // namespace opscore
