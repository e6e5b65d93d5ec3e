"""Dramatiq's middleware that tells opscore what becomes of the tasks that it handed over."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import threading
import time
import traceback
from typing import Any, Optional

import dramatiq
from dramatiq.middleware import Middleware

from opscore.dramatiq.reporting import ERROR_CHARS_MAX, Report, Reporter, result_fields

_PYTHONS_OWN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_current = threading.local()


@dataclasses.dataclass
class _Run:
    """One attempt, from its start until its message is acked or rejected."""

    middleware: OpscoreMiddleware
    about: Report
    started: int
    exception: Optional[BaseException] = None
    result: Any = None
    skipped: bool = False
    eta: Optional[int] = None


def _now() -> int:
    return int(time.time() * 1000)


def is_of_opscore(message_id: str) -> bool:
    """Whether opscore sent the message: the ids of Python's own are UUIDs.

    >>> is_of_opscore("task_018f2d6c-0000-7000-8000-000000000000")
    True
    >>> is_of_opscore("62f746b4-84e6-4ceb-95bd-447e7184d454")
    False
    """
    return _PYTHONS_OWN.fullmatch(message_id) is None


def report_progress(progress: Any) -> None:
    """Says how far the actor is that calls it: any JSON value, `opscore tasks show` has the last.

    Outside of a task of opscore it does nothing.
    """
    run: Optional[_Run] = getattr(_current, "run", None)
    if run is not None:
        run.middleware._report(run, kind="progress", progress=progress)


class OpscoreMiddleware(Middleware):
    """Reports start, progress and end of every task of opscore that this worker runs.

        broker = RabbitmqBroker(url=...)
        broker.add_middleware(OpscoreMiddleware())

    `url` and `token` are those of opscore's API; without them `OPSCORE_URL` and
    `OPSCORE_API_TOKEN` say them. Messages of other producers are none of its business. Actors
    never wait for opscore: reports go out on a thread of their own, and at most `capacity` are kept
    while it is away. A worker that ends sends what is left for up to `flush_timeout` seconds.
    """

    ALIVE_EVERY_S = 60.0
    """How often an attempt that takes long is said to be running still."""

    def __init__(
        self,
        url: Optional[str] = None,
        token: Optional[str] = None,
        *,
        capacity: int = 10_000,
        flush_timeout: float = 5.0,
        timeout: float = 5.0,
    ) -> None:
        self.logger = dramatiq.get_logger(__name__, type(self))
        self.flush_timeout = flush_timeout
        self._reporter = Reporter(
            url, token, capacity=capacity, timeout=timeout, logger=self.logger
        )
        self._lock = threading.Lock()
        self._running: dict[int, _Run] = {}
        self._alive: Optional[threading.Thread] = None
        self._ended = threading.Event()

    # A worker's life

    def after_worker_boot(self, broker: Any, worker: Any) -> None:
        self._ended.clear()
        self._reporter.open()
        self._alive = threading.Thread(target=self._say_alive, name="opscore-alive", daemon=True)
        self._alive.start()
        self.logger.info("Tasks of opscore are reported to %s.", self._reporter.url)

    def after_worker_shutdown(self, broker: Any, worker: Any) -> None:
        self._ended.set()
        self._reporter.close(self.flush_timeout)

    # A message's life, all on one thread

    def before_process_message(self, broker: Any, message: Any) -> None:
        if is_of_opscore(message.message_id):
            self._report(self._begin(message), kind="running")

    def after_process_message(
        self,
        broker: Any,
        message: Any,
        *,
        result: Any = None,
        exception: Optional[BaseException] = None,
    ) -> None:
        run = self._run_of(message)
        if run is not None:
            run.result, run.exception = result, exception

    def after_skip_message(self, broker: Any, message: Any) -> None:
        # The middleware that skips it may come before this one, which has not seen it then.
        if is_of_opscore(message.message_id):
            run = self._run_of(message) or self._begin(message)
            run.skipped = True

    def after_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
        # Retries sends the message again before its present attempt has ended.
        run = self._run_of(message)
        if run is not None:
            run.eta = message.options.get("eta") or _now() + int(delay or 0)

    def after_ack(self, broker: Any, message: Any) -> None:
        run = self._end(message)
        if run is None:
            return  # of a message that has only waited here
        if run.skipped:
            self._report(run, kind="skipped", error={"type": "skipped", "message": "a middleware "
                         "of the worker skipped the message"})
        elif run.exception is not None:
            self._report(
                run, kind="retrying", error=_error(run.exception), eta=run.eta or _now()
            )
        else:
            self._report(run, kind="completed", **result_fields(run.result))

    def after_nack(self, broker: Any, message: Any) -> None:
        run = self._end(message)
        if run is None and is_of_opscore(message.message_id):
            run = self._begin(message)  # no actor of that name, for one
            self._end(message)
        if run is None:
            return
        exception = run.exception or getattr(message, "_exception", None)
        error = _error(exception) if exception else {
            "type": "rejected", "message": "a middleware of the worker rejected the message"
        }
        self._report(run, kind="failed", error=error)

    # What is known of attempts

    def _begin(self, message: Any) -> _Run:
        about = {
            "message_id": message.message_id,
            "retries": int(message.options.get("retries") or 0),
            "attempts_before": int(message.options.get("opscore_attempts") or 0),
            "worker": f"{socket.gethostname()}:{os.getpid()}",
        }
        run = _Run(self, about, _now())
        _current.run = run
        with self._lock:
            self._running[threading.get_ident()] = run
        return run

    def _run_of(self, message: Any) -> Optional[_Run]:
        run: Optional[_Run] = getattr(_current, "run", None)
        return run if run and run.about["message_id"] == message.message_id else None

    def _end(self, message: Any) -> Optional[_Run]:
        run = self._run_of(message)
        if run is not None:
            _current.run = None
            with self._lock:
                self._running.pop(threading.get_ident(), None)
        return run

    def _report(self, run: _Run, **what: Any) -> None:
        """Never raises: a report is not worth a task."""
        try:
            self._reporter.add({**run.about, "started": run.started, "at": _now(), **what})
        except Exception:
            self.logger.exception("A report to opscore was lost.")

    def _say_alive(self) -> None:
        while not self._ended.wait(self.ALIVE_EVERY_S):
            with self._lock:
                running = list(self._running.values())
            for run in running:
                self._report(run, kind="running")


def _error(exception: BaseException) -> Report:
    trace = "".join(traceback.format_exception(type(exception), exception, exception.__traceback__))
    return {
        "type": type(exception).__name__[:250],
        "message": (str(exception) or type(exception).__name__)[:ERROR_CHARS_MAX],
        "traceback": trace[-ERROR_CHARS_MAX:],
    }
