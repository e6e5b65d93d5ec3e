"""Results of Dramatiq messages that opscore ran, read over HTTP."""

from __future__ import annotations

from typing import Any, Optional

from dramatiq.results import ResultBackend, ResultFailure, ResultMissing, ResultTimeout

from opscore import errors, types
from opscore.client import Client
from opscore.dramatiq import mapping

TIMEOUT_MS = 10_000


class OpscoreResults(ResultBackend):
    """`message.get_result()` from the task itself: nothing has to be stored a second time, so
    `store_results` has no meaning here, and a result is there for as long as its task."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client

    def get_result(
        self, message: Any, *, block: bool = False, timeout: Optional[int] = None
    ) -> Any:
        """The result; ResultMissing, ResultTimeout (ms, when it blocks) or ResultFailure."""
        seconds = (TIMEOUT_MS if timeout is None else timeout) / 1000
        try:
            task = self._client.wait(self._task_id(message), seconds if block else 0.0)
        except errors.WaitTimeout as error:
            raise (ResultTimeout if block else ResultMissing)(str(error)) from error
        except errors.NotFound as error:
            raise ResultMissing(str(error)) from error
        return _result_of(task)

    def _task_id(self, message: Any) -> str:
        """Usually the wanted id; when that is another message's, the message's own."""
        message_id = str(message.message_id)
        wanted = mapping.wanted_id({"kwargs": message.kwargs})
        if wanted is None:
            return message_id
        try:
            about = (self._client.get(wanted).metadata or {}).get("dramatiq", {})
        except errors.NotFound:
            return message_id
        return wanted if about.get("message_id") == message_id else message_id


def _result_of(task: types.Task) -> Any:
    if task.status == "completed":
        return task.result
    kind = task.error.kind if task.error else task.status
    words = task.error.message if task.error else f"the task was {task.status}"
    raise ResultFailure(f"task {task.task_id} {task.status}: {kind}: {words}", kind, words)
