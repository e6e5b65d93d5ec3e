"""A message of Dramatiq as the submit of a task: what `OpscoreBroker` sends. Pure, and without
Dramatiq.

    actor_name                the task's type
    queue_name                its queue, without `.DQ`
    args, kwargs              the input: {"args": [...], "kwargs": {...}}; of an agent its kwargs
    kwargs.task_id            the task's id; without one it is the message_id
    options.eta               run_at
    options.max_retries       max_attempts: one more; null is no limit
    options.min_backoff, max_backoff      backoff, doubled each time
    options.time_limit        timeout
    options.max_age           deadline, counted from message_timestamp
    options.broker_priority   priority, at most 100
    message_id, message_timestamp, options    metadata, under `dramatiq`

What the message does not say is up to the actor's declaration in opscore.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Optional

from opscore import errors, types

TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
PRIORITY_MAX = 100
LOSSY_PLACES_MAX = 100
MIN_BACKOFF_MS = 15_000
MAX_BACKOFF_MS = 7 * 24 * 3_600_000

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


def submission(body: bytes, is_agent: bool) -> Submission:
    """The task to submit for a message's body.

    >>> task = submission(b'''{"queue_name": "default", "actor_name": "add", "args": [1, 2],
    ...     "kwargs": {}, "options": {"max_retries": 3, "time_limit": 60000},
    ...     "message_id": "m-1", "message_timestamp": 1700000000000}''', is_agent=False)
    >>> task.task_type, task.input_data, task.options["task_id"]
    ('add', {'args': [1, 2], 'kwargs': {}}, 'm-1')
    >>> task.options["max_attempts"], task.options["timeout"]
    (4, '60000ms')
    """
    message = _decode(body)
    _refuse_what_follows(message)
    lossy: list[str] = []
    strict = {name: _strict(message[name], name, lossy) for name in ("args", "kwargs")}
    options = types.SubmitOptions(
        queue=canonical_queue(message["queue_name"]),
        task_id=wanted_id(message) or message["message_id"],
        metadata=_metadata(message, lossy),
    )
    options.update(_retries(message["options"]))
    options.update(_times(message))
    if message["options"].get("broker_priority"):
        options["priority"] = min(int(message["options"]["broker_priority"]), PRIORITY_MAX)
    input_data = _agent_input(message, strict) if is_agent else strict
    return Submission(message["actor_name"], input_data, options)


def with_derived_id(task: Submission, message_id: str) -> Submission:
    """For a wanted id that belongs to another task: the message's own, and the wanted one kept."""
    options = task.options.copy()
    options["metadata"] = {**options["metadata"], "dramatiq_task_id": options["task_id"]}
    options["task_id"] = message_id
    return dataclasses.replace(task, options=options)


def wanted_id(message: Message) -> Optional[str]:
    """`kwargs.task_id`, when it can be the id of a task."""
    wanted = message["kwargs"].get("task_id")
    return wanted if isinstance(wanted, str) and TASK_ID.fullmatch(wanted) else None


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


def _agent_input(message: Message, strict: Mapping[str, Any]) -> Any:
    if message["args"]:
        raise NotCarried(
            f"enqueue message {message['message_id']} for agent {message['actor_name']!r}",
            "an agent takes keyword arguments only",
            "Send it as actor.send(goal=...).",
        )
    return {name: value for name, value in strict["kwargs"].items() if name != "task_id"}


def _metadata(message: Message, lossy: list[str]) -> dict[str, Any]:
    about = {
        "message_id": message["message_id"],
        "message_timestamp": message["message_timestamp"],
        "options": _strict(message["options"], "options", []),
    }
    return {"dramatiq": about, **({"dramatiq_lossy": lossy} if lossy else {})}


def _retries(options: Mapping[str, Any]) -> types.SubmitOptions:
    found = types.SubmitOptions()
    if "max_retries" in options:
        retries = options["max_retries"]
        found["max_attempts"] = 0 if retries is None else int(retries) + 1
    if "min_backoff" in options or "max_backoff" in options:
        longest = min(int(options.get("max_backoff", MAX_BACKOFF_MS)), MAX_BACKOFF_MS)
        shortest = min(int(options.get("min_backoff", MIN_BACKOFF_MS)), longest)
        found["backoff"] = {
            "min": f"{shortest}ms",
            "max": f"{longest}ms",
            "factor": 2,
            "jitter": [1, 2],
        }
    return found


def _times(message: Message) -> types.SubmitOptions:
    options = message["options"]
    found = types.SubmitOptions()
    if options.get("eta") is not None:
        found["run_at"] = _time(options["eta"])
    if options.get("time_limit") is not None:
        found["timeout"] = f"{int(options['time_limit'])}ms"
    if options.get("max_age") is not None:
        found["deadline"] = _time(message["message_timestamp"] + options["max_age"])
    return found


def _time(ms: float) -> str:
    moment = datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc)
    return moment.isoformat(timespec="milliseconds")


def _strict(value: Any, place: str, lossy: list[str]) -> Any:
    """As strict JSON has it: NaN and infinities become null and are noted in `lossy`, a lone
    surrogate the text of its escape.

    >>> places = []
    >>> _strict({"x": [1, float("inf")]}, "args", places), places
    ({'x': [1, None]}, ['args.x[1]'])
    """
    if isinstance(value, float) and not math.isfinite(value):
        if len(lossy) < LOSSY_PLACES_MAX:
            lossy.append(place)
        return None
    if isinstance(value, str):
        return _escaped(value)
    if isinstance(value, list):
        return [_strict(each, f"{place}[{i}]", lossy) for i, each in enumerate(value)]
    if isinstance(value, dict):
        return {
            _escaped(name): _strict(each, f"{place}.{name}", lossy) for name, each in value.items()
        }
    return value


def _escaped(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
