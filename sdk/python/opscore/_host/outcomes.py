"""What a call came to, as an item for the parent."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Any, Optional

from opscore._host.channel import encode, text
from opscore.actors import Fail, JournalMismatch, Retry, Snooze, Stopped

_TRACE_FRAMES = 60
_DEPTH_MAX = 100


class BadResult(Exception):
    """The result cannot be stored."""


def encoded(result: Any) -> str:
    """As JSON that the parent accepts. Raises BadResult."""
    if result is None:
        return "null"
    try:
        said = encode(result)
        said.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadResult(f"the result is not JSON: {error}") from None
    if said.count("[") + said.count("{") > _DEPTH_MAX and _depth(result) > _DEPTH_MAX:
        raise BadResult(f"the result has more than {_DEPTH_MAX} levels")
    return said


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += each.values()
            elif isinstance(each, (list, tuple)):
                below += each
        level = [each for each in below if isinstance(each, (dict, list, tuple))]
    return depth


def _own_frames(trace: Optional[TracebackType]) -> Optional[TracebackType]:
    """Without the frames that only lead to the application's."""
    own = trace
    while own is not None and any(
        each in own.tb_frame.f_code.co_filename for each in ("/opscore/_host/", "/dramatiq/")
    ):
        own = own.tb_next
    return own


def failure(number: int, began: int, left: int, error: BaseException) -> str:
    trace = "".join(
        traceback.format_exception(
            type(error), error, _own_frames(error.__traceback__), limit=-_TRACE_FRAMES
        )
    )
    kind, retryable, delay = "actor_error", True, None
    words = str(error) or type(error).__name__
    if isinstance(error, Snooze):
        delay_ms = error.delay * 1000
        return '["snooze",%d,%d,%d,%d,%s]' % (number, began, left, delay_ms, text(str(error)))
    if isinstance(error, Fail):
        kind, retryable = error.kind, False
    elif isinstance(error, JournalMismatch):
        kind, retryable = "journal_mismatch", False
    elif isinstance(error, BadResult):
        kind, retryable, trace = "bad_output", False, ""
    elif isinstance(error, Stopped):
        kind = "stopped"
    elif isinstance(error, TypeError) and _own_frames(error.__traceback__) is None:
        kind, retryable, trace = "invalid_input", False, ""  # the call itself
    elif isinstance(error, Retry):
        delay = error.delay
    else:
        words = f"{type(error).__name__}: {error}"
        retryable = getattr(error, "opscore_retryable", True)
        delay = getattr(error, "opscore_delay", None)
    return '["fail",%d,%d,%d,%s,%s,%s,%s,%s]' % (
        number,
        began,
        left,
        text(kind),
        text(words),
        text(trace),
        "true" if retryable else "false",
        "null" if delay is None else int(delay * 1000),
    )
