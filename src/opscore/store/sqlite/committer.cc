#include "opscore/store/sqlite/committer.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "opscore/base/thread.h"

namespace opscore::sqlite {
namespace {

// Waiting on a futex of one's own: a condition variable for all would wake every caller for each
// commit, which halves the throughput of many small callers.
enum Phase : uint32_t { kRunning = 0, kCallerAsleep = 1, kAnswered = 2 };

constexpr int kWaitFactor = 3;  // readers were always in the way: wait for them
// With more to do, the committer's thread is faster: SQLite's pages are in its processor's cache.
constexpr size_t kItemsHere = 8;
constexpr auto kWarnEvery = std::chrono::seconds(10);
constexpr auto kIdle = std::chrono::seconds(1);
constexpr int kTidyPages = 250;      // a smaller WAL is left to the next checkpoint
constexpr int kReservePages = 1000;  // 4 MB of WAL at a time, once kReserveAhead are left
constexpr int kReserveAhead = 100;

void futex(std::atomic<uint32_t>& word, int operation, uint32_t value,
           const timespec* timeout = nullptr) {
  ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), operation | FUTEX_PRIVATE_FLAG, value,
            timeout, nullptr, 0);
}

}  // namespace

Committer::Committer(WriteSide& side, size_t batch_max, int checkpoint_pages)
    : side_(side),
      batch_max_(batch_max),
      checkpoint_pages_(checkpoint_pages),
      thread_([this] { loop(); }) {}

Committer::~Committer() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  posted_.notify_one();
}

void Committer::run(size_t items, Kind kind, const std::function<void(WriteSide&)>& operation) {
  Posted posted{{}, &operation, items, kind};
  run(posted);
}

void Committer::run(Posted& posted) {
  bool here, wake;
  {
    MutexLock lock(mutex_);
    if (stopping_) throw Error(Errc::unavailable, "the store is being closed");
    here = !owned_ && posted.items <= kItemsHere;
    if (here)
      owned_ = true;
    else
      inbox_.push_back(&posted);
    wake = !here && !owned_;
  }
  if (wake) posted_.notify_one();
  if (here)
    commit_here(posted);
  else
    wait(posted, Deadline::never());
  if (posted.failure) std::rethrow_exception(posted.failure);
}

void Committer::commit_here(Posted& posted) {
  commit({&posted});
  bool wake;
  {
    MutexLock lock(mutex_);
    release();
    // Tidying would only keep this caller waiting: that is for the committer's thread.
    wake = !inbox_.empty() || stopping_ || wal_ == Wal::to_tidy || (wal_ != Wal::small && asleep_);
  }
  if (wake) posted_.notify_one();
}

// Only for commits that come one by one; a busy committer has no time for it, and no need.
bool Committer::wants_reserve() const {
  int pages = side_.db.wal_pages(), reserved = side_.db.wal_reserved_pages();
  return pages > 0 && pages + kReserveAhead >= reserved && reserved < checkpoint_pages_;
}

void Committer::release() {
  owned_ = false;
  ++releases_;
  int pages = side_.db.wal_pages();
  bool to_tidy = pages >= checkpoint_pages_ || wants_reserve();
  wal_ = to_tidy ? Wal::to_tidy : pages >= kTidyPages ? Wal::to_empty : Wal::small;
}

size_t Committer::waiting() const {
  MutexLock lock(mutex_);
  return inbox_.size();
}

bool Committer::run_when(const std::function<bool(WriteSide&)>& operation, Deadline deadline) {
  Standing standing{{}, &operation};
  const std::function<void(WriteSide&)> add = [&](WriteSide&) {
    if (std::ranges::find(standing_, &standing) == standing_.end()) standing_.push_back(&standing);
  };
  const std::function<void(WriteSide&)> take_back = [&](WriteSide&) {
    std::erase(standing_, &standing);
  };
  Posted adding{{}, &add, 0, Kind::ends_work, &standing};
  run(adding);
  if (!wait(standing, deadline)) {
    Posted taking_back{{}, &take_back, 0, Kind::ends_work, &standing};
    run(taking_back);
    // Answered while it was being taken back, perhaps: then that counts.
  }
  if (standing.failure) std::rethrow_exception(standing.failure);
  return standing.done;
}

// With the others in one transaction; one that fails is out, and the transaction with it.
void Committer::run_standing() {
  for (Standing* standing : standing_) {
    if (standing->done) continue;
    try {
      standing->done = (*standing->operation)(side_);
    } catch (const std::exception&) {
      standing_failed_ = true;
      standing->failure = std::current_exception();
      std::erase(standing_, standing);
      answer(*standing);
      throw;
    }
  }
}

void Committer::answer_standing(bool committed) {
  for (Standing* standing : std::exchange(standing_, {})) {
    if (committed && standing->done) {
      answer(*standing);
    } else {
      standing->done = false;  // undone with the transaction
      standing_.push_back(standing);
    }
  }
}

