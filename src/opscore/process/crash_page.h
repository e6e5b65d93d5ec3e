#pragma once
// The page that a supervisor and its worker share: who was running what. Anonymous shared memory,
// made before the fork, so it survives the worker's death by any signal and dies with the
// supervisor. One cell per slot, written when an actor is entered and cleared when it is left.

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "opscore/base/time.h"

namespace opscore {

class CrashPage {
 public:
  static constexpr size_t kSlots = 1024;
  // For blame(): who crashed when it was no slot.
  static constexpr int32_t kNoSlot = -1;   // a thread that runs no task
  static constexpr int32_t kOutside = -2;  // nobody: another process sent the signal
  struct Cell {
    std::atomic<int64_t> key{0};  // 0: empty; written last on entry, cleared first on leaving
    std::atomic<int32_t> attempt{0};
    std::atomic<int64_t> started_ms{0};
  };
  struct Entered {
    int64_t key;
    int32_t attempt;
    int32_t slot;
    TimePoint started_at;  // by the worker's clock
  };

  CrashPage();  // maps the page; throws Error{unavailable}
  ~CrashPage();
  CrashPage(const CrashPage&) = delete;

  // The worker's side. Lock-free; a slot's cell is written by that slot only.
  void set_session(int64_t session);
  void enter(const Entered& task);
  void leave(size_t slot);
  // From a signal handler of the thread that crashed: async-signal-safe.
  void blame(int32_t slot, int32_t signal);
  // The worker's main loop is alive; a counter that the supervisor watches.
  void progress();
  // It takes work: what the supervisor tells others.
  void set_ready();

  // The supervisor's side.
  int64_t session() const;
  std::vector<Entered> entered() const;
  std::optional<int32_t> blamed_slot() const;
  int32_t crash_signal() const;    // 0: the crash handler did not run
  bool sent_from_outside() const;  // the signal was another process' kill(2), not a fault
  uint64_t progress_count() const;
  bool is_ready() const;
  void reset();  // between two workers

 private:
  struct Page;
  Page* page_;
};

}  // namespace opscore
