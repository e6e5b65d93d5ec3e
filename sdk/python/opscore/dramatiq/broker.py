"""A Dramatiq broker over HTTP, for producers: no RabbitMQ."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

from dramatiq import Broker, Message
from dramatiq.errors import ConnectionClosed, ConnectionFailed, QueueJoinTimeout, QueueNotFound
from dramatiq.results import Results

from opscore import _calls, errors
from opscore.client import Client
from opscore.dramatiq.task_ids import canonical_queue
from opscore.dramatiq.results import OpscoreResults

LOOK_EVERY_S = 0.05


class OpscoreBroker(Broker):
    """Actors' `send` gives messages to opscore, which makes tasks of them and runs these.

    `url` and `token` are as of `opscore.Client`. It is the task that adoption from RabbitMQ makes
    of the message, callbacks and pipelines included, under the id of the message or the `task_id`
    among its arguments. `message.get_result()` needs no backend. A message that is sent again is
    the same task.

        dramatiq.set_broker(OpscoreBroker("http://localhost:8000"))
    """

    def __init__(
        self,
        url: Optional[str] = None,
        *,
        token: Optional[str] = None,
        middleware: Optional[list[Any]] = None,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(middleware=middleware)
        self.client = Client(url, token=token, timeout=timeout)
        self.queues: dict[str, None] = {}
        if not any(isinstance(each, Results) for each in self.middleware):
            self.add_middleware(Results(backend=OpscoreResults(self.client)))

    def close(self) -> None:
        self.client.close()

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 30000) -> Any:
        """Nobody consumes over HTTP: opscore's worker runs the actors."""
        raise NotImplementedError(
            f"cannot consume from queue {queue_name!r} through OpscoreBroker: it is for producers. "
            "Run the actors with `opscore dramatiq ...` in place of `dramatiq ...`, or with "
            "`opscore up --python MODULE`."
        )

    def declare_queue(self, queue_name: str) -> None:
        if queue_name in self.queues:
            return
        self.emit_before("declare_queue", queue_name)
        self.queues[queue_name] = None
        self.emit_after("declare_queue", queue_name)
        delayed = f"{queue_name}.DQ"
        self.delay_queues.add(delayed)
        self.emit_after("declare_delay_queue", delayed)

    def enqueue(self, message: Message[Any], *, delay: Optional[int] = None) -> Message[Any]:
        """Sends the message; it is on disk when this returns. `delay` is in milliseconds."""
        queue = canonical_queue(message.queue_name)
        if delay is not None:
            eta = int(time.time() * 1000) + delay
            options = {**message.options, "eta": eta}
            message = message.copy(queue_name=f"{queue}.DQ", options=options)
        self.declare_queue(queue)
        self.emit_before("enqueue", message, delay)
        with _as_dramatiq():
            self._take(message)
        self.emit_after("enqueue", message, delay)
        return message

    def flush(self, queue_name: str) -> None:
        """Deletes what has not run yet of a queue."""
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)
        with _as_dramatiq():
            self.client.purge_queue(queue_name)

    def flush_all(self) -> None:
        for queue_name in self.queues:
            self.flush(queue_name)

    def join(self, queue_name: str, *, timeout: Optional[int] = None) -> None:
        """Waits until nothing of a queue is pending, scheduled or running; `timeout` is in ms."""
        until = None if timeout is None else time.monotonic() + timeout / 1000
        while True:
            with _as_dramatiq():
                queue = self.client.queue(queue_name)
            if not queue.pending + queue.scheduled + queue.running:
                return
            if until is not None and time.monotonic() > until:
                raise QueueJoinTimeout(queue_name)
            time.sleep(LOOK_EVERY_S)

    def _take(self, message: Message[Any]) -> None:
        call = _calls.take_message(message.actor_name, message.encode())
        self.client._do(call)


@contextmanager
def _as_dramatiq() -> Iterator[None]:
    """Producers handle the errors of Dramatiq."""
    try:
        yield
    except errors.ConnectionFailed as error:
        raise (ConnectionClosed if error.sent else ConnectionFailed)(str(error)) from error
    except errors.Unavailable as error:
        raise ConnectionFailed(str(error)) from error
