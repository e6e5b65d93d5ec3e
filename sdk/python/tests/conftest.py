"""Puts the package and the tree's binary in place for the tests of sdk/python."""

import asyncio
import inspect
import os
import pathlib
import subprocess
import sys
import tempfile

import pytest

SDK = pathlib.Path(__file__).resolve().parents[1]
ROOT = SDK.parents[1]
sys.path[:0] = [str(SDK), str(ROOT / "tests")]
os.environ.setdefault("OPSCORE_BINARY", str(ROOT / "build" / "opscore"))

pytest_plugins = ["opscore.testing.plugin", "pytester"]


class Awaiting:
    """An AsyncClient with the manners of a Client, so that one test holds for both."""

    def __init__(self, client, loop):
        self._client, self._loop = client, loop

    def __getattr__(self, name):
        method = getattr(self._client, name)

        def call(*args, **kwargs):
            found = method(*args, **kwargs)
            if inspect.isasyncgen(found):
                return self._iterate(found)
            return self._loop.run_until_complete(found)

        return call

    def _iterate(self, found):
        try:
            while True:
                yield self._loop.run_until_complete(found.__anext__())
        except StopAsyncIteration:
            return
        finally:
            self._loop.run_until_complete(found.aclose())


@pytest.fixture(params=["Client", "AsyncClient"])
def connect(request):
    """Makes clients of both kinds, one kind a test."""
    import opscore

    kind = getattr(opscore, request.param)
    loop = asyncio.new_event_loop()
    clients = []

    def make(url, **options):
        client = kind(url, **options)
        clients.append(Awaiting(client, loop) if kind is opscore.AsyncClient else client)
        return clients[-1]

    yield make
    for client in clients:
        client.close()
    loop.close()


@pytest.fixture
def client(connect, opscore_server):
    return connect(opscore_server.url)


@pytest.fixture
def python():
    """Runs this interpreter with the package on its path."""

    def run(*arguments, cwd=None):
        return subprocess.run(
            (sys.executable, *arguments),
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(SDK)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture(scope="session")
def services():
    """Those of ./dev services; where nobody has started any, of this run only."""
    from harness.services import Services

    if folder := os.environ.get("OPSCORE_SERVICES"):
        yield Services(folder)
        return
    found = Services(tempfile.mkdtemp(prefix="opscore-sdk-"))
    yield found
    found.call("stop")  # and removes the folder


@pytest.fixture(scope="session")
def postgres(services):
    """The URL of a PostgreSQL to use."""
    from harness.services import provide

    provide(services, "postgres")
    return services.env()["DATABASE_URL"]


@pytest.fixture(scope="session")
def rabbitmq(services):
    """The URL of a RabbitMQ to use."""
    from harness.services import provide

    provide(services, "rabbitmq")
    return services.env()["RABBITMQ_URL"]
