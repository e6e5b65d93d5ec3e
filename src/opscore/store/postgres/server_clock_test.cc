#include "opscore/store/postgres/server_clock.h"

#include <gtest/gtest.h>

namespace opscore {
namespace {

using namespace std::chrono_literals;
using Said = std::chrono::sys_time<ServerClock::Moved>;

// How far its clock is from that of this machine.
std::chrono::milliseconds ahead(const ServerClock& clock) {
  return clock.now() - SystemClock().now();
}

// What a server says whose clock is ahead of ours by so much, and answers at once.
ServerClock::Moved hear(ServerClock& clock, ServerClock::Moved ahead_by) {
  SteadyPoint now = clock.steady();
  return clock.hear(
      std::chrono::floor<ServerClock::Moved>(std::chrono::system_clock::now()) + ahead_by, now,
      now);
}

TEST(ServerClock, is_that_of_the_machine_until_a_server_was_heard) {
  EXPECT_LT(abs(ahead(ServerClock())), 1s);
}

TEST(ServerClock, is_what_the_server_says) {
  ServerClock clock;
  EXPECT_LT(abs(hear(clock, 1h) - 1h), 1s);
  EXPECT_LT(abs(ahead(clock) - 1h), 1s);
}

TEST(ServerClock, follows_jumps_both_ways) {
  ServerClock clock;
  hear(clock, 0s);
  EXPECT_LT(abs(hear(clock, 1h) - 1h), 1s);
  EXPECT_LT(abs(ahead(clock) - 1h), 1s);
  EXPECT_LT(abs(hear(clock, -1h) + 2h), 1s);
  EXPECT_LT(abs(ahead(clock) + 1h), 1s);
}

TEST(ServerClock, an_answer_moves_it_no_further_than_it_must) {
  ServerClock clock;
  SteadyPoint asked{10s};
  Said said{1000s};
  clock.hear(said, asked, asked);
  // Heard 3 s later, and it may have been said at any time in between: 1003 s is as good as any.
  EXPECT_EQ(clock.hear(said + 1s, asked, asked + 3s), 0s);
  EXPECT_EQ(clock.hear(said + 5s, asked, asked + 3s), 2s) << "it is at least so late";
  EXPECT_EQ(clock.hear(said, asked, asked + 1s), -2s) << "it is at most so late";
}

}  // namespace
}  // namespace opscore
