"""The memory that tells the parent what runs here (src/opscore/actor/python/slot_cells.h)."""

from __future__ import annotations

import mmap
import threading
from time import monotonic_ns

_WORDS = 4


class Slots:
    """`free` holds the cells that no task has: taking one is `free.pop()`, atomic like append()."""

    def __init__(self, fd: int, count: int) -> None:
        self._words = memoryview(mmap.mmap(fd, count * _WORDS * 8)).cast("Q")
        self.count = count
        self.free = [slot * _WORDS for slot in reversed(range(count))]

    def enter(self, slot: int, number: int) -> int:
        """When it was entered, in ns."""
        words = self._words
        words[slot + 1] = began = monotonic_ns()
        words[slot + 2] = threading.get_ident()
        words[slot] = number
        return began

    def leave(self, slot: int) -> None:
        self._words[slot] = 0
