"""The actors of `opscore bench --suite python`."""

from __future__ import annotations

import opscore


@opscore.actor(name="bench.noop")
def noop(n: int, pad: str) -> None:
    return None
