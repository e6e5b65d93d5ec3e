"""Imports that take long are reported while they do."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from collections.abc import Iterator
from time import monotonic
from types import FrameType
from typing import Optional

from opscore._host.channel import Channel, text

_STACK_LINES = 40
_HOW_TO_FIND_IT = (
    "install it there, activate the virtual environment that has it, or name its folder with --path"
)


@contextlib.contextmanager
def watched(channel: Channel, first_after: float) -> Iterator[None]:
    done = threading.Event()
    importer = threading.get_ident()
    began = monotonic()

    def report() -> None:
        wait = first_after
        while not done.wait(wait):
            frame = sys._current_frames().get(importer)
            took = monotonic() - began
            channel.tell(
                '["importing",%s,%d,%s]'
                % (text(_module_at(frame)), took * 1000, text(_stack_at(frame)))
            )
            channel.flush()
            wait = took  # 5, 10, 20 s: the next line comes when twice as much has passed

    watcher = threading.Thread(target=report, name="opscore-imports", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _module_at(frame: Optional[FrameType]) -> str:
    """The innermost module whose body is being run."""
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            return str(frame.f_globals.get("__name__", "?"))
        frame = frame.f_back
    return "?"


def _is_machinery(filename: str) -> bool:
    return filename.startswith("<frozen importlib") or "/opscore/_host/" in filename


def _stack_at(frame: Optional[FrameType]) -> str:
    frames = [each for each in traceback.extract_stack(frame) if not _is_machinery(each.filename)]
    return "".join(traceback.format_list(frames)[-_STACK_LINES:])


def refusal(error: BaseException) -> str:
    """Why nothing can be run, as an item for the parent."""
    kept = error.__traceback__
    frames = [each for each in traceback.extract_tb(kept) if not _is_machinery(each.filename)]
    trace = "".join(
        ["Traceback (most recent call last):\n", *traceback.format_list(frames)]
        + traceback.format_exception_only(type(error), error)
    ).rstrip()
    words = "".join(traceback.format_exception_only(type(error), error)).strip().splitlines()[-1]
    if isinstance(error, ModuleNotFoundError):
        words += f". {sys.executable} does not find it: {_HOW_TO_FIND_IT}"
    return '["refused",%s,%s]' % (text("import the actors: " + words), text(trace))
