#pragma once
// The change feed of a store in this process: a bounded ring of what commits changed. A reader that
// is further behind than the ring reaches is told to look at everything. Safe for concurrent use;
// nothing survives the process.

#include <cstdint>
#include <deque>
#include <vector>

#include "opscore/base/mutex.h"
#include "opscore/store/store.h"

namespace opscore {

// What one commit changed.
struct Change {
  std::vector<std::string> queues;
  std::vector<TaskKey> tasks;
  std::vector<SessionId> sessions;
};

class ChangeFeed final : public Changes {
 public:
  // Keeps about `capacity` names and keys.
  explicit ChangeFeed(size_t capacity = 1 << 16) : capacity_(capacity) {}

  // To be called once a commit is visible. Nothing happens for an empty change.
  void publish(Change change);

  uint64_t position() const override;
  ChangeBatch wait(uint64_t since, Interest interest, Deadline deadline) override;
  void interrupt() override;

 private:
  struct Entry {
    uint64_t position = 0;
    Change change;
    bool interrupt = false;  // wakes everyone, says nothing
  };
  // Per Interest.
  struct Channel {
    ConditionVariable news;
    uint64_t last = 0;       // position of the newest entry that concerns it
    uint64_t forgotten = 0;  // position of the newest such entry that the ring has dropped
  };

  static bool concerns(const Entry& entry, Interest interest);
  void append(Entry entry);
  bool out_of_reach(uint64_t since, const Channel& channel) const OPSCORE_REQUIRES(mutex_);
  ChangeBatch collect(uint64_t since, Interest interest, const Channel& channel) const
      OPSCORE_REQUIRES(mutex_);

  const size_t capacity_;
  mutable Mutex mutex_;
  std::deque<Entry> ring_ OPSCORE_GUARDED_BY(mutex_);
  size_t size_ OPSCORE_GUARDED_BY(mutex_) = 0;  // of all entries
  uint64_t position_ OPSCORE_GUARDED_BY(mutex_) = 0;
  Channel channels_[2] OPSCORE_GUARDED_BY(mutex_);
};

}  // namespace opscore
