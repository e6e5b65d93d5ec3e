#pragma once
// What can be claimed, in memory: for each lane its due tasks in the order of their run, suspects
// apart, and for each queue the scheduled ones by time. 16 bytes an entry. Rebuilt from the file at
// open.
//
// Changes take effect at once and are undone by rollback(), so that operations of one transaction
// see each other. Belongs to the writing thread.

#include <compare>
#include <deque>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "opscore/model/task.h"
#include "opscore/store/sqlite/lanes.h"

namespace opscore::sqlite {

// A task that is pending or scheduled. A task has at most one; another run_at is another entry.
struct Entry {
  TaskKey key;
  int64_t run_at : 52 = 0;
  int64_t priority : 8 = 0;
  int64_t suspect : 2 = 0;
  int64_t has_deadline : 2 = 0;

  static Entry of(TaskKey key, const Live& live, int priority, bool has_deadline) {
    Entry entry;
    entry.key = key;
    entry.run_at = to_ms(live.run_at);
    entry.priority = priority;
    entry.suspect = live.suspect ? 1 : 0;
    entry.has_deadline = has_deadline ? 1 : 0;
    return entry;
  }
  int64_t order() const { return order_of(from_ms(run_at), static_cast<int>(priority)); }
  bool operator==(const Entry&) const = default;
};

// Smallest (order, key) first. Tasks mostly arrive in their order: those make a sorted run, only
// the others pay for a heap.
class EntryQueue {
 public:
  bool empty() const { return run_.empty() && late_.empty(); }
  size_t size() const { return run_.size() + late_.size(); }
  void push(Entry entry);
  const Entry& top() const;
  void pop();
  template <class Visit>
  void for_each(Visit visit) const {
    for (const Entry& entry : run_) visit(entry);
    for (const Entry& entry : late_) visit(entry);
  }
  template <class Gone>
  void erase_if(Gone gone);

 private:
  bool top_is_late() const;
  std::deque<Entry> run_;
  std::vector<Entry> late_;  // a heap
};

class ReadyList {
 public:
  void add(const Lane& lane, Entry entry, bool scheduled);
  void remove(const Lane& lane, Entry entry, bool scheduled);

  // Moves a queue's scheduled tasks whose time has come among the due ones.
  void advance(QueueId queue, TimePoint now);
  void advance_all(TimePoint now);
  std::optional<TimePoint> next_due_at(QueueId queue);
  std::optional<TimePoint> next_due_at();

  // The best due task of a lane; null when there is none.
  const Entry* best(LaneId lane, bool suspect);
  void take(const Lane& lane, bool suspect);
  // Puts the best one aside for good, because its deadline passed: it must only be expired.
  void park(LaneId lane, bool suspect);

  struct DueTotal {
    size_t count = 0;
    std::optional<TimePoint> oldest;  // when it became due
  };
  DueTotal due_total(LaneId lane) const;

  // Tasks that became due by advance(), earliest first, for writing that down. Some may have been
  // claimed since.
  struct Due {
    LaneId lane;
    Entry entry;
    bool operator>(const Due& other) const;
  };
  const Due* next_unpromoted() const {
    return unpromoted_.empty() ? nullptr : &unpromoted_.front();
  }
  Due take_unpromoted();

  void commit() { journal_.clear(); }
  void rollback();

 private:
  struct Hash {
    size_t operator()(const Entry& entry) const {
      return std::hash<TaskKey>()(entry.key) ^ static_cast<size_t>(entry.run_at);
    }
  };
  struct LaneEntries {
    EntryQueue normal, suspect;
  };
  using TimeHeap = std::vector<Due>;  // earliest first
  struct Change {
    enum class Kind : uint8_t { added, removed, promoted } kind;
    const Lane* lane;  // but for promoted
    Due due;
    bool scheduled;
  };
  EntryQueue& entries(LaneId lane, bool suspect);
  TimeHeap& scheduled(QueueId queue);
  void put(const Lane& lane, Entry entry, bool scheduled);
  void drop(Entry entry);
  bool is_gone(const Entry& entry) { return !gone_.empty() && gone_.erase(entry) > 0; }
  void compact();

  std::vector<LaneEntries> lanes_;   // by lane
  std::vector<TimeHeap> scheduled_;  // by queue
  TimeHeap unpromoted_;
  std::unordered_map<Entry, LaneId, Hash> parked_;
  std::unordered_set<Entry, Hash> gone_;  // removed, but still in a queue or heap
  size_t entries_ = 0;                    // in queues and heaps, gone ones included
  std::vector<Change> journal_;
};

}  // namespace opscore::sqlite
