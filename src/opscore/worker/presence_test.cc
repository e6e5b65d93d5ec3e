#include "opscore/worker/presence.h"

#include <gmock/gmock.h>

#include "opscore/model/limits.h"
#include "opscore/store/intercepted_store.h"
#include "opscore/store/memory/memory_store.h"

namespace opscore {
namespace {

using testing::ElementsAre;

struct PresenceTest : testing::Test {
  std::unique_ptr<Store> open() {
    return inject_faults(open_memory_store(clock, random), random,
                         {.before = 1, .enabled = [this](std::string_view) { return away; }});
  }
  Session seen() { return store->fleet().sessions(std::chrono::hours(1)).at(0); }

  FakeClock clock;
  SeededRandom random{7};
  std::unique_ptr<Log> log = silent_log();
  bool away = false;
  std::vector<std::string> commands;
  std::unique_ptr<Store> store = open();
  Presence presence{*store,
                    clock,
                    *log,
                    {"host:1",
                     "{}",
                     [] { return std::string("{}"); },
                     [](SessionId) {},
                     [this](const std::string& command) { commands.push_back(command); },
                     [this](SessionReport& report) { report.loops["maintenance"] = clock.now(); }}};
};

TEST_F(PresenceTest, is_seen_with_its_state_and_renewed_when_due) {
  SessionId session = presence.keep("standby");
  EXPECT_EQ(presence.id(), session);
  EXPECT_EQ(seen().report.state, "standby");
  uint64_t renewals = seen().renewals;
  EXPECT_EQ(presence.keep("standby"), session);
  EXPECT_EQ(seen().renewals, renewals);
  presence.keep("leading");  // news at once
  EXPECT_EQ(seen().report.state, "leading");
  renewals = seen().renewals;
  clock.advance(limits::kRenewEvery);
  presence.keep("leading");
  EXPECT_EQ(seen().renewals, renewals + 1);
}

TEST_F(PresenceTest, reports_what_its_owner_adds) {
  presence.keep("leading");
  EXPECT_EQ(seen().report.loops.at("maintenance"), clock.now());
}

TEST_F(PresenceTest, hears_commands_and_outlives_the_loss_of_its_session) {
  SessionId first = presence.keep("standby");
  store->fleet().command(first, "reload");
  clock.advance(limits::kRenewEvery);
  presence.keep("standby");
  EXPECT_THAT(commands, ElementsAre("reload"));
  LostSession lost;
  lost.session = first;
  store->tasks().rescue(lost);
  clock.advance(limits::kRenewEvery);
  EXPECT_NE(presence.keep("standby"), first);
}

TEST_F(PresenceTest, ends_also_when_nobody_can_be_told) {
  presence.keep("standby");
  presence.close("asked to stop");
  EXPECT_EQ(seen().last_words, "asked to stop");
  EXPECT_TRUE(seen().ended_at);
  EXPECT_FALSE(presence.id());
  presence.keep("standby");
  away = true;
  presence.close("asked to stop");
  EXPECT_FALSE(presence.id());
}

}  // namespace
}  // namespace opscore
