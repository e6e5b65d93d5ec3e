"""Runs a command for as long as the test process lives, and then removes its folder.

    python -I -S _guard.py FOLDER GRACE COMMAND...

The test process holds the other end of stdin. It may end it in good order, or be killed: the end of
the file comes all the same, and so does another parent. Then the command gets SIGTERM, after GRACE
seconds SIGKILL, and FOLDER is removed. When the command ends by itself, this does too, with its
exit code; the folder stays until stdin ends, for its log to be read.
"""

import os
import select
import shutil
import signal
import subprocess
import sys

LOOK_EVERY_S = 1.0


def wait_for_the_end_of(child: "subprocess.Popen[bytes]", parent: int) -> bool:
    """True when the test process ended, False when the command did."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # only the test process decides
    while child.poll() is None:
        readable, _, _ = select.select([0, woken], [], [], LOOK_EVERY_S)
        if os.getppid() != parent or (0 in readable and not os.read(0, 1)):
            return True
        if woken in readable:
            os.read(woken, 64)
    return False


def end(child: "subprocess.Popen[bytes]", grace: float) -> None:
    child.terminate()
    try:
        child.wait(grace)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def main() -> None:
    folder, grace, *command = sys.argv[1:]
    parent = os.getppid()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    if not wait_for_the_end_of(child, parent):
        sys.exit(child.returncode if child.returncode >= 0 else 128 - child.returncode)
    end(child, float(grace))
    shutil.rmtree(folder, ignore_errors=True)


main()
