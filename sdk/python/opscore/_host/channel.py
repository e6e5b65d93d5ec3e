"""Frames of JSON over the private socket. Any thread may speak; one listens."""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
from typing import Any, Optional

_LENGTH = struct.Struct("<I")
_READ = 1 << 18


def encode(value: Any) -> str:
    """Strict JSON. Raises ValueError for NaN and what JSON has no word for."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def text(value: str) -> str:
    """A JSON string, whatever is in `value`: lone surrogates become their escapes' text."""
    try:
        value.encode()
    except UnicodeEncodeError:
        value = value.encode(errors="backslashreplace").decode()
    return json.dumps(value, ensure_ascii=False)


class Channel:
    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._waiting: list[str] = []
        self._sending = threading.Lock()
        self._received = b""

    def tell(self, item: str) -> None:
        """Adds an item, which is JSON, to the next frame."""
        self._waiting.append(item)

    def has_waiting(self) -> int:
        """How many items flush() would send."""
        return len(self._waiting)

    def flush(self) -> None:
        """Sends what waits. A parent that is gone takes this process along: errors are moot."""
        with self._sending:
            waiting = self._waiting
            count = len(waiting)
            if count == 0:
                return
            # Two atomic steps: what is added in between stays.
            items = waiting[:count]
            del waiting[:count]
            payload = ("[" + ",".join(items) + "]").encode()
            try:
                self._socket.sendall(_LENGTH.pack(len(payload)) + payload)
            except OSError:
                pass

    def listen(self, timeout: Optional[float]) -> Optional[list[Any]]:
        """The items that have come within `timeout` seconds (None: whenever they come).

        None when the parent has closed its side.
        """
        if not self._poll.poll(None if timeout is None else timeout * 1000):
            return []
        got = self._socket.recv(_READ)
        if not got:
            return None
        received = self._received + got if self._received else got
        items: list[Any] = []
        at = 0
        while len(received) - at >= 4:
            (length,) = _LENGTH.unpack_from(received, at)
            if len(received) - at < 4 + length:
                if length > _READ:  # the rest of it without copying over and over
                    received = self._rest(received[at:], 4 + length)
                    at = 0
                    continue
                break
            items += json.loads(received[at + 4 : at + 4 + length])
            at += 4 + length
        self._received = received[at:]
        return items

    def _rest(self, beginning: bytes, size: int) -> bytes:
        pieces, have = [beginning], len(beginning)
        while have < size:
            got = self._socket.recv(max(_READ, size - have))
            if not got:
                raise EOFError("the parent is gone")
            pieces.append(got)
            have += len(got)
        return b"".join(pieces)
