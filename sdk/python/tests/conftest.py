"""Puts the package and the tree's binary in place for the tests of sdk/python."""

import asyncio
import inspect
import os
import pathlib
import subprocess
import sys

import pytest

SDK = pathlib.Path(__file__).resolve().parents[1]
ROOT = SDK.parents[1]
sys.path.insert(0, str(SDK))
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
