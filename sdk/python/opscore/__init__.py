"""opscore from Python: submit tasks and follow them, write actors, go on using Dramatiq.

Names are imported when they are first used, so that a program pays only for what it needs: an
actor's module does not load the HTTP client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opscore.actors import Backoff as Backoff
    from opscore.actors import Fail as Fail
    from opscore.actors import NotSubmitted as NotSubmitted
    from opscore.actors import Retry as Retry
    from opscore.actors import Snooze as Snooze
    from opscore.actors import Stopped as Stopped
    from opscore.actors import actor as actor
    from opscore.actors import after_task as after_task
    from opscore.actors import before_task as before_task
    from opscore.aio import AsyncClient as AsyncClient
    from opscore.client import Client as Client
    from opscore.context import Context as Context
    from opscore.context import current_task as current_task
    from opscore.errors import OpscoreError as OpscoreError
    from opscore.errors import TaskFailed as TaskFailed

__version__ = "0.1.0"

_HOME_OF = {
    "AsyncClient": "opscore.aio",
    "Client": "opscore.client",
    "OpscoreError": "opscore.errors",
    "TaskFailed": "opscore.errors",
    "Backoff": "opscore.actors",
    "Context": "opscore.context",
    "Fail": "opscore.actors",
    "NotSubmitted": "opscore.actors",
    "Retry": "opscore.actors",
    "Snooze": "opscore.actors",
    "Stopped": "opscore.actors",
    "actor": "opscore.actors",
    "after_task": "opscore.actors",
    "before_task": "opscore.actors",
    "current_task": "opscore.context",
}

__all__ = ["__version__", *_HOME_OF]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'opscore' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
