"""The real Dramatiq from PyPI, each version in an environment below build/."""

import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys

from harness.server import PLAIN_ENVIRONMENT, ROOT
from harness.waiting import wait_for

VERSIONS = ("1.17.1", "2.0.1", "2.2.1")
NEWEST = VERSIONS[-1]
APP = pathlib.Path(__file__).resolve().parent / "dramatiq_app"


def installed(version):
    """The python of an environment with this version."""
    folder = ROOT / "build" / "dramatiq" / version
    python = folder / "bin" / "python"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = f"dramatiq[rabbitmq,redis]=={version}"
        complete = folder / "complete"
        if not complete.exists() or complete.read_text(encoding="utf-8") != wanted:
            for command in (
                [sys.executable, "-m", "venv", folder],
                [python, "-m", "pip", "install", "--quiet", wanted],
            ):
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=300, check=False
                )
                assert done.returncode == 0, (
                    f"cannot install dramatiq {version} from PyPI, which needs python3-venv and a "
                    f"network: {done.stdout[-2000:]}{done.stderr[-2000:]}"
                )
            complete.write_text(wanted, encoding="utf-8")
    return python


class Dramatiq:
    """The Python side of one installation: sends messages, runs workers, says what they did."""

    def __init__(self, folder, url, version=NEWEST, redis=""):
        self.python = installed(version)
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.record_file = folder / "record.jsonl"
        self.workers = []
        self.environment = {
            **PLAIN_ENVIRONMENT,
            "RABBITMQ_URL": url,
            "RECORD": str(self.record_file),
            "PYTHONPATH": str(APP),
            "REDIS_URL": redis,
        }

    def run(self, script):
        """Runs a script in which the application is imported; what it printed, as JSON."""
        done = subprocess.run(
            [self.python, "-c", "from app import *\nimport dramatiq\n" + script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return [json.loads(line) for line in done.stdout.splitlines()]

    def send(self, expression):
        """Sends what the expression makes: `add.send(1, 2)`; the message as a dict."""
        (message,) = self.run(f"print(json.dumps(({expression}).asdict()))")
        return message

    def worker(self, *queues):
        """`python -m dramatiq` on these queues, until the test ends."""
        log = open(self.folder / f"worker-{len(self.workers)}.log", "ab")
        with log:
            process = subprocess.Popen(
                [
                    *[self.python, "-m", "dramatiq", "app", "--processes", "1"],
                    *["--threads", "2", "--queues", *queues],
                ],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.workers.append(process)
        path = pathlib.Path(log.name)
        wait_for(
            lambda: "ready for action" in path.read_text(errors="replace"),
            lambda: f"the worker of Dramatiq is up:\n{path.read_text(errors='replace')}",
            timeout=60,
        )
        return process

    def records(self, actor=None):
        if not self.record_file.exists():
            return []
        lines = self.record_file.read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines]
        return [each for each in found if actor in (None, each["actor"])]

    def wait_records(self, actor, count=1, timeout=60):
        wait_for(
            lambda: len(self.records(actor)) >= count,
            lambda: f"{count} records of {actor}; there are {self.records()}",
            timeout,
        )
        return self.records(actor)

    def close(self):
        for process in self.workers:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def task_of(rest, message, timeout=30):
    """The task that a message became, once it has ended."""

    def look():
        found = [
            task
            for task in rest.get("tasks?limit=100")["tasks"]
            if (task.get("metadata") or {}).get("dramatiq_message_id") == message["message_id"]
        ]
        return found[0]["task_id"] if found else None

    return rest.wait(wait_for(look, f"the task of {message['message_id']}", timeout))
