#include "opscore/actor/python/slot_cells.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace opscore {

SlotCells::SlotCells(size_t slots) : slots_(slots), file_(::memfd_create("slots", MFD_CLOEXEC)) {
  static_assert(sizeof(Cell) == 32 && std::atomic<uint64_t>::is_always_lock_free);
  void* memory = MAP_FAILED;
  if (file_.is_open() && ::ftruncate(file_.get(), static_cast<off_t>(bytes())) == 0)
    memory = ::mmap(nullptr, bytes(), PROT_READ, MAP_SHARED, file_.get(), 0);
  if (memory == MAP_FAILED)
    throw Error(Errc::unavailable, fmt::format("share {} bytes with a child: {}", bytes(),
                                               std::generic_category().message(errno)));
  cells_ = static_cast<Cell*>(memory);
}

SlotCells::~SlotCells() {
  ::munmap(cells_, bytes());
}

std::vector<HostedEntry> SlotCells::entered() const {
  std::vector<HostedEntry> found;
  for (size_t slot = 0; slot < slots_; ++slot) {
    const Cell& cell = cells_[slot];
    const uint64_t number = cell.number.load(std::memory_order_acquire);
    const std::chrono::nanoseconds began(cell.began.load(std::memory_order_acquire));
    // Another task has taken the slot meanwhile: it is seen the next time.
    if (number == 0 || cell.number.load(std::memory_order_acquire) != number) continue;
    found.push_back({number, slot, SteadyPoint(began)});
  }
  return found;
}

std::optional<uint64_t> SlotCells::only_task_of(uint64_t thread) const {
  std::optional<uint64_t> found;
  for (size_t slot = 0; slot < slots_; ++slot) {
    const uint64_t number = cells_[slot].number.load();
    if (number == 0 || cells_[slot].thread.load() != thread) continue;
    if (found) return std::nullopt;
    found = number;
  }
  return found;
}

}  // namespace opscore
