"""What a test needs from the machine."""

import os

import pytest


def missing(what):
    """A skipped test at home, a failed one in CI: there, nothing may be left out silently."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)
