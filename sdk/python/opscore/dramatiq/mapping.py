"""A message of Dramatiq as the submit of a task: what `OpscoreBroker` sends. Pure, and without
Dramatiq. The same task that adoption from RabbitMQ makes of the message:

    actor_name                the task's type; `execute_agent_task_actor` is agent_task
    queue_name                its queue, without `.DQ`
    args, kwargs              the input: {"args": [...], "kwargs": {...}}; an agent gets its fields
    kwargs.task_id            the task's id; without one it is the message_id
    options.eta               run_at
    options.max_retries       max_attempts: one more; null is no limit
    options.min_backoff, max_backoff      backoff, doubled each time
    options.time_limit        timeout
    options.max_age           deadline, counted from message_timestamp
    options.broker_priority   priority, 0 to 100
    message_id, message_timestamp, options    metadata, with `dramatiq_` before their names

The message comes first, then what the actor declares in opscore, then Dramatiq's own defaults.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from opscore import errors, types

TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
PRIORITY_MAX = 100
LOSSY_PLACES_MAX = 100
ATTEMPTS_MAX = 1_000_000
TIME_LIMIT_MAX_MS = 30 * 24 * 3_600_000
AGENT_ACTOR = "execute_agent_task_actor"
AGENT_TYPE = "agent_task"
AGENT_PARAMETERS = ("task_id", "goal", "input_data")
"""Under which name Python sends tasks for opscore's own agent, unless that name is declared as an
actor of its own; and with which arguments."""

MAX_RETRIES = 20
MIN_BACKOFF_MS = 15_000
MAX_BACKOFF_MS = 7 * 24 * 3_600_000
TIME_LIMIT_MS = 600_000
"""Dramatiq's defaults."""

AT_THE_END = {
    "on_success": "a callback",
    "on_failure": "a callback",
    "on_retry_exhausted": "a callback",
    "pipe_target": "a pipeline",
    "group_completion_callbacks": "a group with callbacks",
}
"""Messages that are to be sent when the task ends. Only a message from RabbitMQ has them kept."""

Message = Mapping[str, Any]
"""The body, as the wire has it: queue_name, actor_name, args, kwargs, options, and so on."""


class NotCarried(errors.OpscoreError):
    """The message asks for something that a submit cannot say. Nothing was submitted."""


@dataclasses.dataclass(frozen=True)
class Submission:
    """What `Client.submit` takes."""

    task_type: str
    input_data: Any
    options: types.SubmitOptions


def submission(body: bytes, actor: types.Actor) -> Submission:
    """The task to submit for a message's body; `actor` is what opscore knows of its actor.

    >>> actor = types.Actor.from_json({"task_type": "add", "kind": "python", "max_attempts": 7})
    >>> task = submission(b'''{"queue_name": "default", "actor_name": "add", "args": [1, 2],
    ...     "kwargs": {}, "options": {"time_limit": 60000},
    ...     "message_id": "m-1", "message_timestamp": 1700000000000}''', actor)
    >>> task.task_type, task.input_data, task.options["task_id"]
    ('add', {'args': [1, 2], 'kwargs': {}}, 'm-1')
    >>> task.options["max_attempts"], task.options["timeout"]
    (7, '60000ms')
    """
    message = _decode(body)
    _refuse_what_follows(message)
    arguments = {"args": message["args"], "kwargs": message["kwargs"]}
    lossy: list[str] = []
    input_data = _strict(_agent_input(message) if actor.kind == "agent" else arguments, "", lossy)
    wanted = wanted_id(message, actor)
    options = types.SubmitOptions(
        queue=canonical_queue(message["queue_name"]),
        task_id=wanted if is_task_id(wanted) else message["message_id"],
        metadata=_metadata(message, lossy, "" if is_task_id(wanted) else wanted),
        max_attempts=_attempts(message["options"], actor),
        backoff=_backoff(message["options"], actor),
        timeout=_timeout(message["options"], actor),
    )
    options.update(_times(message))
    if message["options"].get("broker_priority"):
        priority = int(message["options"]["broker_priority"])
        options["priority"] = max(0, min(priority, PRIORITY_MAX))
    return Submission(actor.task_type, input_data, options)


def derived_id(message_id: str) -> str:
    """Of a task whose wanted id is another's; as adoption derives it.

    >>> derived_id("m-1")
    'message:a461b472cb41a9ec3dee5c90cf8e4a78'
    """
    return "message:" + hashlib.sha256(message_id.encode()).hexdigest()[:32]


def with_derived_id(task: Submission) -> Submission:
    """For a wanted id that belongs to another task: it is kept in the metadata."""
    options = task.options.copy()
    metadata = {**options["metadata"], "dramatiq_task_id": options["task_id"]}
    options["metadata"] = metadata
    options["task_id"] = derived_id(metadata["dramatiq_message_id"])
    return dataclasses.replace(task, options=options)


def wanted_id(message: Message, actor: types.Actor) -> str:
    """The `task_id` among its arguments; empty when there is none."""
    arguments = _agent_arguments(message) if actor.kind == "agent" else message["kwargs"]
    wanted = arguments.get("task_id")
    return wanted if isinstance(wanted, str) else ""


def is_task_id(text: str) -> bool:
    return TASK_ID.fullmatch(text) is not None and text != "batch"


