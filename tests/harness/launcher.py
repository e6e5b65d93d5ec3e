"""Becomes a command, after it has made its process as peculiar as asked.

    python -I -S launcher.py '{"command": ["opscore", "up"], "ignore": ["SIGPIPE"]}'

A process of its own, since what it does to itself must not happen to the tests.
"""

import json
import os
import resource
import signal
import sys


def main():
    wanted = json.loads(sys.argv[1])
    for name in wanted.get("ignore", ()):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python itself ignores it
    if "SIGPIPE" in wanted.get("ignore", ()):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    blocked = [getattr(signal, name) for name in wanted.get("block", ())]
    signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    if "umask" in wanted:
        os.umask(wanted["umask"])
    if "open_files" in wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted["open_files"],) * 2)
    os.chdir(wanted["cwd"])
    if wanted.get("remove_cwd"):
        os.rmdir(wanted["cwd"])
    if wanted.get("fork_twice"):
        if os.fork():
            os._exit(0)
        os.setsid()
        if os.fork():
            os._exit(0)
    for fd in wanted.get("close", ()):
        os.close(fd)
    os.execvpe(wanted["command"][0], wanted["command"], wanted["environment"])


main()
