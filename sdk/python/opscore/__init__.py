"""opscore from Python: submit tasks and follow them, write actors, go on using Dramatiq.

Names are imported when they are first used, so that a program pays only for what it needs: an
actor's module does not load the HTTP client.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opscore.aio import AsyncClient as AsyncClient
    from opscore.client import Client as Client
    from opscore.errors import OpscoreError as OpscoreError
    from opscore.errors import TaskFailed as TaskFailed

__version__ = "0.1.0"

_HOME_OF = {
    "AsyncClient": "opscore.aio",
    "Client": "opscore.client",
    "OpscoreError": "opscore.errors",
    "TaskFailed": "opscore.errors",
    "actor": "opscore.actors",
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
