#pragma once
// Group commit: as many operations in one transaction as are waiting when the previous one is on
// disk. A batch never waits for a timer, so an idle store has the latency of one commit and a busy
// one the throughput of a thousand per commit. Whoever has little to commit and finds nobody
// at work does it at once, on its own thread, and is spared two hand-overs; all others post to the
// committer's thread.
//
// An operation that fails never fails its neighbours: the transaction is undone and its operations
// run again one by one, those that end work before those that add some, because on a full disk only
// they may still fit. An operation must therefore bear to be run twice.

#include <atomic>
#include <deque>
#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include "opscore/base/mutex.h"
#include "opscore/base/time.h"
#include "opscore/store/sqlite/write_side.h"

namespace opscore::sqlite {

class Committer {
 public:
  enum class Kind : uint8_t { adds_work, ends_work };
  static constexpr int kCheckpointPages = 4000;  // 16 MB

  // `side` must outlive the committer, which from now on says which thread may touch it.
  // The WAL is copied into the file whenever it has `checkpoint_pages`.
  Committer(WriteSide& side, size_t batch_max, int checkpoint_pages = kCheckpointPages);
  // Commits what is posted, and empties the WAL.
  ~Committer();
  Committer(const Committer&) = delete;

  // Runs `operation`, here or on the committer's thread, and returns when its effect is on disk.
  // Throws what it threw, or why the commit failed. `items` is its weight in the batch. From any
  // thread.
  void run(size_t items, Kind kind, const std::function<void(WriteSide&)>& operation);
  // Runs `operation` as the last of every batch until it answers true: then its effect is on disk
  // together with whatever made it possible. While it answers false it must not write. Answers
  // false when the deadline came first. Throws as run() does. From any thread.
  bool run_when(const std::function<bool(WriteSide&)>& operation, Deadline deadline);
  // Callers whose operation has not begun. From any thread.
  size_t waiting() const;

 private:
  // A caller asleep, or about to be, until it is answered.
  struct Caller {
    std::exception_ptr failure;
    std::atomic<uint32_t> phase{0};
  };
  struct Standing : Caller {
    const std::function<bool(WriteSide&)>* operation;
    bool done = false;
  };
  struct Posted : Caller {
    const std::function<void(WriteSide&)>* operation;
    size_t items;
    Kind kind;
    Standing* standing = nullptr;  // that it adds or takes back
  };

  void run(Posted& posted);
  void commit_here(Posted& posted);
  void release() OPSCORE_REQUIRES(mutex_);
  bool wants_reserve() const;
  void loop();
  bool wait_for_work();
  std::vector<Posted*> next_batch();
  void commit(const std::vector<Posted*>& batch);
  enum class Tried : uint8_t { committed, failed, disk_full };
  Tried try_commit(const std::vector<Posted*>& batch);
  bool make_room();
  void tidy();
  void complain(const char* what, const Error& error);
  void empty_wal();
  void run_standing();
  void answer_standing(bool committed);
  // False when the deadline came first.
  static bool wait(Caller& caller, Deadline deadline);
  static void answer(Caller& caller);

  WriteSide& side_;
  const size_t batch_max_;
  const int checkpoint_pages_;
  mutable Mutex mutex_;
  ConditionVariable posted_;
  std::vector<Posted*> inbox_ OPSCORE_GUARDED_BY(mutex_);
  bool owned_ OPSCORE_GUARDED_BY(mutex_) = true;      // a thread works with side_ and the rest
  uint64_t releases_ OPSCORE_GUARDED_BY(mutex_) = 0;  // how often one had
  bool asleep_ OPSCORE_GUARDED_BY(mutex_) = false;    // the committer's thread, for good
  bool stopping_ OPSCORE_GUARDED_BY(mutex_) = false;
  enum class Wal : uint8_t { small, to_empty, to_tidy };  // when idle; at once
  Wal wal_ OPSCORE_GUARDED_BY(mutex_) = Wal::small;       // as released
  bool idle_ = false;                                     // the committer's thread's
  SteadyPoint warn_at_{};                                 // the next complaint about the WAL
  std::deque<Posted*> waiting_;                           // taken from the inbox
  std::vector<Standing*> standing_;                       // likewise
  bool standing_failed_ = false;                          // likewise: it took the batch with it
  std::jthread thread_;
};

}  // namespace opscore::sqlite
