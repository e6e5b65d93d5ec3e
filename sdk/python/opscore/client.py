"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, List, Optional, TypeVar

from opscore import _calls, _events, _http, errors, types

if TYPE_CHECKING:
    from typing_extensions import Unpack

Result = TypeVar("Result")


class Client:
    """Talks to one opscore server. Threads may share it; it is usable after a fork.

    `url` is where the server is (default: `OPSCORE_URL`, else http://127.0.0.1:8000), `token` its
    API token (default: `OPSCORE_API_TOKEN`). `timeout` is how long, in seconds, connecting and each
    silence of the server may last. `retries`: how often a request is sent again after a failure, if
    that is safe: reading always is, a submit with an `idempotency_key` or `task_id` too; others
    only when the server has certainly not seen them.

    >>> client = Client()
    >>> task = client.submit("opscore.echo", {"n": 1}, labels={"customer": "42"})
    >>> client.result(task.task_id)
    {'n': 1}
    """

    def __init__(
        self,
        url: Optional[str] = None,
        *,
        token: Optional[str] = None,
        timeout: float = 30.0,
        retries: int = 5,
    ) -> None:
        address = _http.Address(url or _http.default_url())
        self.url = address.url
        self._retries = retries
        self._wait_retries = _calls.WAIT_RETRIES if retries else 0
        self._connections = _http.Connections(address, token or _http.default_token(), timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes idle connections. The client can still be used, and then makes new ones."""
        self._connections.close()

    def submit(
        self, task_type: str, input_data: Any = None, **options: Unpack[types.SubmitOptions]
    ) -> types.Submitted:
        """Submits one task; it is on disk when this returns.

        The options are `types.SubmitOptions`: queue, priority, run_at, delay, max_attempts,
        backoff, timeout, deadline, idempotency_key, task_id, name, labels, metadata, webhook.

        >>> first = client.submit("opscore.noop", idempotency_key="invoice-17")
        >>> again = client.submit("opscore.noop", idempotency_key="invoice-17")
        >>> again.task_id == first.task_id, first.replayed, again.replayed
        (True, False, True)
        """
        return self._do(_calls.submit(task_type, input_data, options))

    def batch(
        self, tasks: Iterable[types.NewTask], *, atomic: bool = True
    ) -> List[types.BatchItem]:
        """Submits up to 10,000 tasks in one transaction: all, or none and the first wrong one is
        named. With `atomic=False` each is accepted or refused for itself.

        >>> items = client.batch([{"task_type": "opscore.noop"}, {"task_type": "opscore.noop"}])
        >>> len({item.task_id for item in items})
        2
        """
        return self._do(_calls.batch(tasks, atomic))

    def get(self, task_id: str) -> types.Task:
        """The task as it is now, with the `reason` why it is not done."""
        return self._do(_calls.get(task_id))

    def wait(self, task_id: str, timeout: Optional[float] = None) -> types.Task:
        """The task once it is completed, failed or cancelled. `WaitTimeout` after so many seconds;
        without a timeout it waits as long as it takes, also through restarts of the server.

        >>> task = client.submit("opscore.noop", delay="1h")
        >>> client.wait(task.task_id, timeout=0.1)                    # doctest: +ELLIPSIS
        Traceback (most recent call last):
        opscore.errors.WaitTimeout: could not wait for task ...: it is scheduled after 0.1 s...
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            call = _calls.get(task_id, _calls.wait_of_one_request(until))
            task = self._send(call, _calls.Patience(call, self._wait_retries, until))
            if task.is_done:
                return task
            if until is not None and time.monotonic() >= until:
                raise errors.WaitTimeout(task, timeout or 0.0)

    def result(self, task_id: str, timeout: Optional[float] = None) -> Any:
        """Waits, and returns the result; `TaskFailed` or `TaskCancelled` when there is none."""
        return _calls.result_of(self.wait(task_id, timeout))

    def run(
        self,
        task_type: str,
        input_data: Any = None,
        *,
        wait: Optional[float] = None,
        **options: Unpack[types.SubmitOptions],
    ) -> Any:
        """Submits, waits at most `wait` seconds, and returns the result.

        >>> client.run("opscore.echo", "hello")
        'hello'
        >>> client.run("opscore.fail", {"message": "card declined", "retryable": False})
        ... # doctest: +ELLIPSIS
        Traceback (most recent call last):
        opscore.errors.TaskFailed: could not get the result of task ...: it failed after 1 ...
        """
        return self.result(self.submit(task_type, input_data, **options).task_id, wait)

    def cancel(self, task_id: str) -> types.Task:
        """Ends a task. One that runs is asked to stop: it is then still `running`, with
        `cancel_requested`. `Conflict` when it has ended already."""
        return self._do(_calls.cancel(task_id))

    def retry(self, task_id: str, input_data: Any = _calls.UNSET) -> types.Task:
        """Runs a finished task again, with fresh attempts, and another input if one is given."""
        return self._do(_calls.retry(task_id, input_data))

    def delete(self, task_id: str) -> None:
        """Deletes a task that is not running, with its history."""
        self._do(_calls.delete(task_id))

    def list(
        self,
        *,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
        **filters: Unpack[types.Filters],
    ) -> types.Page:
        """One page of tasks, newest first. The filters are `types.Filters`: status, task_type,
        queue, labels, created_after, created_before."""
        return self._do(_calls.list_tasks(filters, limit, cursor))

    def iterate(self, **filters: Unpack[types.Filters]) -> Iterator[types.Task]:
        """All tasks that match, newest first, page by page.

        >>> sum(1 for task in client.iterate(labels={"customer": "42"}, status="completed"))
        1
        """
        cursor = None
        while True:
            page = self.list(limit=_calls.PAGE_LIMIT, cursor=cursor, **filters)
            yield from page.tasks
            cursor = page.next_cursor
            if cursor is None:
                return

    def history(self, task_id: str) -> List[types.Event]:
        """What has happened to a task so far."""
        return self._do(_calls.history(task_id))

    def events(self, task_id: str, after: int = 0) -> Iterator[types.Event]:
        """What happens to a task, as it happens, from the submit on or after event number `after`.
        Ends when the task does. A broken connection is made again, and no event is lost or
        repeated; progress (kind `progress`, in `data`) is only ever the last.

        >>> [event.kind for event in client.events(client.submit("opscore.noop").task_id)]
        ['submitted', 'started', 'attempt_completed', 'completed']
        """
        reader = _events.EventReader(after)
        patience = _calls.Patience(_calls.follow(task_id, after), self._wait_retries)
        while True:
            try:
                for event in self._stream(_calls.follow(task_id, reader.after), reader):
                    patience.renew()
                    yield event
                return
            except errors.OpscoreError as error:
                time.sleep(patience.pause_after(error))

    def _stream(
        self, call: _calls.Call[None], reader: _events.EventReader
    ) -> Iterator[types.Event]:
        """The events of one connection, until the task is done."""
        reader.begin()
        with self._connections.stream(call) as (answer, pieces):
            if answer.status != 200:  # 204: there is nothing left
                call.result(answer)
                return
            for piece in pieces:
                yield from reader.feed(piece)
            reader.check_end(call.attempted)

    def explain(self, task_id: str) -> types.Explanation:
        """Why a task is where it is, up to the first broken link; as `opscore explain`."""
        return self._do(_calls.explain(task_id))

    def queues(self) -> List[types.Queue]:
        """All queues, by name."""
        return self._do(_calls.queues())

    def queue(self, name: str) -> types.Queue:
        """One queue.

        >>> client.queue("default").paused
        False
        """
        return self._do(_calls.queue(name))

    def pause_queue(self, name: str) -> types.Queue:
        """Stops claims from a queue; what runs goes on, and submits too."""
        return self._do(_calls.pause_queue(name))

    def resume_queue(self, name: str) -> types.Queue:
        """Ends a pause."""
        return self._do(_calls.resume_queue(name))

    def purge_queue(self, name: str) -> int:
        """Deletes all unfinished tasks of a queue that are not running; how many within the first
        second, after which a large purge goes on by itself."""
        return self._do(_calls.purge_queue(name))

    def actors(self) -> List[types.Actor]:
        """What can be run.

        >>> "opscore.echo" in {actor.task_type for actor in client.actors()}
        True
        """
        return self._do(_calls.actors())

    def actor(self, task_type: str) -> types.Actor:
        """One of them, by its type or an alias."""
        return self._do(_calls.actor(task_type))

    def request(self, method: str, path: str, body: Any = _calls.UNSET) -> Any:
        """Any other route of docs/reference/rest.md; below /api/v1 unless `path` begins with /.

        >>> client.request("GET", "/health")["status"]
        'ok'
        """
        return self._do(_calls.request(method, path, body))

    def _do(self, call: _calls.Call[Result]) -> Result:
        return self._send(call, _calls.Patience(call, self._retries))

    def _send(self, call: _calls.Call[Result], patience: _calls.Patience) -> Result:
        while True:
            try:
                return call.result(self._connections.send(call))
            except errors.OpscoreError as error:
                time.sleep(patience.pause_after(error))
