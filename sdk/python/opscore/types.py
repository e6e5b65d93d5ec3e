"""What the server answers, field for field as api/openapi.yaml has it, and what a submit takes.

Documents are frozen dataclasses. A field that this version does not know is in `document`, where
the answer is as it came; a field that the server left out is None.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any, Optional, TypedDict, TypeVar, Union

TERMINAL = ("completed", "failed", "cancelled")

Duration = Union[str, float, datetime.timedelta]
"""`"250ms"`, `"30s"`, `"10m"`, `"1h"`, `"7d"`, a number of seconds, or a timedelta."""

Time = Union[str, datetime.datetime]
"""RFC 3339, or a datetime that knows its time zone."""

Document = TypeVar("Document", bound="_Document")


def parse_time(text: str) -> datetime.datetime:
    """
    >>> parse_time("2026-11-20T11:19:46.022Z")
    datetime.datetime(2026, 11, 20, 11, 19, 46, 22000, tzinfo=datetime.timezone.utc)
    """
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


class SubmitOptions(TypedDict, total=False):
    """What a submit may say beside type and input; the table of docs/reference/rest.md."""

    queue: str
    priority: int
    run_at: Time
    delay: Duration
    max_attempts: int
    backoff: Mapping[str, Any]
    timeout: Duration
    deadline: Union[Time, Duration]
    idempotency_key: str
    task_id: str
    name: str
    labels: Mapping[str, str]
    metadata: Mapping[str, Any]
    webhook: Union[str, Mapping[str, Any]]


class _NamedTask(TypedDict):
    task_type: str


class NewTask(_NamedTask, SubmitOptions, total=False):
    """One task of a batch."""

    input_data: Any


class Filters(TypedDict, total=False):
    """The conditions of a list; all must hold."""

    status: Union[str, list[str]]
    task_type: str
    queue: str
    labels: Mapping[str, str]
    created_after: Time
    created_before: Time


@dataclasses.dataclass(frozen=True)
class _Document:
    document: Mapping[str, Any] = dataclasses.field(repr=False, compare=False)

    @classmethod
    def from_json(cls: type[Document], document: Mapping[str, Any]) -> Document:
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            has_default = field.default is not dataclasses.MISSING
            if field.name not in document and has_default:
                continue
            value = document.get(field.name)
            convert = field.metadata.get("convert")
            values[field.name] = convert(value) if convert and value is not None else value
        values["document"] = document
        return cls(**values)


def _time() -> Any:
    return dataclasses.field(metadata={"convert": parse_time})


@dataclasses.dataclass(frozen=True)
class TaskError(_Document):
    """Why an attempt or a task failed."""

    kind: str
    message: str
    detail: Optional[str]


@dataclasses.dataclass(frozen=True)
class Task(_Document):
    """A task as it was when it was read.

    >>> task = Task.from_json({"task_id": "a", "status": "completed", "result": 7})
    >>> task.task_id, task.result, task.is_done, task.error
    ('a', 7, True, None)
    """

    task_id: str
    task_type: str
    status: str
    name: Optional[str]
    queue: str
    priority: int
    input_data: Any
    result: Any
    error: Optional[TaskError] = dataclasses.field(metadata={"convert": TaskError.from_json})
    error_message: Optional[str]
    attempts: int
    attempt: int
    max_attempts: int
    created_at: datetime.datetime = _time()
    updated_at: datetime.datetime = _time()
    scheduled_at: Optional[datetime.datetime] = _time()
    started_at: Optional[datetime.datetime] = _time()
    completed_at: Optional[datetime.datetime] = _time()
    metadata: Optional[Mapping[str, Any]] = None
    labels: Optional[Mapping[str, str]] = None
    progress: Any = None
    worker: Optional[str] = None
    timeout: Optional[str] = None
    deadline: Optional[datetime.datetime] = dataclasses.field(
        default=None, metadata={"convert": parse_time}
    )
    backoff: Optional[Mapping[str, Any]] = None
    idempotency_key: Optional[str] = None
    webhook: Optional[Mapping[str, Any]] = None
    cancel_requested: Optional[bool] = None
    reason: Optional[str] = None
    warnings: Optional[list[str]] = None

    @property
    def is_done(self) -> bool:
        """Whether it is completed, failed or cancelled."""
        return self.status in TERMINAL


@dataclasses.dataclass(frozen=True)
class Submitted(_Document):
    """The answer to a submit. `replayed`: the same key had been used before, for this task."""

    task_id: str
    task_type: str
    status: str
    queue: str
    created_at: datetime.datetime = _time()
    warnings: Optional[list[str]] = None
    replayed: bool = False


@dataclasses.dataclass(frozen=True)
class BatchItem(_Document):
    """One entry of the answer to a batch: an accepted task, or with atomic=False a refused one."""

    status: str
    task_id: Optional[str]
    replayed: Optional[bool]
    warnings: Optional[list[str]]
    index: Optional[int]
    error: Optional[Mapping[str, Any]]

    @property
    def is_refused(self) -> bool:
        return self.status == "refused"


@dataclasses.dataclass(frozen=True)
class Page:
    """One page of a list. `partial`: the server stopped early; there may be more at the cursor."""

    tasks: list[Task]
    next_cursor: Optional[str]
    partial: bool


@dataclasses.dataclass(frozen=True)
class Event(_Document):
    """One line of a task's history. Those of kind `progress` have no number: they are not kept."""

    number: Optional[int]
    at: Optional[datetime.datetime] = _time()
    kind: str = ""
    attempt: Optional[int] = None
    data: Any = None


@dataclasses.dataclass(frozen=True)
class Queue(_Document):
    """A queue: how many of its tasks are in which state, its limits, and who serves it."""

    name: str
    pending: int
    scheduled: int
    running: int
    waiting: int
    dead: int
    completed: int
    cancelled: int
    oldest_pending_age_s: Optional[float]
    paused: bool
    max_pending: Optional[int]
    concurrency: Optional[int]
    max_input_bytes: Optional[int]
    limit_origins: Mapping[str, str]
    sessions: int
    slots: int


@dataclasses.dataclass(frozen=True)
class Actor(_Document):
    """What a task type runs."""

    task_type: str
    kind: str
    queue: str
    version: Optional[str]
    description: Optional[str]
    input_schema: Any
    timeout: Optional[str]
    max_attempts: Optional[int]
    backoff: Optional[Mapping[str, Any]]
    concurrency: Optional[int]
    concurrency_origin: str
    aliases: list[str]
    sandbox: Optional[Mapping[str, Any]]
    options: Optional[Mapping[str, Any]]
    seen_at: Optional[datetime.datetime] = _time()


@dataclasses.dataclass(frozen=True)
class Explanation(_Document):
    """Why a task is where it is, up to the first broken link."""

    task_id: str
    status: str
    verdict: str
    sentence: str
    next_command: Optional[str]
    hops: Optional[list[Mapping[str, Any]]]
