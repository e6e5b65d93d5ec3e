"""A wall clock for processes under test, by libfaketime: their steady clocks stay as they are."""

import contextlib
import glob
import os
import pathlib

import pytest

from harness.processes import is_alive

LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class Clock:
    """`folder` must be readable to the processes. They follow a jump within a second."""

    def __init__(self, folder):
        found = glob.glob(LIBRARY)
        if not found:
            words = f"no {LIBRARY}: the package libfaketime is not installed"
            pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)
        pathlib.Path(folder).mkdir(exist_ok=True)
        self.file = pathlib.Path(folder) / "clock"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": found[0],
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",  # its name in older versions
            "NO_FAKE_STAT": "1",
        }

    def set(self, ahead_s):
        """So far ahead of the real one."""
        written = self.file.with_suffix(".new")
        written.write_text(f"{ahead_s:+d}\n")
        written.chmod(0o644)
        written.replace(self.file)


def forget_the_dead():
    """Removes what libfaketime has left behind of processes that were killed."""
    for name in glob.glob("/dev/shm/*faketime_s[eh]m_*"):
        if not is_alive(int(name.rpartition("_")[2])):
            with contextlib.suppress(OSError):
                os.unlink(name)
