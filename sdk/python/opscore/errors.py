"""What can go wrong. Every error says what was attempted, what went wrong, and what to do.

OpscoreError
  ApiError               the server refused; one class for each word of docs/reference/errors.md
  ConnectionFailed       no answer came
  WaitTimeout            the task is not done after the time given; also a TimeoutError
  TaskFailed             the task ended `failed`; the client did all it was asked to
    TaskCancelled        ... or `cancelled`
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from opscore.types import Task

URN = "urn:opscore:error:"


class OpscoreError(Exception):
    """Base of all errors of this package.

    >>> print(OpscoreError("read task 'a'", "no answer within 3 s", "Try again."))
    could not read task 'a': no answer within 3 s. Try again.
    """

    def __init__(self, attempted: str, problem: str, advice: str) -> None:
        super().__init__(attempted, problem, advice)
        self.attempted = attempted
        self.problem = problem
        self.advice = advice

    def __str__(self) -> str:
        problem = self.problem.rstrip(".")
        return f"could not {self.attempted}: {problem}. {self.advice}".rstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses take other arguments than those in args; test runners and pools pickle them.
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(
    kind: type[OpscoreError], args: tuple[Any, ...], state: dict[str, Any]
) -> OpscoreError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class ConnectionFailed(OpscoreError):
    """No answer came. `sent` is false when the server certainly has not seen the request."""

    def __init__(self, attempted: str, problem: str, advice: str, *, sent: bool) -> None:
        super().__init__(attempted, problem, advice)
        self.sent = sent


class ApiError(OpscoreError):
    """The server answered with a problem document (RFC 9457).

    `kind` is the stable word at the end of the problem's type; `field` is what was wrong, as a
    path; `retry_after` is in seconds; `document` is the whole answer.
    """

    kind = ""
    advice_for_kind = "See docs/reference/errors.md."

    def __init__(
        self,
        attempted: str,
        status: int,
        document: Mapping[str, Any],
        retry_after: Optional[float] = None,
    ) -> None:
        detail = str(document.get("detail") or document.get("title") or f"status {status}")
        super().__init__(attempted, detail, self.advice_for_kind)
        self.status = status
        self.document = dict(document)
        self.kind = str(document.get("type", "")).removeprefix(URN) or self.kind
        self.field: Optional[str] = document.get("field")
        self.line: Optional[int] = document.get("line")
        self.column: Optional[int] = document.get("column")
        self.retry_after = retry_after


class Malformed(ApiError):
    kind = "malformed"
    advice_for_kind = "Send a JSON body in UTF-8; `line` and `column` say where it breaks."


class Unauthenticated(ApiError):
    kind = "unauthenticated"
    advice_for_kind = "Pass token=..., or set OPSCORE_API_TOKEN to the server's token."


class Forbidden(ApiError):
    kind = "forbidden"
    advice_for_kind = (
        "Call the server as localhost or 127.0.0.1, add the name to server.allowed_hosts, "
        "or give the server an API token."
    )


class NotFound(ApiError):
    kind = "not-found"
    advice_for_kind = "Check the id or name; a task may also be past its retention."


class MethodNotAllowed(ApiError):
    kind = "method-not-allowed"
    advice_for_kind = "The server may be older than this package; compare the versions."


class Conflict(ApiError):
    kind = "conflict"
    advice_for_kind = "Read the task and decide again; for keys, send the very same request."


class HandedToDramatiq(ApiError):
    kind = "handed-to-dramatiq"
    advice_for_kind = "Wait for the task's end; `opscore explain ID` says what is known of it."


class TooLarge(ApiError):
    kind = "too-large"
    advice_for_kind = "Split the batch, or keep large data elsewhere and submit a reference."


class Invalid(ApiError):
    kind = "invalid"
    advice_for_kind = "Change the field that it names."


class QueueFull(ApiError):
    kind = "queue-full"
    advice_for_kind = (
        "Try again later, or raise the limit: opscore queues set QUEUE --max-pending N."
    )


class Cancelled(ApiError):
    kind = "cancelled"
    advice_for_kind = "The request was given up before its answer."


class ServerTimeout(ApiError):
    kind = "timeout"
    advice_for_kind = "Try again; /ready says whether something is wrong."


class Unavailable(ApiError):
    kind = "unavailable"
    advice_for_kind = (
        "Nothing was accepted. Try again; with an idempotency_key the client does it itself."
    )


class Overloaded(ApiError):
    kind = "overloaded"
    advice_for_kind = "Try again later, with fewer connections or with batches."


class DiskLow(ApiError):
    kind = "disk-low"
    advice_for_kind = "Free some space on the server's disk, or lower `retention`."


class Corrupt(ApiError):
    kind = "corrupt"
    advice_for_kind = "Restore the data file from a backup; the server's log names the row."


class Internal(ApiError):
    kind = "internal"
    advice_for_kind = (
        "The request may or may not have had its effect; the server's log has the details."
    )


class RequestTimeout(ApiError):
    kind = "request-timeout"
    advice_for_kind = "Send less at once, or use a better line."


class UrlTooLong(ApiError):
    kind = "url-too-long"
    advice_for_kind = "Put fewer conditions into the query."


class UnsupportedMediaType(ApiError):
    kind = "unsupported-media-type"
    advice_for_kind = "Send application/json, not compressed."


class ExpectationFailed(ApiError):
    kind = "expectation-failed"
    advice_for_kind = "Leave the Expect header out; something on the way may have added it."


class HeaderTooLarge(ApiError):
    kind = "header-too-large"
    advice_for_kind = "Use a shorter token or idempotency key."


CLASS_OF: dict[str, type[ApiError]] = {each.kind: each for each in ApiError.__subclasses__()}


def problem(
    attempted: str,
    status: int,
    document: Mapping[str, Any],
    retry_after: Optional[float] = None,
) -> ApiError:
    """The error for an answer; words that this package does not know become plain `ApiError`s.

    >>> error = problem("read task 'a'", 404, {"type": URN + "not-found", "detail": "no such task"})
    >>> type(error).__name__, error.status
    ('NotFound', 404)
    """
    word = str(document.get("type", "")).removeprefix(URN)
    return CLASS_OF.get(word, ApiError)(attempted, status, document, retry_after)


class WaitTimeout(OpscoreError, TimeoutError):
    """The task is not done after the time given. `task` says where it is, and why."""

    def __init__(self, task: Task, seconds: float) -> None:
        reason = f": {task.reason}" if task.reason else ""
        super().__init__(
            f"wait for task {task.task_id} ({task.task_type})",
            f"it is {task.status} after {seconds:g} s{reason}",
            f"See: opscore explain {task.task_id}",
        )
        self.task = task


class TaskFailed(OpscoreError):
    """The task ended without a result. `task` has everything, `kind` and `message` the error."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.kind = task.error.kind if task.error else task.status
        self.message = task.error.message if task.error else ""
        super().__init__(
            f"get the result of task {task.task_id} ({task.task_type})",
            f"it {task.status} after {task.attempts} charged attempts"
            + (f": {self.kind}: {self.message}" if task.error else ""),
            f"See: opscore tasks show {task.task_id}",
        )


class TaskCancelled(TaskFailed):
    """The task was cancelled."""