def canonical_queue(name: str) -> str:
    """
    >>> canonical_queue("default.DQ"), canonical_queue("default.XQ"), canonical_queue("mail")
    ('default', 'default', 'mail')
    """
    return name[:-3] if name.endswith((".DQ", ".XQ")) else name


def _decode(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise errors.Invalid(
            "enqueue a message",
            422,
            {"detail": f"its encoder made no JSON: {error}; use dramatiq's JSONEncoder"},
        ) from error
    assert isinstance(message, dict)
    return message


def _refuse_what_follows(message: Message) -> None:
    for name, words in AT_THE_END.items():
        if message["options"].get(name):
            raise NotCarried(
                f"enqueue message {message['message_id']} for actor {message['actor_name']!r}",
                f"{words} (option {name}) is not carried over HTTP",
                "Send it through RabbitMQ, from where opscore adopts it with its callbacks.",
            )


def _agent_arguments(message: Message) -> dict[str, Any]:
    """Under the names that they have in execute_agent_task_actor(task_id, goal, input_data)."""
    arguments = dict(message["kwargs"])
    for place, value in enumerate(message["args"]):
        known = place < len(AGENT_PARAMETERS)
        arguments[AGENT_PARAMETERS[place] if known else f"argument_{place + 1}"] = value
    return arguments


def _agent_input(message: Message) -> dict[str, Any]:
    arguments = _agent_arguments(message)
    data = arguments.pop("input_data", None)
    arguments.pop("task_id", None)
    fields = data if isinstance(data, dict) else {} if data is None else {"input_data": data}
    return {**fields, **{name: value for name, value in arguments.items() if value is not None}}


def _metadata(message: Message, lossy: list[str], unusable_id: str) -> dict[str, Any]:
    metadata = {
        "dramatiq_message_id": message["message_id"],
        "dramatiq_message_timestamp": message["message_timestamp"],
        "dramatiq_options": _strict(message["options"], "options", []),
    }
    if unusable_id:
        metadata["dramatiq_task_id"] = _escaped(unusable_id)
    if lossy:
        metadata["dramatiq_lossy"] = lossy[:LOSSY_PLACES_MAX]
    if len(lossy) > LOSSY_PLACES_MAX:
        metadata["dramatiq_lossy_total"] = len(lossy)
    return metadata


def _attempts(options: Mapping[str, Any], actor: types.Actor) -> int:
    attempts = MAX_RETRIES + 1 if actor.max_attempts is None else actor.max_attempts
    if "max_retries" in options:
        retries = options["max_retries"]
        if retries is None:
            return 0
        attempts = int(retries) + 1
    elif attempts == 0:
        return 0
    before = int(options.get("retries") or 0)  # Python may have tried it already
    return max(1, min(attempts - before, ATTEMPTS_MAX))


def _backoff(options: Mapping[str, Any], actor: types.Actor) -> dict[str, Any]:
    """Dramatiq waits min * 2^n, times 1 to 2, and at most half to all of max."""
    least, most = options.get("min_backoff"), options.get("max_backoff")
    backoff = dict(actor.backoff or _doubled(MIN_BACKOFF_MS, f"{MAX_BACKOFF_MS}ms"))
    if least is not None:
        backoff = _doubled(_bounded(least), backoff["max"])
    if most is not None:
        backoff["max"] = f"{_bounded(most)}ms"
    if _ms(backoff["min"]) > _ms(backoff["max"]):
        backoff["min"] = backoff["max"]
    return backoff


def _ms(duration: str) -> float:
    """
    >>> _ms("250ms"), _ms("1h30m")
    (250.0, 5400000.0)
    """
    units = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    return sum(float(n) * units[unit] for n, unit in re.findall(r"([\d.]+)(ms|[smhd])", duration))


def _doubled(least_ms: int, most: str) -> dict[str, Any]:
    return {"min": f"{least_ms * 2}ms", "max": most, "factor": 2, "jitter": [0.5, 1]}


def _bounded(ms: float) -> int:
    return int(max(0, min(ms, MAX_BACKOFF_MS)))


def _timeout(options: Mapping[str, Any], actor: types.Actor) -> str:
    limit = options.get("time_limit")
    if limit is None or not limit > 0:
        return actor.timeout or f"{TIME_LIMIT_MS}ms"
    return f"{int(max(1, min(limit, TIME_LIMIT_MAX_MS)))}ms"


def _times(message: Message) -> types.SubmitOptions:
    options = message["options"]
    found = types.SubmitOptions()
    if options.get("eta") is not None:
        found["run_at"] = _time(options["eta"])
    if options.get("max_age"):
        found["deadline"] = _time(message["message_timestamp"] + options["max_age"])
    return found


def _time(ms: float) -> str:
    moment = datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds")


def _strict(value: Any, place: str, lossy: list[str]) -> Any:
    """As strict JSON has it: NaN and infinities become null and are noted in `lossy`, a lone
    surrogate the text of its escape.

    >>> places = []
    >>> _strict({"x": [1, float("inf")]}, "", places), places
    ({'x': [1, None]}, ['x[1]'])
    """
    if isinstance(value, float) and not math.isfinite(value):
        lossy.append(place)
        return None
    if isinstance(value, str):
        return _escaped(value)
    if isinstance(value, list):
        return [_strict(each, f"{place}[{i}]", lossy) for i, each in enumerate(value)]
    if isinstance(value, dict):
        return {
            _escaped(name): _strict(each, f"{place}.{name}" if place else name, lossy)
            for name, each in value.items()
        }
    return value


def _escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
