"""The one way in which tests wait: for a condition, up to a limit."""

import time

PAUSE_S = 0.01


def wait_for(condition, what, timeout=15):
    """The first true value of condition(); fails with `what` when there is none in time."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what() if callable(what) else what}")
        time.sleep(PAUSE_S)
