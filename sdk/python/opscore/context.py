"""What an actor sees of its task: `opscore.current_task()`, or a parameter annotated `Context`."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Awaitable
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Any, Callable, Optional, Protocol, TypeVar

from opscore.actors import JournalMismatch, NotSubmitted, Retry

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from opscore import types

Result = TypeVar("Result")

LEVELS = ("debug", "info", "warn", "error")

CURRENT: contextvars.ContextVar[Optional[Context]] = contextvars.ContextVar(
    "opscore_task", default=None
)


class _Parent(Protocol):
    """How a context reaches the process that supervises this one."""

    def progress(self, number: int, value: str) -> None: ...
    def log(self, task: Context, level: str, line: str) -> None: ...
    def ask(self, item: str, call: int) -> list[Any]: ...
    async def ask_async(self, item: str, call: int) -> list[Any]: ...
    def next_call(self) -> int: ...


class Context:
    """One attempt of one task. `input` and `metadata` are what was submitted."""

    __slots__ = (
        "id",
        "type",
        "attempt",
        "charged",
        "budget",
        "input",
        "metadata",
        "stopping",
        "_number",
        "_parent",
        "_deadline",
        "_partial",
        "_thread",
        "_coroutine",
    )

    def __init__(
        self,
        id: str,
        type: str,
        attempt: int,
        charged: int,
        budget: int,
        timeout_ms: int,
        input: Any,
        metadata: Any,
        number: int,
        parent: _Parent,
    ) -> None:
        self.id, self.type = id, type
        self.attempt = attempt
        """The number of this attempt, from 1."""
        self.charged = charged
        """How many attempts before this one count against `max_attempts`."""
        self.budget = budget
        """How many may count; 0: there is no limit."""
        self.input, self.metadata = input, metadata
        self.stopping: Optional[str] = None
        """Why the attempt must end: `timeout`, `cancelled`, `draining`; None while it may go on."""
        self._number, self._parent = number, parent
        self._deadline = monotonic() + timeout_ms / 1000
        self._partial: dict[str, str] = {}
        self._thread: Optional[int] = None
        self._coroutine: Any = None

    def is_last_attempt(self) -> bool:
        """Whether a failure of this attempt is the end of the task."""
        return 0 < self.budget <= self.charged + 1

    def remaining(self) -> float:
        """Seconds until this attempt is stopped; never negative."""
        return max(0.0, self._deadline - monotonic())

    def progress(self, value: Any) -> None:
        """Shows `value`, anything that JSON can say, to whoever looks at the task."""
        self._parent.progress(self._number, json.dumps(value, ensure_ascii=False, allow_nan=False))

    def log(self, words: str, level: str = "info") -> None:
        """Writes to the server's log under this task; level: debug, info, warn or error.

        So does everything that the task prints or logs.
        """
        if level not in LEVELS:
            raise ValueError(f"there is no level {level!r}; known: {', '.join(LEVELS)}")
        for line in words.splitlines() or [""]:
            self._parent.log(self, level, line)

    def submit(
        self, task_type: str, input_data: Any = None, **options: Unpack[types.SubmitOptions]
    ) -> types.Submitted:
        """Submits another task, once over all attempts of this one: a step of its journal.

        The options are those of `Client.submit`, and have to be the same in each attempt: `delay`
        rather than a `run_at` that is counted from now. `NotSubmitted` when opscore refuses it.
        """
        asked, call = self._submit_words(task_type, input_data, options)
        return _submitted(self._parent.ask(asked, call))

    async def submit_async(
        self, task_type: str, input_data: Any = None, **options: Unpack[types.SubmitOptions]
    ) -> types.Submitted:
        """submit() for `async` actors."""
        asked, call = self._submit_words(task_type, input_data, options)
        return _submitted(await self._parent.ask_async(asked, call))

    def step(self, name: str, action: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Calls `action` once over all attempts of the task; a retry gets the answer of the first.

        Name and arguments say which step it is: a retry that asks for another one at this place
        fails. Arguments and answer must be what JSON can say.
        """
        asked, call = self._ask_words(name, args, kwargs)
        reply = self._parent.ask('["step",' + asked + "]", call)
        if reply[0] != "run":
            recorded: Result = _recorded(reply)
            return recorded
        began = monotonic_ns()
        answer = action(*args, **kwargs)
        recorded = _recorded(self._parent.ask(_did(asked, answer, began), call))
        return recorded

    async def step_async(
        self, name: str, action: Callable[..., Awaitable[Result]], *args: Any, **kwargs: Any
    ) -> Result:
        """step() for `async` actors."""
        asked, call = self._ask_words(name, args, kwargs)
        reply = await self._parent.ask_async('["step",' + asked + "]", call)
        if reply[0] != "run":
            recorded: Result = _recorded(reply)
            return recorded
        began = monotonic_ns()
        answer = await action(*args, **kwargs)
        recorded = _recorded(await self._parent.ask_async(_did(asked, answer, began), call))
        return recorded

    def _ask_words(self, name: str, args: Any, kwargs: Any) -> tuple[str, int]:
        call = self._parent.next_call()
        request = {"args": args, "kwargs": kwargs}
        words = [self._number, call, "python", name, request]
        return json.dumps(words, ensure_ascii=False, allow_nan=False)[1:-1], call

    def _submit_words(self, task_type: str, input_data: Any, options: Any) -> tuple[str, int]:
        from opscore._calls import submit_body  # only actors that submit need it

        body = submit_body({"task_type": task_type, "input_data": input_data, **options})
        call = self._parent.next_call()
        words = ["step", self._number, call, "submit", task_type, body]
        return json.dumps(words, ensure_ascii=False, allow_nan=False), call

    def __repr__(self) -> str:
        return f"<Context {self.id} #{self.attempt} {self.type}>"


def _did(asked: str, answer: Any, began: int) -> str:
    said = json.dumps(answer, ensure_ascii=False, allow_nan=False)
    return f'["did",{asked},{said},{(monotonic_ns() - began) // 1_000_000}]'


def _submitted(reply: list[Any]) -> types.Submitted:
    from opscore.types import Submitted

    kind, answer = reply
    if kind == "failed":
        raise NotSubmitted(answer)
    return Submitted.from_json(_recorded(reply))


def _recorded(reply: list[Any]) -> Any:
    kind, answer = reply
    if kind == "mismatch":
        raise JournalMismatch(answer)
    if kind == "refused":
        raise Retry(message=f"the step could not be journaled: {answer}")
    return answer


def current_task() -> Context:
    """The task that this code runs for.

    >>> current_task()
    Traceback (most recent call last):
    LookupError: no task runs here: call this from an actor, in its own thread
    """
    task = CURRENT.get()
    if task is None:
        raise LookupError("no task runs here: call this from an actor, in its own thread")
    return task
