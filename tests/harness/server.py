"""One `opscore up` in a folder of its own."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import textwrap

from harness.processes import children_of, kill_quietly, processes_below
from harness.rest import Rest
from harness.waiting import wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("OPSCORE_BINARY", ROOT / "build" / "opscore"))
BANNER = re.compile("^opscore .* is ", re.MULTILINE)
PLAIN_ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def free_port():
    """A port to give to several starts of the same server; nobody else in a test run wants it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Configuration goes to opscore.toml in `folder`; output is kept in `folder`/server.log."""

    def __init__(self, folder, environment=None, binary=BINARY, user=None):
        """`user`: the id to run as; the folder, and what is above it, must be open to it."""
        self.binary, self.user = binary, user
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        self.environment = {**PLAIN_ENVIRONMENT, **(environment or {})}
        self.log = self.folder / "server.log"
        self.data = self.folder / "opscore-data" / "opscore.db"
        self.process = None
        self.launched_at = 0  # of its output, in characters
        self.rest = Rest(self.port, token=self.environment.get("OPSCORE_API_TOKEN"))
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "opscore.toml").write_text(f"[server]\nport = {self.port}\n")

    def configure(self, toml):
        """Appends tables to opscore.toml."""
        with open(self.folder / "opscore.toml", "a", encoding="utf-8") as file:
            file.write("\n" + textwrap.dedent(toml) + "\n")

    def add_program(self, name, script, options=""):
        """Writes an executable script and declares it as exec actor `name`."""
        program = self.folder / f"{name}.sh"
        program.write_text(textwrap.dedent(script).lstrip())
        program.chmod(0o755)
        self.configure(
            f'[actors."{name}"]\nkind = "exec"\ncommand = ["{program}"]\n'
            + textwrap.dedent(options)
        )

    def launch(self, *arguments, role="up", under=()):
        """Starts the process, under another command if given, and does not wait for it."""
        return self.launch_command(*under, self.binary, role, *map(str, arguments))

    def launch_command(self, *command):
        self.launched_at = len(self.output())
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def start(self, *arguments, timeout=20, under=()):
        self.launch(*arguments, under=under)
        self.wait_ready(timeout)
        return self

    def is_ready(self):
        try:
            return self.rest.send("GET", "/ready", timeout=2).status == 200
        except OSError:
            return False

    def wait_ready(self, timeout=20):
        """Until it answers that it is ready and has said what it is, which comes a moment later."""

        def look():
            assert self.process.poll() is None, f"opscore ended early:\n{self.output()}"
            return self.is_ready() and BANNER.search(self.output()[self.launched_at :])

        wait_for(look, lambda: f"the server is ready\n{self.output()}", timeout)

    def output(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def worker_pid(self):
        """The supervised process; none between two lives."""
        return next(iter(children_of(self.process.pid)), None)

    def stop(self, number=signal.SIGTERM, timeout=45):
        """Ends it in good order; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)

    def kill(self):
        """kill -9 of the supervisor; its children have to die with it."""
        worker = self.worker_pid()
        self.process.kill()
        self.process.wait()
        return worker

    def restart(self, *arguments):
        return self.start(*arguments)

    def clean_up(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in processes_below(self.folder):
            kill_quietly(pid)

    def cli(self, *arguments, stdin=None, environment=None, timeout=60):
        """Runs a client command against this server; stdout and stderr as text."""
        return subprocess.run(
            [BINARY, *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **(environment or {})},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
