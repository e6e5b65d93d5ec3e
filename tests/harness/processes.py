"""Looking at processes through /proc."""

import os
import pathlib
import signal


def children_of(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def is_alive(pid):
    """False for zombies too: they run nothing."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def processes_below(folder):
    """Those whose working directory is inside the folder."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            cwd = os.readlink(entry / "cwd")
        except OSError:
            continue
        if pathlib.Path(cwd).is_relative_to(folder) and is_alive(int(entry.name)):
            found.append(int(entry.name))
    return found


def kill_quietly(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def tree_of(pid):
    """The process and all below it."""
    return [pid] + [found for child in children_of(pid) for found in tree_of(child)]


def memory_mb(pid):
    """Proportional set size of a process and all below it."""
    total = 0
    for each in tree_of(pid):
        try:
            text = pathlib.Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


def threads_of(pid):
    """How many threads a process and all below it have."""
    total = 0
    for each in tree_of(pid):
        try:
            total += len(os.listdir(f"/proc/{each}/task"))
        except OSError:
            continue
    return total
