"""Fixtures for the tests that run the real binary."""

import contextlib

import pytest

from harness.server import BINARY, Server


def pytest_sessionstart(session):
    if not session.config.option.collectonly and not BINARY.exists():
        pytest.exit(f"{BINARY} is not built: ./dev build", returncode=2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the servers' logs with a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed and call.when == "call":
        for server in getattr(item, "servers", []):
            report.sections.append((f"log of {server.folder}", server.output()[-8000:]))


@pytest.fixture
def new_server(tmp_path, request):
    """Makes servers, not yet started; ends whatever the test leaves running."""
    request.node.servers = []
    with contextlib.ExitStack() as stack:

        def make(name="server", **options):
            server = Server(tmp_path / name, **options)
            stack.callback(server.clean_up)
            request.node.servers.append(server)
            return server

        yield make


@pytest.fixture
def server(new_server):
    """A running `opscore up` with nothing configured."""
    return new_server().start()


@pytest.fixture
def rest(server):
    return server.rest


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One running server for all tests of a module that leave no trace in each other's way."""
    server = Server(tmp_path_factory.mktemp("shared"))
    try:
        yield server.start()
    finally:
        server.clean_up()
