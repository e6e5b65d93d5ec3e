"""Reads server-sent events: bytes in, events out, and where to go on after a break."""

from __future__ import annotations

import json
from collections.abc import Iterator

from opscore import errors, types


class EventReader:
    """
    >>> reader = EventReader(after=0)
    >>> bytes_of_one = b'id: 1\\nevent: submitted\\ndata: {"kind": "submitted"}\\n\\nid: 2'
    >>> events = list(reader.feed(bytes_of_one))
    >>> [event.kind for event in events], reader.after
    (['submitted'], 1)
    """

    def __init__(self, after: int) -> None:
        self.after = after
        self._ended = False
        self._rest = b""
        self._fields: dict[str, str] = {}

    def begin(self) -> None:
        """A new connection: half an event of the old one does not count."""
        self._fields, self._rest = {}, b""

    def feed(self, piece: bytes) -> Iterator[types.Event]:
        """The events that these bytes complete."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            text = line.rstrip(b"\r").decode()
            if text:
                name, _, value = text.partition(":")
                self._fields[name] = value[1:] if value.startswith(" ") else value
                continue
            fields, self._fields = self._fields, {}
            if "data" in fields:
                yield self._event(fields)

    def check_end(self, attempted: str) -> None:
        """The server has ended the stream in good order; it does that when the task is done."""
        if not self._ended:
            raise errors.ConnectionFailed(
                attempted,
                "the stream of events ended before the task did",
                "Call events() again with after= the last number that you saw.",
                sent=True,
            )

    def _event(self, fields: dict[str, str]) -> types.Event:
        data = json.loads(fields["data"])
        kind = fields.get("event", "message")
        if "id" not in fields:  # progress: only the data
            return types.Event({"kind": kind, "data": data}, None, None, kind, None, data)
        self.after = int(fields["id"])
        self._ended = kind in types.TERMINAL
        return types.Event.from_json(data)
