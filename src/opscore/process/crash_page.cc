#include "opscore/process/crash_page.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <new>
#include <system_error>

#include "opscore/base/error.h"

namespace opscore {

// All members are lock-free atomics: the two processes share nothing else.
struct CrashPage::Page {
  std::atomic<int64_t> session{0};
  std::atomic<uint64_t> progress{0};
  std::atomic<bool> ready{false};
  std::atomic<int32_t> signal{0};
  std::atomic<int32_t> blamed{kNoSlot};
  Cell cells[kSlots];
};

namespace {

// Out of reach of a thread that runs out of its stack just above: what the page says must survive
// exactly that. Wider than any frame that a thread's own guard page can miss.
constexpr size_t kGuardBytes = 256 * 1024;

}  // namespace

CrashPage::CrashPage() {
  static_assert(std::atomic<int64_t>::is_always_lock_free);
  static_assert(std::atomic<int32_t>::is_always_lock_free);
  void* memory =
      ::mmap(nullptr, sizeof(Page) + 2 * kGuardBytes, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  char* page = static_cast<char*>(memory) + kGuardBytes;
  if (memory == MAP_FAILED || ::mprotect(page, sizeof(Page), PROT_READ | PROT_WRITE) != 0)
    throw Error(Errc::unavailable, fmt::format("map the crash page of {} bytes: {}", sizeof(Page),
                                               std::generic_category().message(errno)));
  page_ = new (page) Page;
}

CrashPage::~CrashPage() {
  ::munmap(reinterpret_cast<char*>(page_) - kGuardBytes, sizeof(Page) + 2 * kGuardBytes);
}

void CrashPage::set_session(int64_t session) {
  page_->session.store(session);
}

void CrashPage::enter(const Entered& task) {
  OPSCORE_ASSERT(task.slot >= 0 && static_cast<size_t>(task.slot) < kSlots, "slot has a cell");
  Cell& cell = page_->cells[task.slot];
  cell.attempt.store(task.attempt, std::memory_order_relaxed);
  cell.started_ms.store(to_ms(task.started_at), std::memory_order_relaxed);
  cell.key.store(task.key, std::memory_order_release);
}

void CrashPage::leave(size_t slot) {
  OPSCORE_ASSERT(slot < kSlots, "slot has a cell");
  page_->cells[slot].key.store(0, std::memory_order_release);
}

void CrashPage::blame(int32_t slot, int32_t signal) {
  // The first one counts: other threads often crash as a consequence.
  int32_t none = 0;
  if (page_->signal.compare_exchange_strong(none, signal)) page_->blamed.store(slot);
}

void CrashPage::progress() {
  page_->progress.fetch_add(1, std::memory_order_relaxed);
}

void CrashPage::set_ready() {
  page_->ready.store(true);
}

bool CrashPage::is_ready() const {
  return page_->ready.load();
}

int64_t CrashPage::session() const {
  return page_->session.load();
}

std::vector<CrashPage::Entered> CrashPage::entered() const {
  std::vector<Entered> found;
  for (size_t slot = 0; slot < kSlots; ++slot) {
    const Cell& cell = page_->cells[slot];
    if (int64_t key = cell.key.load(std::memory_order_acquire); key != 0)
      found.push_back({key, cell.attempt.load(std::memory_order_relaxed),
                       static_cast<int32_t>(slot),
                       from_ms(cell.started_ms.load(std::memory_order_relaxed))});
  }
  return found;
}

std::optional<int32_t> CrashPage::blamed_slot() const {
  int32_t slot = page_->blamed.load();
  if (page_->signal.load() == 0 || slot < 0) return std::nullopt;
  return slot;
}

int32_t CrashPage::crash_signal() const {
  return page_->signal.load();
}

bool CrashPage::sent_from_outside() const {
  return page_->signal.load() != 0 && page_->blamed.load() == kOutside;
}

uint64_t CrashPage::progress_count() const {
  return page_->progress.load();
}

void CrashPage::reset() {
  page_->session.store(0);
  page_->progress.store(0);
  page_->ready.store(false);
  page_->signal.store(0);
  page_->blamed.store(kNoSlot);
  for (Cell& cell : page_->cells) {
    cell.key.store(0);
    cell.attempt.store(0);
    cell.started_ms.store(0);
  }
}

}  // namespace opscore
