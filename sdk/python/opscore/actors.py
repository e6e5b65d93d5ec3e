"""Functions as actors: opscore runs their tasks in interpreters that it starts.

    import opscore

    @opscore.actor
    def add(a: int, b: int) -> int:
        return a + b

    $ opscore up --python app.tasks
    $ opscore submit add --input '{"a": 1, "b": 2}' --wait

An input that is an object is passed as keyword arguments, anything else as the only argument. A
parameter named `input` that stands alone gets the input as it is. A parameter annotated `Context`
gets the task. What the function returns, anything that JSON can say, is the result.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any, Callable, Generic, Optional, TypeVar, Union, overload

__all__ = [
    "Actor",
    "Backoff",
    "Cancelled",
    "Draining",
    "Fail",
    "JournalMismatch",
    "NotSubmitted",
    "Retry",
    "Snooze",
    "Stopped",
    "TimeLimit",
    "actor",
    "after_task",
    "before_task",
]

Function = TypeVar("Function", bound=Callable[..., Any])


class Retry(Exception):
    """Raise it to be run again, after `delay` seconds instead of the backoff.

    It counts as an attempt.
    """

    def __init__(
        self, message: str = "asked to be run again", delay: Optional[float] = None
    ) -> None:
        super().__init__(message)
        self.delay = delay


class Snooze(Exception):
    """Raise it to be run again after `delay` seconds, without it counting as an attempt."""

    def __init__(self, delay: float, message: str = "") -> None:
        super().__init__(message)
        self.delay = delay


class Fail(Exception):
    """Raise it to end the task at once, failed, whatever attempts are left.

    `kind` is a word of your own for `error.kind`.
    """

    def __init__(self, message: str, kind: str = "actor_error") -> None:
        super().__init__(message)
        self.kind = kind


class JournalMismatch(Exception):
    """This attempt asked for another step than an earlier one did at the same place."""


class NotSubmitted(Exception):
    """opscore does not take the task that an actor wanted to submit; the words say why."""


class Stopped(BaseException):
    """Raised in a running actor when its attempt must end; `why` says why.

    Not an Exception, so that `except Exception` does not hold it up. Clean up and let it pass: an
    actor that goes on costs its process.
    """

    why = "stopped"

    def __str__(self) -> str:
        return f"the attempt must end: {self.why}"


class TimeLimit(Stopped):
    """Its timeout is over."""

    why = "timeout"


class Cancelled(Stopped):
    """Somebody has cancelled the task."""

    why = "cancelled"


class Draining(Stopped):
    """Its worker is being stopped; the task runs again elsewhere, and this does not count."""

    why = "draining"


BEFORE: list[Callable[[Any], Any]] = []
AFTER: list[Callable[[Any, Optional[BaseException]], Any]] = []


def before_task(hook: Function) -> Function:
    """Declares a function that is called with the `Context` before each task, in its thread.

    What it raises is what the task raises.
    """
    BEFORE.append(hook)
    return hook


def after_task(hook: Function) -> Function:
    """Declares a function that is called with the `Context` and what the task raised, or None.

    Those declared last are called first. What it raises is what the task raises.
    """
    AFTER.insert(0, hook)
    return hook


STOPPED: dict[str, type[Stopped]] = {each.why: each for each in (TimeLimit, Cancelled, Draining)}


class Backoff:
    """When a failed attempt is followed by another: seconds, doubled each time, up to `max`."""

    def __init__(self, min: float = 1.0, max: float = 600.0, factor: float = 2.0) -> None:
        self.min, self.max, self.factor = min, max, factor

    def document(self) -> dict[str, Any]:
        return {
            "min_ms": int(self.min * 1000),
            "max_ms": int(self.max * 1000),
            "factor": self.factor,
            "jitter_low": 0,
            "jitter_high": 1,
        }


class Actor(Generic[Function]):
    """What `@opscore.actor` makes of a function. Calling it calls the function, here and now."""

    def __init__(
        self,
        function: Function,
        name: str,
        queue: str,
        options: dict[str, Any],
        input_schema: Optional[dict[str, Any]],
    ) -> None:
        functools.update_wrapper(self, function)
        self.function, self.name, self.queue = function, name, queue
        self.options = options
        self.input_schema = input_schema
        self.is_async = inspect.iscoroutinefunction(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Actor {self.name} on {self.queue}>"


DECLARED: dict[str, Actor[Any]] = {}
"""Every actor of this process, by name."""


@overload
def actor(function: Function) -> Actor[Function]: ...


@overload
def actor(
    function: None = None,
    *,
    name: Optional[str] = None,
    queue: str = "default",
    timeout: Optional[float] = None,
    max_attempts: Optional[int] = None,
    backoff: Optional[Backoff] = None,
    concurrency: Optional[int] = None,
    aliases: Sequence[str] = (),
    version: str = "",
    description: Optional[str] = None,
    input_schema: Union[None, bool, dict[str, Any]] = None,
) -> Callable[[Function], Actor[Function]]: ...


def actor(function: Any = None, **options: Any) -> Any:
    """Declares a function as an actor, under its own name unless `name` says otherwise.

    `timeout` (seconds, of one attempt), `max_attempts` (0: without limit), `backoff` and
    `concurrency` (tasks of it at once in one worker) are what tasks of it get unless they say
    otherwise. `input_schema` is a JSON Schema, checked when a task is submitted; without one it
    follows from the annotations; False: inputs are not checked.

    >>> @actor(queue="mail", max_attempts=3)
    ... def send(to: str, subject: str = ""):
    ...     return f"sent to {to}"
    >>> send.name, send.queue, send("a@example.com")
    ('send', 'mail', 'sent to a@example.com')
    """
    if function is None:
        return lambda decorated: _declare(decorated, **options)
    return _declare(function, **options)


def _declare(
    function: Function,
    name: Optional[str] = None,
    queue: str = "default",
    timeout: Optional[float] = None,
    max_attempts: Optional[int] = None,
    backoff: Optional[Backoff] = None,
    concurrency: Optional[int] = None,
    aliases: Sequence[str] = (),
    version: str = "",
    description: Optional[str] = None,
    input_schema: Union[None, bool, dict[str, Any]] = None,
) -> Actor[Function]:
    from opscore._host.signatures import schema_of

    name = name or function.__name__
    options: dict[str, Any] = {"aliases": list(aliases), "version": version}
    words = description if description is not None else inspect.getdoc(function) or ""
    options["description"] = words.split("\n\n")[0]
    if timeout is not None:
        options["timeout_ms"] = int(timeout * 1000)
    if max_attempts is not None:
        options["max_attempts"] = max_attempts
    if backoff is not None:
        options["retry"] = backoff.document()
    if concurrency is not None:
        options["concurrency"] = concurrency
    schema = schema_of(function) if input_schema is None else input_schema or None
    declared = Actor(function, name, queue, options, schema if isinstance(schema, dict) else None)
    other = DECLARED.get(name)
    if other is not None and _home(other.function) != _home(function):
        raise ValueError(
            f"there are two actors named {name!r}: {_home(other.function)} and {_home(function)}; "
            "give one of them another name with @opscore.actor(name=...)"
        )
    DECLARED[name] = declared
    return declared


def _home(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
