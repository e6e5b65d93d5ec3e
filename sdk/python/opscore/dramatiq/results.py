"""Results of Dramatiq messages that opscore ran, read over HTTP."""

from __future__ import annotations

import time
from typing import Any, Optional

from dramatiq.results import ResultBackend, ResultFailure, ResultMissing, ResultTimeout

from opscore import errors, types
from opscore.client import Client
from opscore.dramatiq.task_ids import derived_id, is_task_id

TIMEOUT_MS = 10_000
LOOK_EVERY_S = 0.05


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
        seconds = (TIMEOUT_MS if timeout is None else timeout) / 1000 if block else 0.0
        until = time.monotonic() + seconds
        while True:
            try:
                left = max(0.0, until - time.monotonic())
                return _result_of(self._client.wait(self._task_id(message), left))
            except (errors.WaitTimeout, errors.NotFound) as error:
                # A later stage of a pipeline is there once the one before it has ended.
                is_late = isinstance(error, errors.WaitTimeout) or time.monotonic() >= until
                if is_late or not block:
                    raise (ResultTimeout if block else ResultMissing)(str(error)) from error
            time.sleep(LOOK_EVERY_S)

    def _task_id(self, message: Any) -> str:
        """Its own, or the one that it wanted, unless that is another message's."""
        message_id = str(message.message_id)
        for wanted in (message.kwargs.get("task_id"), *message.args[:1]):
            if isinstance(wanted, str) and is_task_id(wanted):
                for task_id in (wanted, derived_id(message_id)):
                    if self._is_of(task_id, message_id):
                        return task_id
        return message_id

    def _is_of(self, task_id: str, message_id: str) -> bool:
        try:
            metadata = self._client.get(task_id).metadata or {}
        except errors.NotFound:
            return False
        return metadata.get("dramatiq_message_id") == message_id


def _result_of(task: types.Task) -> Any:
    if task.status == "completed":
        return task.result
    kind = task.error.kind if task.error else task.status
    words = task.error.message if task.error else f"the task was {task.status}"
    raise ResultFailure(f"task {task.task_id} {task.status}: {kind}: {words}", kind, words)
