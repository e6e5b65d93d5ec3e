"""The pytest plugin: evidence of what opscore did when a test fails, and two fixtures.

@pytest.fixture(scope="session")
def opscore_options():                      # what opscore.testing.server() takes
    return {"python": "app.tasks"}

def test_greeting(opscore_server):
    assert opscore_server.client.run("greet", "Ada", wait=10) == "Hello, Ada"
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from opscore import testing
from opscore.testing.process import OPEN


@pytest.fixture(scope="session")
def opscore_options() -> dict[str, Any]:
    """Arguments of `opscore.testing.server` for `opscore_server`; override it in a conftest.py."""
    return {}


@pytest.fixture(scope="session")
def opscore_server(opscore_options: dict[str, Any]) -> Iterator[testing.Server]:
    """One `opscore up` for all tests of a run."""
    with testing.server(**opscore_options) as server:
        yield server


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    OPEN.reports.clear()
    for server in OPEN.servers:
        server.begin_test()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if not report.failed:
        return
    report.sections.extend(OPEN.reports)
    report.sections.extend(server.report() for server in OPEN.servers)
    OPEN.reports.clear()
