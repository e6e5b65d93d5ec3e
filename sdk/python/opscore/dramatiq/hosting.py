"""Dramatiq's actors as opscore runs them: what `opscore dramatiq` does in its interpreters.

The store does what some of the middleware does elsewhere, so that is not asked: retries, time
limits, callbacks and pipelines of messages, groups. Every other middleware is called before
and after a message as Dramatiq's own worker would call it.
"""

from __future__ import annotations

import importlib
import logging
import os
import time
from functools import reduce
from types import ModuleType, SimpleNamespace
from typing import Any, Callable, Optional

import dramatiq
from dramatiq.broker import Broker, MessageProxy
from dramatiq.errors import Retry as DramatiqRetry
from dramatiq.middleware import (
    Callbacks,
    GroupCallbacks,
    Middleware,
    Pipelines,
    Retries,
    Shutdown,
    ShutdownNotifications,
    SkipMessage,
    TimeLimit,
    TimeLimitExceeded,
)
from dramatiq.middleware.threading import Interrupt

from opscore._host.catalogue import ENDINGS, Hosted
from opscore.actors import Fail

DONE_BY_THE_STORE = (
    Callbacks,
    GroupCallbacks,
    Pipelines,
    Retries,
    ShutdownNotifications,
    TimeLimit,
)
MAX_BACKOFF_MS = 7 * 24 * 3_600_000  # Dramatiq's default
NO_LIMIT_MS = 30 * 24 * 3_600_000

logger = logging.getLogger("opscore.dramatiq")


class Cancelled(Interrupt):
    """Somebody has cancelled the task that this message became."""


STOPS: dict[str, type[BaseException]] = {
    "timeout": TimeLimitExceeded,
    "draining": Shutdown,
    "cancelled": Cancelled,
}


def load(modules: list[str]) -> dict[str, Hosted]:
    """The actors of an application: the first module names the broker, as `dramatiq` has it."""
    broker = _broker_of(modules[0])
    for module in modules[1:]:
        importlib.import_module(module)
    _tell_what_is_not_taken(broker)
    worker = SimpleNamespace(broker=broker, logger=logger, queues=None)
    hooks = [each for each in broker.middleware if not isinstance(each, DONE_BY_THE_STORE)]
    broker.emit_after("process_boot")
    _emit(hooks, "before_worker_boot", broker, worker)
    _emit(hooks, "after_worker_boot", broker, worker)

    def end() -> None:
        _emit(hooks, "before_worker_shutdown", broker, worker)
        _emit(hooks, "after_worker_shutdown", broker, worker)

    ENDINGS.append(end)
    return {name: _hosted(broker, hooks, actor) for name, actor in broker.actors.items()}


def _broker_of(name: str) -> Broker:
    module, path = name.partition(":")[::2]
    found: Any = importlib.import_module(module)
    try:
        found = reduce(getattr, path.split(".") if path else [], found)
    except AttributeError as error:
        raise ImportError(f"there is no {path!r} in the module {module!r}") from error
    if isinstance(found, ModuleType) and not path:
        return dramatiq.get_broker()
    if callable(found) and not isinstance(found, Broker):
        found()
        return dramatiq.get_broker()
    if not isinstance(found, Broker):
        raise ImportError(f"{name!r} is not a Broker but {type(found).__name__}")
    return found


def _tell_what_is_not_taken(broker: Broker) -> None:
    """Messages come from the RabbitMQ that opscore knows, never from elsewhere."""
    kind = type(broker).__name__
    if kind == "RabbitmqBroker" and not os.environ.get("RABBITMQ_URL"):
        logger.warning(
            "The broker is a RabbitmqBroker, and RABBITMQ_URL is not set: messages are not taken "
            "from RabbitMQ. Set it, or send with opscore.dramatiq.OpscoreBroker."
        )
    elif kind == "RedisBroker":
        logger.warning(
            "The broker is a RedisBroker: messages are not taken from Redis. Send with a "
            "RabbitmqBroker, or with opscore.dramatiq.OpscoreBroker."
        )


def _emit(hooks: list[Middleware], signal: str, broker: Broker, *args: Any, **kwargs: Any) -> None:
    """As Broker.emit_before and emit_after: in order, and in reverse; a failing hook is logged."""
    for hook in hooks if signal.startswith("before_") else reversed(hooks):
        try:
            getattr(hook, signal)(broker, *args, **kwargs)
        except SkipMessage:
            raise
        except Exception:
            logger.critical("Unexpected failure in %s of %r.", signal, hook, exc_info=True)


def _of_kind(broker: Broker, kind: type[Middleware]) -> Any:
    return next((each for each in broker.middleware if isinstance(each, kind)), None)


