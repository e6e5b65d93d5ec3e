#pragma once
// Memory that a child shares with its parent: which slot runs which task, and since when. It
// outlives the child, so it says what was entered when it died. One writer for each cell, which is
// the child; the parent only reads.
//
//   cells = *cell
//   cell  = number began thread unused   64 bits each, in the byte order of the machine
//
// number: of the task, 0 while the slot is free; written last on entry. began: when it was entered,
// ns of CLOCK_MONOTONIC. thread: as the interpreter's crash report names it, in hexadecimal.

#include <atomic>
#include <cstdint>
#include <vector>

#include "opscore/actor/children.h"
#include "opscore/process/file_descriptor.h"

namespace opscore {

class SlotCells {
 public:
  // Throws Error{unavailable}.
  explicit SlotCells(size_t slots);
  ~SlotCells();
  SlotCells(const SlotCells&) = delete;

  int file() const { return file_.get(); }  // to be passed on
  std::vector<HostedEntry> entered() const;
  // The only task that runs on that thread; nothing when there are several, or none.
  std::optional<uint64_t> only_task_of(uint64_t thread) const;

 private:
  struct Cell {
    std::atomic<uint64_t> number;
    std::atomic<int64_t> began;
    std::atomic<uint64_t> thread;
    uint64_t unused;
  };
  size_t bytes() const { return slots_ * sizeof(Cell); }

  const size_t slots_;
  FileDescriptor file_;
  Cell* cells_ = nullptr;
};

}  // namespace opscore
