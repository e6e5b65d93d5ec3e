"""What this interpreter is, so that two workers can be compared."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from importlib.machinery import ExtensionFileLoader, SourceFileLoader, SourcelessFileLoader
from time import monotonic
from types import ModuleType
from typing import Any

_SLOW = 0.1
_SHOWN_MAX = 50
_PACKAGES_MAX = 1000


@contextlib.contextmanager
def import_times() -> Iterator[dict[str, float]]:
    """How long the body of each module takes that is imported meanwhile, with what it imports."""
    times: dict[str, float] = {}

    def timed(execute: Any) -> Any:
        def exec_module(self: Any, module: ModuleType) -> None:
            began = monotonic()
            try:
                execute(self, module)
            finally:
                times[module.__name__] = monotonic() - began

        return exec_module

    # The loaders themselves stay as they are: some applications look at their types.
    loaders: list[Any] = [SourceFileLoader, SourcelessFileLoader, ExtensionFileLoader]
    own = [loader.__dict__.get("exec_module") for loader in loaders]
    for loader in loaders:
        loader.exec_module = timed(loader.exec_module)
    try:
        yield times
    finally:
        for loader, method in zip(loaders, own):
            if method is None:
                del loader.exec_module
            else:
                loader.exec_module = method


def facts(times: dict[str, float]) -> dict[str, Any]:
    slow = sorted(times.items(), key=lambda each: -each[1])[:_SHOWN_MAX]
    return {
        "executable": sys.executable,
        "version": sys.version.split()[0],
        "prefix": sys.prefix,
        "path": [os.path.abspath(folder) for folder in sys.path],
        "packages": packages(sys.path),
        "slow_imports_ms": {
            name: round(seconds * 1000) for name, seconds in slow if seconds >= _SLOW
        },
    }


def packages(path: list[str]) -> dict[str, str]:
    """Names with versions, as the names of their folders have them: reading each one's metadata
    takes longer than many an application does to start."""
    found: dict[str, str] = {}
    for folder in path:
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(folder or ".")):
                stem, suffix = os.path.splitext(name)
                package, _, version = stem.partition("-")
                if suffix in (".dist-info", ".egg-info") and version:
                    # Of an egg there is more than the version: 1.2-py3.11.
                    found.setdefault(package, version.partition("-py")[0])
    return dict(sorted(found.items())[:_PACKAGES_MAX])
