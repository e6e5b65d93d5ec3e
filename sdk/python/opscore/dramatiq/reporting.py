"""Reports of what a Python worker does, on their way to opscore.

A thread of its own sends them, in batches, over HTTP. Whoever reports never waits and never fails:
while opscore is away reports are kept, up to a bound, and the oldest are dropped beyond it.
"""

from __future__ import annotations

import collections
import json
import logging
import os
import threading
import time
from collections.abc import Iterable
from typing import Any, Optional

from opscore import _calls, _http, errors

Report = dict[str, Any]

BATCH_MAX = 200
BATCH_BYTES_MAX = 1 << 20
RESULT_BYTES_MAX = 1 << 20
ERROR_CHARS_MAX = 16_000
PAUSE_FIRST_S = 0.5
PAUSE_MAX_S = 30.0
TARGET = "/api/v1/dramatiq/reports"


def encode(report: Report) -> bytes:
    """As opscore takes it: strict JSON, without lone surrogates.

    >>> encode({"kind": "running", "worker": "caf\\u00e9"})
    b'{"kind":"running","worker":"caf\\xc3\\xa9"}'
    """
    text = json.dumps(report, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def result_fields(result: Any) -> Report:
    """A result, or why there is none to keep.

    >>> result_fields({"sum": 3})
    {'result': {'sum': 3}}
    >>> result_fields(float("nan"))["result_problem"]
    'it is not JSON: Out of range float values are not JSON compliant'
    """
    try:
        size = len(encode({"result": result}))
    except (TypeError, ValueError, RecursionError) as error:
        problem = str(error).split(":", 1)[0]
        return {"result": None, "result_problem": f"it is not JSON: {problem}"[:250]}
    if size > RESULT_BYTES_MAX:
        return {"result": None, "result_problem": f"it is {size} bytes; at most {RESULT_BYTES_MAX}"}
    return {"result": result}


class Reporter:
    """Keeps and sends reports. Made once for a process; after a fork the child's begins empty."""

    def __init__(
        self,
        url: Optional[str],
        token: Optional[str],
        *,
        capacity: int,
        timeout: float,
        logger: logging.Logger,
    ) -> None:
        self.url = url or _http.default_url()
        self._connections = _http.Connections(
            _http.Address(self.url), token or _http.default_token(), timeout
        )
        self._capacity = capacity
        self._logger = logger
        self._start_anew()

    def _start_anew(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        # By attempt: what is new of one replaces what has not been sent of it yet.
        self._waiting: collections.OrderedDict[tuple[str, int, int], Report] = (
            collections.OrderedDict()
        )
        self._thread: Optional[threading.Thread] = None
        self._sending = 0
        self._closing = False
        self._away_since: Optional[float] = None
        self.dropped = 0

    def open(self) -> None:
        """Reports are taken; at first they are."""
        with self._changed:
            self._closing = False

    def add(self, report: Report) -> None:
        """Takes a report over. An end that finds its start unsent carries it along."""
        if os.getpid() != self._process:
            self._start_anew()
        key = (report["message_id"], report["attempts_before"], report["retries"])
        with self._changed:
            before = self._waiting.get(key)
            if before is not None:
                report = {**before, **report}
            self._waiting[key] = report
            while len(self._waiting) > self._capacity:
                self._waiting.popitem(last=False)
                self.dropped += 1
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(
                    target=self._run, name="opscore-reports", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Waits until everything was sent, at most so long."""
        if os.getpid() != self._process:
            return True
        deadline = time.monotonic() + timeout
        with self._changed:
            while self._waiting or self._sending:
                left = deadline - time.monotonic()
                if left <= 0 or self._thread is None:
                    return False
                self._changed.wait(left)
        return True

    def close(self, timeout: float) -> None:
        """Sends what it can and ends the thread; what is left is lost, and said to be."""
        everything = self.flush(timeout)
        with self._changed:
            self._closing = True
            left = len(self._waiting) + self._sending
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread is not None:
            thread.join(1.0)
        if not everything:
            self._logger.error("%d reports did not reach opscore at %s.", left, self.url)
        self._connections.close()

    def _run(self) -> None:
        pause = PAUSE_FIRST_S
        while True:
            batch = self._take()
            if not batch:
                return
            left = batch
            try:
                left = self._send(batch)
            except Exception:  # a bug of ours must not end the reports for good
                self._logger.exception("Reports to opscore could not be sent.")
            self._put_back(left)
            pause = PAUSE_FIRST_S if not left else min(pause * 2, PAUSE_MAX_S)
            if left and self._paused(pause):
                return

    def _take(self) -> list[Report]:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            if self._closing:
                return []
            batch: list[Report] = []
            size = 0
            while self._waiting and len(batch) < BATCH_MAX and size < BATCH_BYTES_MAX:
                _, report = self._waiting.popitem(last=False)
                size += len(encode(report))
                batch.append(report)
            self._sending = len(batch)
            return batch

    def _put_back(self, left: Iterable[Report]) -> None:
        with self._changed:
            for report in reversed(list(left)):
                key = (report["message_id"], report["attempts_before"], report["retries"])
                newer = self._waiting.pop(key, {})
                self._waiting[key] = {**report, **newer}
                self._waiting.move_to_end(key, last=False)
            while len(self._waiting) > self._capacity:
                self._waiting.popitem(last=False)
                self.dropped += 1
            self._sending = 0
            self._changed.notify_all()

    def _paused(self, pause: float) -> bool:
        """Waits, unless it is closed meanwhile, which it says."""
        deadline = time.monotonic() + pause
        with self._changed:
            while not self._closing:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def _send(self, batch: list[Report]) -> list[Report]:
        """What has to be sent again."""
        body = b'{"reports":[' + b",".join(map(encode, batch)) + b"]}"
        call = _calls.Call("report to opscore", "POST", TARGET, lambda answer: None, body, True)
        try:
            answer = self._connections.send(call)
        except errors.OpscoreError as error:
            return self._away(batch, str(error))
        if answer.status == 200:
            self._back()
            return []
        if answer.status in (400, 413, 422):
            self._back()
            return self._refused(batch, answer)
        return self._away(batch, f"it answered {answer.status}: {answer.body[:300]!r}")

    def _refused(self, batch: list[Report], answer: _calls.Answer) -> list[Report]:
        """One of them is not acceptable: the others are sent without it."""
        if len(batch) == 1:
            self._logger.error(
                "opscore refuses the report of message %s: %s",
                batch[0]["message_id"],
                answer.body[:300].decode("utf-8", "replace"),
            )
            return []
        half = len(batch) // 2
        return self._send(batch[:half]) + self._send(batch[half:])

    def _away(self, batch: list[Report], why: str) -> list[Report]:
        if self._away_since is None:
            self._away_since = time.monotonic()
            self._logger.warning(
                "Reports do not reach opscore at %s and are kept meanwhile, at most %d: %s",
                self.url,
                self._capacity,
                why,
            )
        return batch

    def _back(self) -> None:
        if self._away_since is None:
            return
        self._logger.info(
            "Reports reach opscore again after %.0f s; %d were dropped.",
            time.monotonic() - self._away_since,
            self.dropped,
        )
        self._away_since = None
