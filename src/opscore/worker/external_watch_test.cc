#include "opscore/worker/external_watch.h"

#include <gmock/gmock.h>

#include "opscore/broker/memory/memory_foreign_broker.h"
#include "opscore/model/error_kind.h"
#include "opscore/model/limits.h"
#include "opscore/store/memory/memory_store.h"
#include "opscore/worker/foreign_relay.h"

namespace opscore {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class ExternalWatchTest : public testing::Test {
 protected:
  TaskKey hand_over() {
    InsertItem item;
    item.spec.type = "add";
    item.spec.queue = "q";
    item.spec.options.dramatiq = "{}";
    TaskKey key = store_->tasks().insert({item}, InsertMode::per_item).at(0).key;
    relay_.step();
    return key;
  }
  // A Python worker takes all that is there; the answer is what it does with it.
  void consume(bool rejects = false) {
    auto worker = hub_->connect();
    worker->subscribe({"q"});
    std::vector<uint64_t> tags;
    for (const auto& delivery : worker->receive(Deadline::after(0ms))) tags.push_back(delivery.tag);
    rejects ? worker->reject(tags) : worker->ack(tags);
  }
  // Two looks, as far apart as they are when it runs by itself.
  void look_twice() {
    watch_.step();
    clock_.advance(1min);
    watch_.step();
  }
  Task task(TaskKey key) { return store_->reader().find(key).value(); }

  FakeClock clock_;
  SeededRandom random_{3};
  std::unique_ptr<Log> log_ = silent_log();
  Metrics metrics_;
  std::unique_ptr<Store> store_ = open_memory_store(clock_, random_);
  std::shared_ptr<MemoryForeignHub> hub_ = open_memory_foreign();
  std::unique_ptr<ForeignBroker> broker_ = hub_->connect();
  Service service_{*store_, clock_, *log_, metrics_, {}};
  ForeignRelay relay_{service_, broker_.get(), clock_, *log_, metrics_, {[] { return true; }}};
  std::optional<uint64_t> unanswered_;
  ExternalWatch watch_{
      *store_, *broker_, clock_,
      *log_,   metrics_, {[] { return true; }, [this](const std::string&) { return unanswered_; }}};
};

TEST_F(ExternalWatchTest, AMessageThatIsGoneForADayEndsItsTask) {
  TaskKey key = hand_over();
  consume();
  look_twice();
  EXPECT_EQ(task(key).state(), State::pending) << "not before a day has passed";
  clock_.advance(limits::kExternalDoubt);
  watch_.step();
  EXPECT_EQ(task(key).state(), State::pending) << "seen to be gone once";
  clock_.advance(1min);
  watch_.step();
  EXPECT_EQ(task(key).state(), State::failed);
  EXPECT_EQ(task(key).error.kind, error_kind::kOutcomeUnknown);
  EXPECT_THAT(task(key).error.message, HasSubstr("pip install opscore"));
}

TEST_F(ExternalWatchTest, AMessageThatIsThereKeepsItsTask) {
  TaskKey key = hand_over();
  clock_.advance(limits::kExternalDoubt * 3);
  look_twice();
  EXPECT_EQ(task(key).state(), State::pending);
  EXPECT_EQ(hub_->contents("q").size(), 1u) << "a look takes nothing";
  EXPECT_TRUE(store_->reader().doubtful(10).empty()) << "looked at again in an hour";
}

TEST_F(ExternalWatchTest, WhatConsumersHoldMayBeIt) {
  TaskKey key = hand_over();
  auto worker = hub_->connect();
  worker->subscribe({"q"});
  ASSERT_EQ(worker->receive(Deadline::after(0ms)).size(), 1u);
  clock_.advance(limits::kExternalDoubt);
  for (int hours = 0; hours < 5; ++hours) {
    look_twice();
    clock_.advance(1h);
  }
  EXPECT_EQ(task(key).state(), State::pending) << "nobody can say what they hold";
  unanswered_ = 1;
  look_twice();
  EXPECT_EQ(task(key).state(), State::pending);
  clock_.advance(1h);
  unanswered_ = 0;
  look_twice();
  EXPECT_EQ(task(key).state(), State::failed);
}

TEST_F(ExternalWatchTest, ADeadMessageSaysSo) {
  TaskKey key = hand_over();
  consume(true);
  clock_.advance(limits::kExternalDoubt);
  watch_.step();
  EXPECT_EQ(task(key).error.kind, error_kind::kOutcomeUnknown);
  EXPECT_THAT(task(key).error.message, HasSubstr("q.XQ': rejected"));
}

TEST_F(ExternalWatchTest, ABrokerThatIsAwaySaysNothing) {
  TaskKey key = hand_over();
  consume();
  clock_.advance(limits::kExternalDoubt);
  hub_->set_away(true);
  EXPECT_THROW(watch_.step(), Error);
  EXPECT_EQ(task(key).state(), State::pending);
}

}  // namespace
}  // namespace opscore
