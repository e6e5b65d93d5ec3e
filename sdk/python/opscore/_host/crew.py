"""Runs tasks: ordinary functions on threads, `async` ones on one event loop.

The main thread listens to the parent. Threads are for actors that wait: while one thread keeps the
interpreter busy, others would only take turns with it. So a thread takes one task after another,
and another one is woken when tasks wait although the interpreter is not busy, or when nothing has
come to an end for a while.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import queue
import threading
from collections import deque
from time import monotonic, monotonic_ns, process_time
from typing import Any, Optional

from opscore._host import capture
from opscore._host.catalogue import Hosted
from opscore._host.channel import Channel
from opscore._host.outcomes import encoded, failure
from opscore._host.slots import Slots
from opscore.context import CURRENT, Context

_TICK = 0.001
"""How soon the main thread looks again, while there is something to look after."""
_BUSY = 0.8
"""Of one processor: more threads would not make the interpreter faster."""
_ITEMS_MAX = 64
"""So many outcomes are sent without waiting for more."""


class Crew:
    def __init__(self, channel: Channel, slots: Slots, actors: dict[str, Hosted]) -> None:
        self._channel, self._slots, self._actors = channel, slots, actors
        self._todo: deque[tuple[Context, Hosted]] = deque()
        self._todo_async: deque[tuple[Context, Hosted]] = deque()
        self._running: dict[int, Context] = {}
        self._stop_lock = threading.Lock()  # who asks to stop, and who ends, one at a time
        self._rest_lock = threading.Lock()
        self._wakes: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._threads = self._awake = 0  # under _rest_lock
        self._done = 0  # a sign of progress; need not be exact
        self._looked_at, self._looked_cpu, self._looked_done = 0.0, 0.0, 0
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._coroutines: set[asyncio.Task[None]] = set()
        self._calls = itertools.count(1)
        self._replies: dict[int, Any] = {}

    # The main thread.

    def serve(self) -> None:
        """Until the parent has closed its side and everything has come to an end."""
        channel = self._channel
        while True:
            timeout = _TICK if self._todo or channel.has_waiting() else None
            items = channel.listen(timeout)
            if items is None:
                break
            for item in items:
                self._take(item)
            if items:
                self._set_to_work()
            elif self._todo and self._should_widen():
                self._wake()
            if not items and channel.has_waiting():
                channel.flush()
        while self._todo or self._todo_async or self._running:
            if self._todo and self._should_widen():
                self._wake()
            threading.Event().wait(_TICK)
            channel.flush()
        channel.flush()

    def _take(self, item: list[Any]) -> None:
        word = item[0]
        if word == "run":
            _, number, name, id, attempt, charged, budget, timeout, input, metadata = item
            task = Context(
                id, name, attempt, charged, budget, timeout, input, metadata, number, self
            )
            actor = self._actors.get(name)
            if actor is None:  # it was announced by the interpreter before this one
                self._channel.tell('["dropped",%d]' % number)
                return
            (self._todo_async if actor.is_async else self._todo).append((task, actor))
        elif word == "stop":
            self._stop(item[1], item[2])
        elif word == "back":
            self._give_back(item[1])
        elif word == "step":
            reply = self._replies.pop(item[1], None)
            if reply is not None:
                reply(item[2:] if len(item) == 4 else [item[2], None])

    def _set_to_work(self) -> None:
        if self._todo_async:
            self._event_loop().call_soon_threadsafe(self._start_coroutines)
        if self._todo and self._awake == 0:
            self._wake()

    def _should_widen(self) -> bool:
        now, cpu, done = monotonic(), process_time(), self._done
        took = now - self._looked_at
        if took < _TICK:
            return False
        is_busy = cpu - self._looked_cpu > _BUSY * took
        has_moved = done != self._looked_done
        self._looked_at, self._looked_cpu, self._looked_done = now, cpu, done
        return not (is_busy and has_moved)

    def _wake(self) -> None:
        with self._rest_lock:
            if self._awake < self._threads:
                self._awake += 1
                self._wakes.put(True)
            elif self._threads < self._slots.count:
                self._threads += 1
                self._awake += 1
                name = f"opscore-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()

    def _give_back(self, number: int) -> bool:
        for waiting in (self._todo, self._todo_async):
            for pair in list(waiting):
                if pair[0]._number != number:
                    continue
                try:
                    waiting.remove(pair)
                except ValueError:  # it was started meanwhile
                    return False
                self._channel.tell('["dropped",%d]' % number)
                return True
        return False

    def _stop(self, number: int, why: str) -> None:
        if self._give_back(number):
            return
        with self._stop_lock:
            task = self._running.get(number)
            if task is None or task.stopping is not None:
                return
            task.stopping = why
            if task._thread is not None:
                _raise_in(task._thread, self._actors[task.type].stops[why])
            elif task._coroutine is not None and self._loop is not None:
                self._loop.call_soon_threadsafe(task._coroutine.cancel)

    # Threads that run ordinary functions.

    def _work(self) -> None:
        while True:
            try:
                self._run_all()
                self._channel.flush()
                if not self._rest():
                    continue
            except BaseException:  # a stop that came too late for its task
                continue

    def _rest(self) -> bool:
        with self._rest_lock:
            if self._todo and self._slots.free:
                return False
            self._awake -= 1
        self._wakes.get()
        return True

    def _run_all(self) -> None:
        todo, free, channel = self._todo, self._slots.free, self._channel
        while True:
            try:
                slot = free.pop()
            except IndexError:
                return
            try:
                task, actor = todo.popleft()
            except IndexError:
                free.append(slot)
                return
            self._run(task, actor, slot)
            free.append(slot)
            if channel.has_waiting() >= _ITEMS_MAX:
                channel.flush()

    def _run(self, task: Context, actor: Hosted, slot: int) -> None:
        number = task._number
        began = self._slots.enter(slot, number)
        try:
            task._thread = threading.get_ident()
            self._running[number] = task
            CURRENT.set(task)
            said = '["done",%d,%d,%d,%s]' % (
                number,
                began,
                monotonic_ns(),
                encoded(actor.invoke(task)),
            )
        except BaseException as error:
            said = self._failed(number, began, error)
        said = self._close(task, began, said)
        CURRENT.set(None)
        if task._partial:
            capture.finish(self._channel, task)
        self._slots.leave(slot)
        self._channel.tell(said)
        self._done += 1

    def _failed(self, number: int, began: int, error: BaseException) -> str:
        return failure(number, began, monotonic_ns(), error)

    def _close(self, task: Context, began: int, said: str) -> str:
        """From here on nobody stops this task; a stop that was on its way is over afterwards."""
        while True:
            try:
                with self._stop_lock:
                    self._running.pop(task._number, None)
                    was_stopped = task.stopping is not None
                if was_stopped and task._thread is not None:
                    _raise_in(task._thread, None)
                return said
            except BaseException:
                continue

    # The event loop.

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(
                target=self._loop.run_forever, name="opscore-async", daemon=True
            ).start()
        return self._loop

    def _start_coroutines(self) -> None:
        assert self._loop is not None
        while self._todo_async:
            try:
                slot = self._slots.free.pop()
            except IndexError:
                return  # the next end of a task starts it
            try:
                task, actor = self._todo_async.popleft()
            except IndexError:
                self._slots.free.append(slot)
                return
            coroutine = self._loop.create_task(self._run_async(task, actor, slot))
            task._coroutine = coroutine
            self._coroutines.add(coroutine)
            coroutine.add_done_callback(self._coroutines.discard)

    async def _run_async(self, task: Context, actor: Hosted, slot: int) -> None:
        number = task._number
        began = self._slots.enter(slot, number)
        self._running[number] = task
        CURRENT.set(task)
        try:
            result = await actor.invoke(task)
            said = '["done",%d,%d,%d,%s]' % (number, began, monotonic_ns(), encoded(result))
        except BaseException as error:
            said = self._failed(number, began, error)
        with self._stop_lock:
            self._running.pop(number, None)
        if task._partial:
            capture.finish(self._channel, task)
        self._slots.leave(slot)
        self._slots.free.append(slot)
        self._channel.tell(said)
        self._done += 1
        if self._todo_async:
            self._start_coroutines()
        if not self._todo_async or self._channel.has_waiting() >= _ITEMS_MAX:
            self._channel.flush()
        if self._todo and self._awake == 0:
            self._wake()

    # What a Context asks of the parent.

    def progress(self, number: int, value: str) -> None:
        self._channel.tell('["progress",%d,%s]' % (number, value))
        self._channel.flush()

    def log(self, task: Context, level: str, line: str) -> None:
        capture.tell_line(self._channel, task, level, line)

    def next_call(self) -> int:
        return next(self._calls)

    def ask(self, item: str, call: int) -> list[Any]:
        answer: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        self._replies[call] = answer.put
        self._channel.tell(item)
        self._channel.flush()
        return answer.get()

    async def ask_async(self, item: str, call: int) -> list[Any]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()

        def settle(reply: list[Any]) -> None:
            if not answer.done():
                answer.set_result(reply)

        self._replies[call] = lambda reply: loop.call_soon_threadsafe(settle, reply)
        self._channel.tell(item)
        self._channel.flush()
        return await answer


def _raise_in(thread: int, error: Optional[type[BaseException]]) -> None:
    """Has the thread raise it at its next bytecode; None takes back what it has not raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )
