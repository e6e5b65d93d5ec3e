"""What a task prints or logs goes to the parent with the task's number; the rest goes where it
would have gone, and the parent logs it under the name of this process."""

from __future__ import annotations

import io
import logging
import sys
from typing import TextIO

from opscore._host.channel import Channel, text
from opscore.context import CURRENT, Context

_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))
_NUMBERS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL,
}
_LINE_MAX = 64 * 1024


def _word(level: int) -> str:
    for least, word in _LEVELS:
        if level >= least:
            return word
    return "debug"


class TaskStream(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr. Lines of a task are told as they are completed."""

    def __init__(self, behind: TextIO, level: str, channel: Channel) -> None:
        self._behind, self._level, self._channel = behind, level, channel

    def write(self, written: str) -> int:
        task = CURRENT.get()
        if task is None:
            return self._behind.write(written)
        partial = task._partial.get(self._level, "") + written
        *lines, rest = partial.split("\n")
        for line in lines:
            tell_line(self._channel, task, self._level, line)
        if len(rest) > _LINE_MAX:
            tell_line(self._channel, task, self._level, rest)
            rest = ""
        task._partial[self._level] = rest
        return len(written)

    def flush(self) -> None:
        if CURRENT.get() is None:
            self._behind.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._behind.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def buffer(self) -> object:
        """For bytes, which belong to no task: see the process' own log lines."""
        return self._behind.buffer


class TaskHandler(logging.Handler):
    """Of the root logger; an application that configures logging itself replaces it."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            task = CURRENT.get()
            if task is None:
                print(line, file=sys.__stderr__, flush=True)
            else:
                tell_line(self._channel, task, _word(record.levelno), line)
        except Exception:
            self.handleError(record)


def tell_line(channel: Channel, task: Context, level: str, line: str) -> None:
    channel.tell('["log",%d,"%s",%s]' % (task._number, level, text(line)))


def finish(channel: Channel, task: Context) -> None:
    """Lines without an end."""
    for level, rest in task._partial.items():
        if rest:
            tell_line(channel, task, level, rest)
    task._partial.clear()


def install(channel: Channel, level: str, takes_logging: bool) -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[attr-defined,union-attr]
    sys.stdout = TaskStream(sys.stdout, "info", channel)  # type: ignore[assignment]
    sys.stderr = TaskStream(sys.stderr, "warn", channel)  # type: ignore[assignment]
    if takes_logging:
        root = logging.getLogger()
        root.addHandler(TaskHandler(channel))
        root.setLevel(_NUMBERS.get(level, logging.INFO))