bool Committer::wait(Caller& caller, Deadline deadline) {
  uint32_t phase = kRunning;
  if (!caller.phase.compare_exchange_strong(phase, kCallerAsleep)) return true;
  while (caller.phase.load() != kAnswered) {
    if (deadline.passed()) return false;
    Duration left = deadline.left();
    timespec timeout{left.count() / 1000, left.count() % 1000 * 1'000'000};
    futex(caller.phase, FUTEX_WAIT, kCallerAsleep, &timeout);
  }
  return true;
}

void Committer::answer(Caller& caller) {
  // The caller may be gone as soon as it can see the answer: only its address is used after that.
  auto& phase = caller.phase;
  if (phase.exchange(kAnswered) == kCallerAsleep) futex(phase, FUTEX_WAKE, 1);
}

void Committer::loop() {
  name_thread("committer");
  while (wait_for_work()) {
    auto batch = next_batch();
    if (!batch.empty())
      commit(batch);
    else if (wants_reserve())
      side_.db.reserve_wal(std::min(side_.db.wal_pages() + kReservePages, checkpoint_pages_));
    tidy();
  }
  empty_wal();
}

// False at the end, otherwise with the right to touch side_.
bool Committer::wait_for_work() {
  MutexLock lock(mutex_);
  idle_ = false;
  if (waiting_.empty() && inbox_.empty() && !stopping_) {
    release();
    if (wal_ == Wal::to_tidy) wal_ = Wal::to_empty;  // just tried; a reader may be in the way
    while (owned_ || (inbox_.empty() && !stopping_ && wal_ != Wal::to_tidy)) {
      auto releases = releases_;
      asleep_ = wal_ == Wal::small;
      if (asleep_)
        posted_.wait(lock);
      else if (posted_.wait_for(lock, kIdle) == std::cv_status::timeout)
        idle_ = !owned_ && releases == releases_;
      asleep_ = false;
      if (idle_) break;
    }
    owned_ = true;
  }
  waiting_.insert(waiting_.end(), inbox_.begin(), inbox_.end());
  inbox_.clear();
  return !waiting_.empty() || !stopping_;
}

std::vector<Committer::Posted*> Committer::next_batch() {
  std::vector<Posted*> batch;
  size_t items = 0;
  while (!waiting_.empty() && (batch.empty() || items + waiting_.front()->items <= batch_max_)) {
    items += waiting_.front()->items;
    batch.push_back(waiting_.front());
    waiting_.pop_front();
  }
  return batch;
}

void Committer::commit(const std::vector<Posted*>& batch) {
  Tried tried = try_commit(batch);
  bool again =
      tried != Tried::committed && (batch.size() > 1 || std::exchange(standing_failed_, false));
  if (tried == Tried::disk_full) again |= make_room();
  if (again) {
    auto alone = batch;
    std::ranges::stable_partition(
        alone, [](const Posted* posted) { return posted->kind == Kind::ends_work; });
    for (Posted* posted : alone) {
      posted->failure = nullptr;
      try_commit({posted});
    }
  }
  for (Posted* posted : batch) {
    // Its caller is going to throw, and what it stands for ends with it.
    if (posted->failure && posted->standing != nullptr) std::erase(standing_, posted->standing);
    answer(*posted);
  }
}

// Unless everything was committed, nothing was, and every operation has the failure.
Committer::Tried Committer::try_commit(const std::vector<Posted*>& batch) {
  auto tried = Tried::failed;
  auto fail_all = [&batch] {
    for (Posted* posted : batch) posted->failure = std::current_exception();
  };
  try {
    side_.begin();
    for (Posted* posted : batch) (*posted->operation)(side_);
    run_standing();
    side_.commit();
    answer_standing(true);
    return Tried::committed;
  } catch (const Error& error) {
    if (error.code() == Errc::disk_low) tried = Tried::disk_full;
    fail_all();
  } catch (const std::exception&) {
    fail_all();
  }
  side_.rollback();
  answer_standing(false);
  return tried;
}

// On a full disk the log cannot grow, but once it has been copied its space can be used again.
bool Committer::make_room() {
  try {
    return side_.db.checkpoint(false);
  } catch (const Error& error) {
    complain("no room for the write-ahead log", error);
    return false;
  }
}

void Committer::tidy() {
  int pages = side_.db.wal_pages();
  if (idle_) empty_wal();
  if (pages < checkpoint_pages_) return;
  try {
    side_.db.checkpoint(pages >= checkpoint_pages_ * kWaitFactor);
  } catch (const Error& error) {
    complain("the write-ahead log grows", error);
  }
}

// Not for every commit.
void Committer::complain(const char* what, const Error& error) {
  auto now = std::chrono::steady_clock::now();
  if (now < warn_at_) return;
  warn_at_ = now + kWarnEvery;
  side_.log.error("{}: {}", what, error.what());
}

void Committer::empty_wal() {
  try {
    side_.db.checkpoint(true);
  } catch (const Error& error) {
    side_.log.warn("the write-ahead log was not emptied: {}", error.what());
  }
}

}  // namespace opscore::sqlite
