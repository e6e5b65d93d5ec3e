"""The calls of the REST API as values: what to send, whether it may be sent twice, how to read it.

Nothing here does I/O. `Client` and `AsyncClient` send the same calls, so that they cannot differ.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import json
import random
import urllib.parse
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Any, Callable, Generic, Optional, TypeVar, Union

from opscore import errors, types

Result = TypeVar("Result")

UNSET: Any = object()
"""For arguments where None is a value of its own."""

WAIT_MAX_S = 30.0
"""How long one request waits for a task; a longer wait goes on with the next one."""
WAIT_RETRIES = 20
"""While a task is waited for or followed: a minute without a server is no reason to give up."""
PAGE_LIMIT = 200
STREAM_SILENCE_S = 45.0
"""The server sends a comment every 15 s into a stream of events."""

OPTIONS = frozenset(types.SubmitOptions.__annotations__)
FIELDS = OPTIONS | {"task_type", "input_data"}
FILTERS = frozenset(types.Filters.__annotations__)


@dataclasses.dataclass(frozen=True)
class Answer:
    """Status, headers with names in lower case, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclasses.dataclass(frozen=True)
class Call(Generic[Result]):
    """One request. `repeatable`: the server does the same once, however often it is sent."""

    attempted: str
    method: str
    target: str
    read: Callable[[Answer], Result]
    body: Optional[bytes] = None
    repeatable: bool = False
    held_s: float = 0.0
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def result(self, answer: Answer) -> Result:
        """What the answer says; raises the `ApiError` of one that is not a success."""
        if 200 <= answer.status < 300:
            return self.read(answer)
        raise refusal(self.attempted, answer)


def refusal(attempted: str, answer: Answer) -> errors.ApiError:
    """The error in an answer, also in one that something between here and opscore has given."""
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        text = answer.body[:200].decode(errors="replace")
        document = {"detail": f"status {answer.status}, and not from opscore: {text!r}"}
    retry_after = answer.headers.get("retry-after", "")
    seconds = float(retry_after) if retry_after.isdigit() else None
    return errors.problem(attempted, answer.status, document, seconds)


class Patience:
    """Decides whether a call that failed is sent again, and after which pause."""

    FIRST_PAUSE_S = 0.1
    LONGEST_PAUSE_S = 5.0

    def __init__(self, call: Call[Any], retries: int, until: Optional[float] = None) -> None:
        """`until`: a moment of time.monotonic() after which nothing is sent again."""
        self._call = call
        self._retries = self._left = retries
        self._pause = self.FIRST_PAUSE_S
        self._until = until

    def renew(self) -> None:
        """It works; the next failure is the first again."""
        self._left, self._pause = self._retries, self.FIRST_PAUSE_S

    def pause_after(self, error: errors.OpscoreError) -> float:
        """Raises the error when it is time to give up. What was never sent may always be sent
        again, other things only when a second time does no harm."""
        pause = self._next_pause(error)
        late = self._until is not None and monotonic() + pause > self._until
        if not self._may_repeat(error) or self._left == 0 or late:
            raise error
        self._left -= 1
        self._pause = min(self._pause * 2, self.LONGEST_PAUSE_S)
        return pause

    def _may_repeat(self, error: errors.OpscoreError) -> bool:
        if isinstance(error, errors.ConnectionFailed):
            return self._call.repeatable or not error.sent
        if isinstance(error, errors.ApiError):
            return self._call.repeatable and error.status in (429, 502, 503, 504)
        return False

    def _next_pause(self, error: errors.OpscoreError) -> float:
        pause = self._pause * random.uniform(0.5, 1.0)
        told = error.retry_after if isinstance(error, errors.ApiError) else None
        return pause if told is None else min(max(pause, told), self.LONGEST_PAUSE_S)


# ---------------------------------------------------------------- values on the wire


def duration(value: types.Duration) -> Union[str, float]:
    """
    >>> duration(datetime.timedelta(minutes=2)), duration("10m"), duration(3)
    (120.0, '10m', 3)
    """
    return value.total_seconds() if isinstance(value, datetime.timedelta) else value


def time(value: types.Time) -> str:
    """
    >>> time(datetime.datetime(2030, 1, 31, tzinfo=datetime.timezone.utc))
    '2030-01-31T00:00:00+00:00'
    """
    if not isinstance(value, datetime.datetime):
        return value
    if value.tzinfo is None:
        raise ValueError(
            f"{value!r} has no time zone, so it is no moment in time; "
            "use datetime.now(timezone.utc), or .astimezone() for local time"
        )
    return value.isoformat()


