"""A real opscore for the length of a test.

    import opscore.testing

    def test_greeting():
        with opscore.testing.worker("app.tasks") as worker:
            assert worker.client.run("greet", "Ada", wait=10) == "Hello, Ada"

The binary is `OPSCORE_BINARY`, else `opscore` on the PATH. It gets a folder of its own with a fresh
data file, and a free port; inside of the block it is ready: a task of its own has gone through
store, broker, slot and back. After it the processes and the folder are gone, and also when the test
process is killed.

pytest finds the plugin by itself once the package is installed: when a test fails, the log of what
was running and `opscore explain` of its unfinished and failed tasks are shown with it, and there
are the fixtures `opscore_server` and `opscore_options`; see `opscore.testing.plugin`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Optional

from opscore.testing.process import Server, StartFailed, find_binary

__all__ = ["Server", "StartFailed", "find_binary", "server", "worker"]


@contextlib.contextmanager
def server(
    python: Optional[str] = None,
    *,
    config: str = "",
    environment: Optional[Mapping[str, str]] = None,
    arguments: tuple[str, ...] = (),
    binary: Optional[str] = None,
    timeout: float = 30.0,
) -> Iterator[Server]:
    """`opscore up`: API, worker and maintenance on a data file of its own.

    `python` is a module whose `@opscore.actor` functions are to be run; `config` is the text of an
    opscore.toml. The environment is that of the test, without variables that would lead to another
    installation (`OPSCORE_*`, `DATABASE_URL`, `RABBITMQ_URL`, ...), and then `environment`.

    >>> with server() as running:
    ...     running.client.run("opscore.echo", 7)
    7
    """
    hosting = ("--python", python) if python else ()
    command = ("up", "--port", "0", *hosting, *arguments)
    with Server.running(command, config, environment, binary, timeout) as running:
        yield running


@contextlib.contextmanager
def worker(
    python: Optional[str] = None,
    *,
    database_url: Optional[str] = None,
    api_url: Optional[str] = None,
    config: str = "",
    environment: Optional[Mapping[str, str]] = None,
    arguments: tuple[str, ...] = (),
    binary: Optional[str] = None,
    timeout: float = 30.0,
) -> Iterator[Server]:
    """A worker, ready to take tasks. Without `database_url` it is `server`: everything on one file.

    With it, it is `opscore worker` on that PostgreSQL, beside an API of yours at `api_url`, which
    the worker's `client` talks to.
    """
    if database_url is None:
        with server(
            python,
            config=config,
            environment=environment,
            arguments=arguments,
            binary=binary,
            timeout=timeout,
        ) as running:
            yield running
        return
    hosting = ("--python", python) if python else ()
    command = ("worker", "--require-store", *hosting, *arguments)
    surroundings = {"DATABASE_URL": database_url, **(environment or {})}
    with Server.running(command, config, surroundings, binary, timeout, api_url) as running:
        yield running
