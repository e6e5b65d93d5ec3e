#include "opscore/store/late_store.h"

#include <gmock/gmock.h>

#include "opscore/store/memory/memory_store.h"

namespace opscore {
namespace {

TEST(LateStore, IsAwayUntilItIsThere) {
  LateStore store;
  auto why = [&] {
    try {
      store.reader().queues();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::unavailable);
      EXPECT_TRUE(error.retryable());
      return error.message();
    }
    return std::string();
  };
  EXPECT_FALSE(store.is_open());
  EXPECT_THAT(why(), testing::HasSubstr("not reached yet"));
  store.not_yet("connection refused");
  EXPECT_THAT(why(), testing::HasSubstr("connection refused"));

  SystemClock clock;
  SeededRandom random{1};
  store.open(open_memory_store(clock, random));
  EXPECT_TRUE(store.is_open());
  InsertItem item;
  item.spec.type = "t";
  TaskKey key = store.tasks().insert({item}, InsertMode::per_item).at(0).key;
  EXPECT_TRUE(store.reader().find(key));
}

}  // namespace
}  // namespace opscore
