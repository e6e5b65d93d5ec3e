"""The actor of `opscore bench --suite python`, with a hook before and after it."""

from __future__ import annotations

import opscore


@opscore.actor(name="bench.noop")
def noop(n: int, pad: str) -> None:
    return None


@opscore.before_task
def before(task: opscore.Context) -> None:
    pass


@opscore.after_task
def after(task: opscore.Context, error: object) -> None:
    pass
