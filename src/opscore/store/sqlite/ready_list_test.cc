#include "opscore/store/sqlite/ready_list.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace opscore::sqlite {
namespace {

constexpr int64_t kNow = 1'000'000;

class ReadyListTest : public testing::Test {
 protected:
  Entry entry(int64_t key, int64_t run_at, int priority = 0, bool suspect = false) {
    Live live;
    live.run_at = from_ms(run_at);
    live.suspect = suspect;
    return Entry::of(TaskKey{key}, live, priority, false);
  }
  std::vector<int64_t> take_all(bool suspect = false) {
    std::vector<int64_t> keys;
    while (const Entry* best = list_.best(lane_.id, suspect)) {
      keys.push_back(best->key.value);
      list_.take(lane_, suspect);
    }
    return keys;
  }

  Lanes lanes_;
  const Lane& lane_ = lanes_.intern("q", "t");
  ReadyList list_;
};

using Keys = std::vector<int64_t>;

TEST_F(ReadyListTest, GivesByOrderThenKey) {
  list_.add(lane_, entry(4, kNow), false);
  list_.add(lane_, entry(2, kNow), false);
  list_.add(lane_, entry(3, kNow, 10), false);
  list_.add(lane_, entry(1, kNow + 1), false);
  list_.add(lane_, entry(5, kNow - 60'000, -20), false);
  EXPECT_EQ(take_all(), (Keys{3, 2, 4, 1, 5}));
}

TEST_F(ReadyListTest, SuspectsStandApart) {
  list_.add(lane_, entry(1, kNow, 0, true), false);
  list_.add(lane_, entry(2, kNow), false);
  EXPECT_EQ(take_all(false), Keys{2});
  EXPECT_EQ(take_all(true), Keys{1});
}

TEST_F(ReadyListTest, RemovedOnesAreSkippedAndCanComeBack) {
  list_.add(lane_, entry(1, kNow), false);
  list_.add(lane_, entry(2, kNow), false);
  list_.remove(lane_, entry(1, kNow), false);
  EXPECT_EQ(list_.due_total(lane_.id).count, 1u);
  list_.add(lane_, entry(1, kNow), false);
  EXPECT_EQ(list_.due_total(lane_.id).count, 2u);
  list_.remove(lane_, entry(2, kNow), false);
  EXPECT_EQ(take_all(), Keys{1});
}

TEST_F(ReadyListTest, ScheduledOnesBecomeDueWithTime) {
  list_.add(lane_, entry(1, kNow + 10), true);
  list_.add(lane_, entry(2, kNow + 5), true);
  EXPECT_EQ(list_.next_due_at(), from_ms(kNow + 5));
  list_.advance(lane_.queue_id, from_ms(kNow));
  EXPECT_EQ(list_.best(lane_.id, false), nullptr);
  list_.advance(lane_.queue_id, from_ms(kNow + 5));
  EXPECT_EQ(list_.next_due_at(), from_ms(kNow + 10));
  ASSERT_NE(list_.next_unpromoted(), nullptr);
  EXPECT_EQ(list_.take_unpromoted().entry.key, TaskKey{2});
  EXPECT_EQ(list_.next_unpromoted(), nullptr);
  EXPECT_EQ(take_all(), Keys{2});
}

TEST_F(ReadyListTest, ARemovedScheduledOneIsNotWaitedFor) {
  list_.add(lane_, entry(1, kNow + 5), true);
  list_.remove(lane_, entry(1, kNow + 5), true);
  EXPECT_EQ(list_.next_due_at(), std::nullopt);
}

TEST_F(ReadyListTest, ParkedOnesAreCountedButNotGiven) {
  list_.add(lane_, entry(1, kNow), false);
  list_.park(lane_.id, false);
  EXPECT_EQ(list_.best(lane_.id, false), nullptr);
  EXPECT_EQ(list_.due_total(lane_.id).oldest, from_ms(kNow));
  list_.remove(lane_, entry(1, kNow), false);
  EXPECT_EQ(list_.due_total(lane_.id).count, 0u);
}

TEST_F(ReadyListTest, RollbackUndoesATransaction) {
  list_.add(lane_, entry(1, kNow), false);
  list_.add(lane_, entry(2, kNow + 50), true);
  list_.commit();
  list_.take(lane_, false);
  list_.remove(lane_, entry(2, kNow + 50), true);
  EXPECT_EQ(list_.next_due_at(), std::nullopt);
  list_.add(lane_, entry(3, kNow), false);
  list_.take(lane_, false);
  list_.rollback();
  EXPECT_EQ(list_.next_due_at(), from_ms(kNow + 50));
  EXPECT_EQ(take_all(), Keys{1});
}

// Against a map that is trivially right: every entry with its lane, and whether it is scheduled.
class ReadyListModel {
 public:
  explicit ReadyListModel(uint64_t seed) : random_(seed) {
    for (const char* type : {"a", "b"}) lanes_.push_back(&names_.intern("q", type));
  }

  void step() {
    switch (random_() % 8) {
      case 0:
      case 1:
      case 2:
        add();
        break;
      case 3:
        remove();
        break;
      case 4:
        take();
        break;
      case 5:
        now_ += static_cast<int64_t>(random_() % 20);
        break;
      case 6:
        commit();
        break;
      case 7:
        random_() % 4 == 0 ? rollback() : commit();
        break;
    }
  }

  void check() {
    list_.advance(lanes_[0]->queue_id, from_ms(now_));
    for (const Lane* lane : lanes_) {
      const Entry* best = list_.best(lane->id, false);
      auto expected = best_of(lane);
      ASSERT_EQ(best != nullptr, expected.has_value());
      if (best != nullptr) {
        ASSERT_EQ(best->key, expected->key);
      }
    }
    std::optional<TimePoint> next;
    for (const auto& [key, placed] : now_there_)
      if (placed.entry.run_at > now_ && placed.scheduled)
        next = std::min(next.value_or(TimePoint::max()), from_ms(placed.entry.run_at));
    ASSERT_EQ(list_.next_due_at(), next);
  }

 private:
  struct Placed {
    const Lane* lane;
    Entry entry;
    bool scheduled;
  };

  std::optional<Entry> best_of(const Lane* lane) {
    std::optional<Entry> best;
    for (const auto& [key, placed] : now_there_) {
      if (placed.lane != lane || (placed.scheduled && placed.entry.run_at > now_)) continue;
      auto rank = [](const Entry& entry) { return std::pair(entry.order(), entry.key); };
      if (!best || rank(placed.entry) < rank(*best)) best = placed.entry;
    }
    return best;
  }
  void add() {
    auto key = static_cast<int64_t>(random_() % 40);
    if (now_there_.contains(key)) return;
    Live live;
    int64_t delay = static_cast<int64_t>(random_() % 30) - 15;
    live.run_at = from_ms(now_ + delay);
    Placed placed{lanes_[static_cast<size_t>(key) % 2],
                  Entry::of(TaskKey{key}, live, static_cast<int>(random_() % 3) - 1, false),
                  delay > 0};
    list_.add(*placed.lane, placed.entry, placed.scheduled);
    now_there_[key] = placed;
  }
  void remove() {
    if (now_there_.empty()) return;
    auto chosen =
        std::next(now_there_.begin(), static_cast<ptrdiff_t>(random_() % now_there_.size()));
    list_.remove(*chosen->second.lane, chosen->second.entry, chosen->second.scheduled);
    now_there_.erase(chosen);
  }
  void take() {
    const Lane* lane = lanes_[random_() % 2];
    list_.advance(lane->queue_id, from_ms(now_));
    const Entry* best = list_.best(lane->id, false);
    if (best == nullptr) return;
    now_there_.erase(best->key.value);
    list_.take(*lane, false);
  }
  void commit() {
    list_.commit();
    committed_ = now_there_;
  }
  void rollback() {
    list_.rollback();
    now_there_ = committed_;
  }

  std::mt19937_64 random_;
  Lanes names_;
  std::vector<const Lane*> lanes_;
  ReadyList list_;
  int64_t now_ = kNow;
  std::map<int64_t, Placed> now_there_, committed_;
};

TEST(ReadyListRandom, IsWhatAMapWouldBe) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    ReadyListModel model(seed);
    for (int step = 0; step < 1000; ++step) {
      model.step();
      model.check();
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace opscore::sqlite