def _time_or_duration(value: Union[types.Time, types.Duration]) -> Union[str, float]:
    return time(value) if isinstance(value, datetime.datetime) else duration(value)


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "run_at": time,
    "delay": duration,
    "timeout": duration,
    "deadline": _time_or_duration,
}


def _known(names: Iterable[str], allowed: frozenset[str], what: str) -> None:
    for name in names:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(sorted(allowed))
            raise TypeError(f"there is no {what} {name!r}; {hint}")


def encode(attempted: str, value: Any) -> bytes:
    """Strict JSON in UTF-8: NaN, infinities, lone surrogates and other objects are refused here,
    where the stack still shows who made them."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError) as error:
        raise errors.Invalid(
            attempted, 422, {"type": errors.URN + "invalid", "detail": f"not JSON: {error}"}
        ) from error


def submit_body(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The document of a submit; what is None is not said, except the input."""
    _known(fields, FIELDS, "option of a submit")
    return {
        name: _CONVERT[name](value) if name in _CONVERT and value is not None else value
        for name, value in fields.items()
        if value is not None or name == "input_data"
    }


def _has_key(fields: Mapping[str, Any]) -> bool:
    return bool(fields.get("idempotency_key") or fields.get("task_id"))


def _path(*parts: str) -> str:
    return "/api/v1/" + "/".join(urllib.parse.quote(part, safe="") for part in parts)


def _query(pairs: Iterable[tuple[str, Any]]) -> str:
    present = [(name, value) for name, value in pairs if value is not None]
    return "?" + urllib.parse.urlencode(present) if present else ""


# ---------------------------------------------------------------- tasks


def submit(task_type: str, input_data: Any, options: Mapping[str, Any]) -> Call[types.Submitted]:
    attempted = f"submit a task of type {task_type!r}"
    _known(options, OPTIONS, "option of a submit")
    fields = {"task_type": task_type, "input_data": input_data, **options}
    return Call(
        attempted,
        "POST",
        _path("tasks"),
        _submitted,
        encode(attempted, submit_body(fields)),
        repeatable=_has_key(options),
    )


def _submitted(answer: Answer) -> types.Submitted:
    return types.Submitted.from_json({**answer.json(), "replayed": answer.status == 200})


def take_message(actor: str, body: bytes) -> Call[types.Submitted]:
    """A message of Dramatiq as its encoder made it, which may say more than strict JSON."""
    return Call(
        f"send a message for actor {actor!r}",
        "POST",
        _path("dramatiq", "messages"),
        _submitted,
        body,
        repeatable=True,
    )


def batch(tasks: Iterable[Mapping[str, Any]], atomic: bool) -> Call[list[types.BatchItem]]:
    bodies = [submit_body(each) for each in tasks]
    attempted = f"submit a batch of {len(bodies)} tasks"
    return Call(
        attempted,
        "POST",
        _path("tasks", "batch") + ("" if atomic else "?atomic=false"),
        lambda answer: [types.BatchItem.from_json(each) for each in answer.json()["tasks"]],
        encode(attempted, {"tasks": bodies}),
        repeatable=bool(bodies) and all(map(_has_key, bodies)),
    )


def _read_task(answer: Answer) -> types.Task:
    return types.Task.from_json(answer.json())


def get(task_id: str, wait_s: Optional[float] = None) -> Call[types.Task]:
    query = "" if wait_s is None else f"?wait={max(wait_s, 0.0):.3f}s"
    return Call(
        f"read task {task_id!r}",
        "GET",
        _path("tasks", task_id) + query,
        _read_task,
        repeatable=True,
        held_s=wait_s or 0.0,
    )


def result_of(task: types.Task) -> Any:
    """Of a task that is done."""
    if task.status == "completed":
        return task.result
    raise (errors.TaskCancelled if task.status == "cancelled" else errors.TaskFailed)(task)


def wait_of_one_request(until: Optional[float]) -> float:
    """In seconds; `until` is a moment of time.monotonic()."""
    left = WAIT_MAX_S if until is None else until - monotonic()
    return min(max(left, 0.0), WAIT_MAX_S)


def cancel(task_id: str) -> Call[types.Task]:
    return Call(f"cancel task {task_id!r}", "POST", _path("tasks", task_id, "cancel"), _read_task)


