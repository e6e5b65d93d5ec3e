"""A command on a terminal of its own, as it looks to whoever sits before it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import unicodedata

from harness.server import BINARY
from harness.waiting import wait_for

FRAME = re.compile(r"\x1b\[\?2026h\x1b\[H(.*?)\x1b\[J\x1b\[\?2026l", re.DOTALL)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def columns(line):
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in line)
    return len(line) + wide


class Terminal:
    def __init__(self, server, *arguments, width=80, height=24, environment=None):
        self.master, self.slave = pty.openpty()
        self.resize(width, height)
        self.before = termios.tcgetattr(self.slave)
        self.output = ""
        self.process = subprocess.Popen(
            [BINARY, *arguments],
            cwd=server.folder,
            env={**server.environment, "TERM": "xterm", **(environment or {})},
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def resize(self, width, height):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def read(self):
        """Everything that has been printed so far."""
        while select.select([self.master], [], [], 0)[0]:
            self.output += os.read(self.master, 65536).decode()
        return self.output

    def frames(self):
        """The pictures that were drawn, each as lines without colours."""
        return [
            re.split(r"\r+\n", COLOUR.sub("", frame).replace("\x1b[K", ""))
            for frame in FRAME.findall(self.read())
        ]

    def wait_for_frame(self, condition, what, timeout=30):
        """The first later picture of which condition(text) is true."""
        seen = len(self.frames())

        def look():
            assert self.process.poll() is None, self.read()
            return next((f for f in self.frames()[seen:] if condition("\n".join(f))), None)

        return wait_for(look, lambda: f"{what}; the last picture is {self.frames()[-1:]}", timeout)

    def wait_end(self, timeout=30):
        """The exit code; reads on, since a full terminal would block the command."""

        def ended():
            self.read()
            return self.process.poll() is not None

        wait_for(ended, lambda: f"the command ends; it has printed {self.output!r}", timeout)
        self.read()
        return self.process.returncode
