"""The process behind `opscore.testing.server` and `worker`: start, readiness, evidence, end."""

from __future__ import annotations

import contextlib
import datetime
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Optional

from opscore import errors, types
from opscore.client import Client

GUARD = pathlib.Path(__file__).with_name("_guard.py")
STOP_GRACE_S = 10
LOOK_EVERY_S = 0.02
LOG_SHOWN_MAX = 12_000
TASKS_SHOWN_MAX = 5

OTHER_INSTALLATION = re.compile(
    r"OPSCORE_|AGENTKIT_|(DATABASE_URL|RABBITMQ_URL|NOTIFY_SOCKET|WATCHDOG_USEC)$"
)


class StartFailed(errors.OpscoreError):
    """It ended early, or was not ready in time."""


class Open:
    """What runs in this process, for the plugin to show when a test fails."""

    def __init__(self) -> None:
        self.servers: list[Server] = []
        self.reports: list[tuple[str, str]] = []


OPEN = Open()


def find_binary(binary: Optional[str] = None) -> str:
    """The program to start; says what to do when there is none."""
    wanted = binary or os.environ.get("OPSCORE_BINARY") or "opscore"
    found = shutil.which(wanted)
    if found is None:
        raise StartFailed(
            "start opscore",
            f"there is no program {wanted!r}",
            "Put opscore on the PATH, or set OPSCORE_BINARY to it (build/opscore of a checkout).",
        )
    return os.path.abspath(found)