def _entry(broker: Broker, actor: Any) -> dict[str, Any]:
    """The actor's row of the catalogue, with the defaults that its middleware gives it."""
    retries, limit = _of_kind(broker, Retries), _of_kind(broker, TimeLimit)
    entry: dict[str, Any] = {
        "type": actor.actor_name,
        "queue": actor.queue_name,
        "version": f"dramatiq {dramatiq.__version__}",
        "description": (actor.fn.__doc__ or "").strip().split("\n\n")[0],
        "timeout_ms": NO_LIMIT_MS,
    }
    if limit is not None:
        entry["timeout_ms"] = actor.options.get("time_limit") or limit.time_limit or NO_LIMIT_MS
    if retries is None:
        return {**entry, "max_attempts": 1}
    most = actor.options.get("max_retries", retries.max_retries)
    decides_itself = actor.options.get("retry_when", retries.retry_when) is not None
    entry["max_attempts"] = 0 if most is None or decides_itself else most + 1
    least = actor.options.get("min_backoff", retries.min_backoff)
    greatest = min(actor.options.get("max_backoff", retries.max_backoff), MAX_BACKOFF_MS)
    entry["retry"] = {
        "min_ms": least,
        "max_ms": max(least, greatest // 2),
        "factor": 2,
        "jitter_low": 1,
        "jitter_high": 2,
    }
    return entry


def message_of(actor: Any, task: Any) -> dramatiq.Message[Any]:
    """The message that a task is of, or that would have become this task.

    An input without `args` and `kwargs` was submitted by somebody who does not know of Dramatiq: an
    object is keyword arguments, anything else the only argument.
    """
    given, metadata = task.input, task.metadata or {}
    if isinstance(given, dict) and set(given) == {"args", "kwargs"}:
        args, kwargs = given["args"], given["kwargs"]
    elif isinstance(given, dict):
        args, kwargs = [], given
    else:
        args, kwargs = [] if given is None else [given], {}
    options = dict(metadata.get("dramatiq_options") or {})
    if task.charged:
        options["retries"] = task.charged + _retries_before(task)
    return dramatiq.Message(
        queue_name=actor.queue_name,
        actor_name=actor.actor_name,
        args=tuple(args),
        kwargs=kwargs,
        options=options,
        message_id=metadata.get("dramatiq_message_id") or task.id,
        message_timestamp=metadata.get("dramatiq_message_timestamp") or int(time.time() * 1000),
    )


def _retries_before(task: Any) -> int:
    """Those that the message says were made before it became this task."""
    return int((task.metadata or {}).get("dramatiq_options", {}).get("retries") or 0)


def _hosted(broker: Broker, hooks: list[Middleware], actor: Any) -> Hosted:
    callbacks = _of_kind(broker, Callbacks)
    retries = _of_kind(broker, Retries)
    retry_when = actor.options.get("retry_when", getattr(retries, "retry_when", None))

    def invoke(task: Any) -> Any:
        message = MessageProxy(message_of(actor, task))
        try:
            _emit(hooks, "before_process_message", broker, message)
            result = None if message.failed else actor(*message.args, **message.kwargs)
            _emit(hooks, "after_process_message", broker, message, result=result)
        except SkipMessage:
            _emit(hooks, "after_skip_message", broker, message)
            return _settled(message, None)
        except BaseException as error:
            message.stuff_exception(error)
            _judge(actor, retry_when, message, task, error)
            _emit(hooks, "after_process_message", broker, message, exception=error)
            _call_back(callbacks, broker, actor, message, exception=error)
            _tell_exhausted(broker, actor, message, task, error)
            _emit_end(hooks, broker, message, is_final=_is_final(task, error))
            raise
        _call_back(callbacks, broker, actor, message, result=result)
        return _settled(message, result)

    def _settled(message: MessageProxy, result: Any) -> Any:
        _emit_end(hooks, broker, message, is_final=message.failed)
        if message.failed:
            raise Fail("a middleware has failed the message", kind="rejected")
        return result

    return Hosted(_entry(broker, actor), invoke, False, STOPS)


def _emit_end(
    hooks: list[Middleware], broker: Broker, message: MessageProxy, is_final: bool
) -> None:
    """What the consumer would say after it: ack, or nack for what is dead."""
    word = "nack" if is_final else "ack"
    _emit(hooks, f"before_{word}", broker, message)
    _emit(hooks, f"after_{word}", broker, message)


def _is_final(task: Any, error: BaseException) -> bool:
    return not getattr(error, "opscore_retryable", True) or task.is_last_attempt()


def _judge(
    actor: Any,
    retry_when: Optional[Callable[[int, BaseException], bool]],
    message: MessageProxy,
    task: Any,
    error: Any,
) -> None:
    """Says on the error what Dramatiq's Retries would make of it."""
    if task.stopping is not None:
        return
    throws = message.options.get("throws") or actor.options.get("throws")
    if throws and isinstance(error, throws):
        error.opscore_retryable = False
        logger.info("Aborting message %s: expected %s.", message.message_id, type(error).__name__)
    elif retry_when is not None:
        error.opscore_retryable = bool(retry_when(message.options.get("retries") or 0, error))
    if isinstance(error, DramatiqRetry) and error.delay is not None:
        error.opscore_delay = error.delay / 1000  # type: ignore[attr-defined]


def _call_back(
    callbacks: Any, broker: Broker, actor: Any, message: MessageProxy, **ended: Any
) -> None:
    """Callbacks that the actor declares. Those that a message names are the store's to send."""
    if callbacks is None or {"on_success", "on_failure"} & set(message.options):
        return
    if actor.options.get("on_success") or actor.options.get("on_failure"):
        callbacks.after_process_message(broker, message, **ended)


def _tell_exhausted(
    broker: Broker, actor: Any, message: MessageProxy, task: Any, error: BaseException
) -> None:
    """The actor that is to be told when all attempts have failed, as the actor declares it."""
    name = actor.options.get("on_retry_exhausted")
    was_judged = not getattr(error, "opscore_retryable", True)
    if name is None or "on_retry_exhausted" in message.options or was_judged:
        return
    if task.stopping in (None, "timeout") and task.is_last_attempt():
        before = _retries_before(task)
        counts = {"retries": task.charged + before, "max_retries": task.budget - 1 + before}
        broker.get_actor(name).send(message.asdict(), counts)
