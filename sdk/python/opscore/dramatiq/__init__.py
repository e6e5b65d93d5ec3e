"""Dramatiq beside opscore: a broker over HTTP, and the middleware that reports what Python ran.

This package needs `dramatiq`, which is not a dependency of `opscore`: install it beside.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opscore.dramatiq.broker import OpscoreBroker as OpscoreBroker
    from opscore.dramatiq.middleware import OpscoreMiddleware as OpscoreMiddleware
    from opscore.dramatiq.middleware import report_progress as report_progress

_HOME_OF = {
    "OpscoreBroker": "opscore.dramatiq.broker",
    "OpscoreMiddleware": "opscore.dramatiq.middleware",
    "report_progress": "opscore.dramatiq.middleware",
}

__all__ = [*_HOME_OF]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'opscore.dramatiq' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