class Server:
    """A running opscore. `client` talks to it, `folder` is its working directory."""

    def __init__(self, command: tuple[str, ...], binary: str) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="opscore-test-"))
        self.log_file = self.folder / "opscore.log"
        self.command = (binary, *command)
        self.environment: dict[str, str] = {}
        self.url: Optional[str] = None
        self._client: Optional[Client] = None
        self._guard: Optional[subprocess.Popen[bytes]] = None
        self._probes = ""
        self._log_begins = 0
        self._test_began: Optional[datetime.datetime] = None

    @classmethod
    @contextlib.contextmanager
    def running(
        cls,
        command: tuple[str, ...],
        config: str = "",
        environment: Optional[Mapping[str, str]] = None,
        binary: Optional[str] = None,
        timeout: float = 30.0,
        api_url: Optional[str] = None,
    ) -> Iterator[Server]:
        """Started and ready inside of the block, gone after it."""
        self = cls(command, find_binary(binary))
        try:
            self._start(config, environment or {}, timeout, api_url)
            OPEN.servers.append(self)
            try:
                yield self
            except BaseException:
                OPEN.reports.append(self.report())  # the block may be the whole test
                raise
            finally:
                OPEN.servers.remove(self)
        finally:
            self.stop()

    @property
    def client(self) -> Client:
        """A client of its API."""
        if self._client is None:
            if self.url is None:
                raise StartFailed(
                    "talk to the API",
                    "a worker has none of its own",
                    "Pass worker(api_url=...), where the API of the same installation is.",
                )
            token = self.environment.get("OPSCORE_API_TOKEN")
            self._client = Client(self.url, token=token, timeout=10)
        return self._client

    @property
    def pid(self) -> Optional[int]:
        """Of the process that keeps it; None when it is not running."""
        return self._guard.pid if self._guard and self._guard.poll() is None else None

    def _start(
        self,
        config: str,
        environment: Mapping[str, str],
        timeout: float,
        api_url: Optional[str],
    ) -> None:
        (self.folder / "opscore.toml").write_text(config, encoding="utf-8")
        self.environment = _environment(environment)
        if self.command[1] == "worker":
            self._probes = f"http://127.0.0.1:{_free_port()}"
            self.command += ("--probes-port", self._probes.rpartition(":")[2])
            self.url = api_url
        guard = (sys.executable, "-I", "-S", str(GUARD), str(self.folder), str(STOP_GRACE_S))
        with open(self.log_file, "ab") as log:
            self._guard = subprocess.Popen(
                (*guard, *self.command),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_ready(timeout)

    def stop(self) -> None:
        """Ends it in good order and removes its folder; may be called again."""
        if self._client:
            self._client.close()
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()
            self._guard.wait(STOP_GRACE_S * 2)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What it has printed and logged so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of opscore against it: `server.cli("explain", task_id).stdout`."""
        return subprocess.run(
            (self.command[0], *arguments),
            cwd=self.folder,
            env={**self.environment, **({"OPSCORE_URL": self.url} if self.url else {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def begin_test(self) -> None:
        """What was logged and submitted until now belongs to other tests."""
        self._log_begins = len(self.log())
        self._test_began = datetime.datetime.now(datetime.timezone.utc)

    def report(self) -> tuple[str, str]:
        """A title, and what is known: log, and `explain` of tasks that are not done or failed."""
        parts = [self.log()[self._log_begins :][-LOG_SHOWN_MAX:]]
        try:
            parts += self._explanations()
        except (errors.OpscoreError, OSError, subprocess.SubprocessError) as error:
            parts.append(f"(no tasks are shown: {error})")
        return f"opscore: {' '.join(self.command[1:])}", "\n".join(parts)

    def _explanations(self) -> list[str]:
        if self.url is None:
            return []
        found = []
        for status in ("pending,running,scheduled,waiting", "failed"):
            filters = types.Filters(status=status)
            if self._test_began:
                filters["created_after"] = self._test_began
            page = self.client.list(limit=TASKS_SHOWN_MAX, **filters)
            found += [self.cli("explain", task.task_id).stdout for task in page.tasks]
        return found

    def _wait_ready(self, timeout: float) -> None:
        until = time.monotonic() + timeout
        problem = "it has not said where it listens"
        while time.monotonic() < until:
            if self._guard is None or self._guard.poll() is not None:
                code = self._guard.returncode if self._guard else "?"
                raise self._start_failed(f"it ended with exit code {code}")
            self._find_url()
            if address := self._probes or self.url:
                problem = _why_not_ready(address)
                if not problem:
                    return
            time.sleep(LOOK_EVERY_S)
        raise self._start_failed(f"it was not ready within {timeout:g} s: {problem}")

    def _find_url(self) -> None:
        if self.url is None and not self._probes:
            found = re.search(r"^  api +(http://\S+?)/api/v1 ", self.log(), re.MULTILINE)
            self.url = found[1].replace("localhost", "127.0.0.1") if found else None

    def _start_failed(self, problem: str) -> StartFailed:
        command = " ".join(self.command)
        log = self.log()[-LOG_SHOWN_MAX:]
        return StartFailed(f"start `{command}`", problem, f"It said:\n{log}")


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """That of the test, so that modules are found as there, but of no other installation."""
    inherited = {
        name: value for name, value in os.environ.items() if not OTHER_INSTALLATION.match(name)
    }
    found = (os.path.abspath(path) for path in sys.path)
    inherited["PYTHONPATH"] = os.pathsep.join(path for path in found if _is_own(path))
    inherited["OPSCORE_PYTHON_INTERPRETER"] = sys.executable
    inherited["OPSCORE_LOG_FORMAT"] = "text"  # for the people who read it below a failed test
    inherited["OPSCORE_WORKER_DRAIN_GRACE"] = "1s"  # a test that ends waits for nobody's task
    return {**inherited, **own}


def _is_own(path: str) -> bool:
    """Not of the interpreter itself, which knows those."""
    packages = path.endswith(("site-packages", "dist-packages", ".zip"))
    return not packages and not path.startswith(os.path.dirname(os.__file__))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _why_not_ready(address: str) -> str:
    """Nothing when /ready says yes."""
    with Client(address, timeout=2, retries=0) as client:
        try:
            client.request("GET", "/ready")
            return ""
        except errors.ApiError as error:
            return "; ".join(map(str, error.document.get("reasons", [error.problem])))
        except errors.OpscoreError as error:
            return error.problem