def retry(task_id: str, input_data: Any) -> Call[types.Task]:
    attempted = f"retry task {task_id!r}"
    body = None if input_data is UNSET else encode(attempted, {"input_data": input_data})
    return Call(attempted, "POST", _path("tasks", task_id, "retry"), _read_task, body)


def delete(task_id: str) -> Call[None]:
    return Call(f"delete task {task_id!r}", "DELETE", _path("tasks", task_id), lambda _: None)


def list_tasks(
    filters: Mapping[str, Any], limit: Optional[int], cursor: Optional[str]
) -> Call[types.Page]:
    _known(filters, FILTERS, "filter of a list")
    status = filters.get("status")
    pairs: list[tuple[str, Any]] = [
        ("status", status if status is None or isinstance(status, str) else ",".join(status)),
        ("task_type", filters.get("task_type")),
        ("queue", filters.get("queue")),
        *(("label", f"{key}:{value}") for key, value in (filters.get("labels") or {}).items()),
        *((name, time(filters[name])) for name in _TIMES if filters.get(name) is not None),
        ("limit", limit),
        ("cursor", cursor),
    ]
    return Call("list tasks", "GET", _path("tasks") + _query(pairs), _page, repeatable=True)


_TIMES = ("created_after", "created_before")


def _page(answer: Answer) -> types.Page:
    document = answer.json()
    tasks = [types.Task.from_json(each) for each in document["tasks"]]
    return types.Page(tasks, document["next_cursor"], document["partial"])


def history(task_id: str) -> Call[list[types.Event]]:
    return Call(
        f"read the events of task {task_id!r}",
        "GET",
        _path("tasks", task_id, "events"),
        lambda answer: [types.Event.from_json(each) for each in answer.json()["events"]],
        repeatable=True,
    )


def follow(task_id: str, after: int) -> Call[None]:
    """The live stream of events; its body is read as it comes."""
    headers = {"Accept": "text/event-stream"}
    if after > 0:
        headers["Last-Event-ID"] = str(after)
    return Call(
        f"follow task {task_id!r}",
        "GET",
        _path("tasks", task_id, "events"),
        lambda _: None,
        repeatable=True,
        held_s=STREAM_SILENCE_S,
        headers=headers,
    )


def explain(task_id: str) -> Call[types.Explanation]:
    return Call(
        f"explain task {task_id!r}",
        "GET",
        _path("tasks", task_id, "explain"),
        lambda answer: types.Explanation.from_json(answer.json()),
        repeatable=True,
    )


# ---------------------------------------------------------------- queues, actors, the server


def _read_queue(answer: Answer) -> types.Queue:
    return types.Queue.from_json(answer.json())


def queues() -> Call[list[types.Queue]]:
    return Call(
        "list queues",
        "GET",
        _path("queues"),
        lambda answer: [types.Queue.from_json(each) for each in answer.json()["queues"]],
        repeatable=True,
    )


def queue(name: str) -> Call[types.Queue]:
    return Call(f"read queue {name!r}", "GET", _path("queues", name), _read_queue, repeatable=True)


def pause_queue(name: str) -> Call[types.Queue]:
    target = _path("queues", name, "pause")
    return Call(f"pause queue {name!r}", "POST", target, _read_queue, repeatable=True)


def resume_queue(name: str) -> Call[types.Queue]:
    target = _path("queues", name, "resume")
    return Call(f"resume queue {name!r}", "POST", target, _read_queue, repeatable=True)


def purge_queue(name: str) -> Call[int]:
    target = _path("queues", name, "purge")
    return Call(
        f"purge queue {name!r}", "POST", target, lambda answer: int(answer.json()["purged"])
    )


def actors() -> Call[list[types.Actor]]:
    return Call(
        "list actors",
        "GET",
        _path("actors"),
        lambda answer: [types.Actor.from_json(each) for each in answer.json()["actors"]],
        repeatable=True,
    )


def actor(task_type: str) -> Call[types.Actor]:
    return Call(
        f"read actor {task_type!r}",
        "GET",
        _path("actors", task_type),
        lambda answer: types.Actor.from_json(answer.json()),
        repeatable=True,
    )


def request(method: str, path: str, body: Any) -> Call[Any]:
    attempted = f"{method} {path}"
    return Call(
        attempted,
        method,
        path if path.startswith("/") else "/api/v1/" + path,
        lambda answer: answer.json() if answer.body else None,
        None if body is UNSET else encode(attempted, body),
        repeatable=method in ("GET", "HEAD"),
    )
