"""The client for asyncio: the names of `opscore.Client`, to be awaited. Standard library only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, List, Optional, TypeVar

from opscore import _calls, _events, _http, _streams, errors, types

if TYPE_CHECKING:
    from typing_extensions import Unpack

Result = TypeVar("Result")


class AsyncClient:
    """As `opscore.Client`, for asyncio: the same methods, to be awaited or, `iterate` and `events`,
    used with `async for`. Tasks of one event loop may share it.

    Each request that is under way has a connection of its own, so a thousand waits are a thousand
    connections; bound them with a semaphore where that is too many.

    >>> async def main():
    ...     async with AsyncClient() as client:
    ...         return await client.run("opscore.echo", {"n": 1})
    >>> asyncio.run(main())
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
        self._streams = _streams.Streams(address, token or _http.default_token(), timeout)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes idle connections. The client can still be used, and then makes new ones."""
        await self._streams.close()

    async def submit(
        self, task_type: str, input_data: Any = None, **options: Unpack[types.SubmitOptions]
    ) -> types.Submitted:
        """Submits one task; it is on disk when this returns."""
        return await self._do(_calls.submit(task_type, input_data, options))

    async def batch(
        self, tasks: Iterable[types.NewTask], *, atomic: bool = True
    ) -> List[types.BatchItem]:
        """Submits up to 10,000 tasks in one transaction."""
        return await self._do(_calls.batch(tasks, atomic))

    async def get(self, task_id: str) -> types.Task:
        """The task as it is now, with the `reason` why it is not done."""
        return await self._do(_calls.get(task_id))

    async def wait(self, task_id: str, timeout: Optional[float] = None) -> types.Task:
        """The task once it is done, however it ended; `WaitTimeout` after so many seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            call = _calls.get(task_id, _calls.wait_of_one_request(until))
            task = await self._send(call, _calls.Patience(call, self._wait_retries, until))
            if task.is_done:
                return task
            if until is not None and time.monotonic() >= until:
                raise errors.WaitTimeout(task, timeout or 0.0)

    async def result(self, task_id: str, timeout: Optional[float] = None) -> Any:
        """Waits, and returns the result; `TaskFailed` or `TaskCancelled` when there is none."""
        return _calls.result_of(await self.wait(task_id, timeout))

    async def run(
        self,
        task_type: str,
        input_data: Any = None,
        *,
        wait: Optional[float] = None,
        **options: Unpack[types.SubmitOptions],
    ) -> Any:
        """Submits, waits at most `wait` seconds, and returns the result."""
        task = await self.submit(task_type, input_data, **options)
        return await self.result(task.task_id, wait)

    async def cancel(self, task_id: str) -> types.Task:
        """Ends a task; one that runs is asked to stop."""
        return await self._do(_calls.cancel(task_id))

    async def retry(self, task_id: str, input_data: Any = _calls.UNSET) -> types.Task:
        """Runs a finished task again, with fresh attempts, and another input if one is given."""
        return await self._do(_calls.retry(task_id, input_data))

    async def delete(self, task_id: str) -> None:
        """Deletes a task that is not running, with its history."""
        await self._do(_calls.delete(task_id))

    async def list(
        self,
        *,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
        **filters: Unpack[types.Filters],
    ) -> types.Page:
        """One page of tasks, newest first."""
        return await self._do(_calls.list_tasks(filters, limit, cursor))

    async def iterate(self, **filters: Unpack[types.Filters]) -> AsyncIterator[types.Task]:
        """All tasks that match, newest first, page by page."""
        cursor = None
        while True:
            page = await self.list(limit=_calls.PAGE_LIMIT, cursor=cursor, **filters)
            for task in page.tasks:
                yield task
            cursor = page.next_cursor
            if cursor is None:
                return

    async def history(self, task_id: str) -> List[types.Event]:
        """What has happened to a task so far."""
        return await self._do(_calls.history(task_id))

    async def events(self, task_id: str, after: int = 0) -> AsyncIterator[types.Event]:
        """What happens to a task, as it happens; ends when the task does, survives connections."""
        reader = _events.EventReader(after)
        patience = _calls.Patience(_calls.follow(task_id, after), self._wait_retries)
        while True:
            stream = self._stream(_calls.follow(task_id, reader.after), reader)
            try:
                async for event in stream:
                    patience.renew()
                    yield event
                return
            except errors.OpscoreError as error:
                await asyncio.sleep(patience.pause_after(error))
            finally:
                await stream.aclose()

    async def _stream(
        self, call: _calls.Call[None], reader: _events.EventReader
    ) -> AsyncGenerator[types.Event, None]:
        """The events of one connection, until the task is done."""
        reader.begin()
        async with self._streams.stream(call) as (answer, pieces):
            if answer.status != 200:  # 204: there is nothing left
                call.result(answer)
                return
            async for piece in pieces:
                for event in reader.feed(piece):
                    yield event
            reader.check_end(call.attempted)

    async def explain(self, task_id: str) -> types.Explanation:
        """Why a task is where it is, up to the first broken link; as `opscore explain`."""
        return await self._do(_calls.explain(task_id))

    async def queues(self) -> List[types.Queue]:
        """All queues, by name."""
        return await self._do(_calls.queues())

    async def queue(self, name: str) -> types.Queue:
        """One queue."""
        return await self._do(_calls.queue(name))

    async def pause_queue(self, name: str) -> types.Queue:
        """Stops claims from a queue; what runs goes on, and submits too."""
        return await self._do(_calls.pause_queue(name))

    async def resume_queue(self, name: str) -> types.Queue:
        """Ends a pause."""
        return await self._do(_calls.resume_queue(name))

    async def purge_queue(self, name: str) -> int:
        """Deletes all unfinished tasks of a queue that are not running."""
        return await self._do(_calls.purge_queue(name))

    async def actors(self) -> List[types.Actor]:
        """What can be run."""
        return await self._do(_calls.actors())

    async def actor(self, task_type: str) -> types.Actor:
        """One of them, by its type or an alias."""
        return await self._do(_calls.actor(task_type))

    async def request(self, method: str, path: str, body: Any = _calls.UNSET) -> Any:
        """Any other route of docs/reference/rest.md."""
        return await self._do(_calls.request(method, path, body))

    async def _do(self, call: _calls.Call[Result]) -> Result:
        return await self._send(call, _calls.Patience(call, self._retries))

    async def _send(self, call: _calls.Call[Result], patience: _calls.Patience) -> Result:
        while True:
            try:
                return call.result(await self._streams.send(call))
            except errors.OpscoreError as error:
                await asyncio.sleep(patience.pause_after(error))
