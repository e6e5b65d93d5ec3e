"""Every step of docs/migrate-from-dramatiq.md, with the commands that stand there."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import pytest
from harness.waiting import wait_for

from conftest import ROOT
from opscore import testing
from test_dramatiq import VERSIONS, environment_with

PAGE = (ROOT / "docs/migrate-from-dramatiq.md").read_text()
EXAMPLE = ROOT / "examples/from-dramatiq"


def blocks_of(step):
    """The shell blocks below the heading with that number, as lists of lines."""
    section = re.search(rf"^## {step}\. .*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[0]
    return [block.split("\n") for block in re.findall(r"```sh\n(.*?)\n```", section, re.DOTALL)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Program:
    """The example in a folder of its own, run by the lines of the page."""

    def __init__(self, folder, python, environment):
        self.folder, self.port, self.opscore_port = folder, free_port(), free_port()
        shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
        programs = folder / "bin"
        programs.mkdir()
        (programs / "opscore").symlink_to(testing.find_binary())
        inherited = {"HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
        self.environment = {
            **inherited,
            "PATH": os.pathsep.join((str(programs), str(python.parent), os.environ["PATH"])),
            "PYTHONPATH": str(ROOT / "sdk/python"),
            "OPSCORE_SERVER_PORT": str(self.opscore_port),
            "OPSCORE_URL": f"http://127.0.0.1:{self.opscore_port}",
            **environment,
        }
        self.log = folder / "log"
        self.processes = []

    def start(self, lines):
        """All of them at once; returns when the web service answers."""
        for line in lines:
            with open(self.log, "ab") as log:
                process = subprocess.Popen(
                    ("sh", "-c", "exec " + self.own(line)),
                    cwd=self.folder,
                    env=self.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.processes.append(process)
        wait_for(self.answers, lambda: f"the program answers\n{self.output()}", 60)

    def run(self, line):
        done = subprocess.run(
            ("sh", "-c", self.own(line)),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}\n{self.output()}"
        return done.stdout

    def own(self, line):
        return line.replace("8080", str(self.port)).replace("8000", str(self.opscore_port))

    def answers(self):
        for process in self.processes:
            assert process.poll() is None, self.output()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def output(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_for_file(self, name):
        path = pathlib.Path(self.folder / name)
        wait_for(lambda: path.exists() and path.read_text(), lambda: f"{name}\n{self.output()}", 60)
        return json.loads(path.read_text())

    def stop(self):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def program(tmp_path):
    with contextlib.ExitStack() as stack:

        def make(environment):
            python = environment_with(VERSIONS[-1], "pika")
            made = Program(tmp_path / "program", python, environment)
            stack.callback(made.stop)
            return made

        yield make


@pytest.fixture
def on_rabbitmq(program, rabbitmq):
    return program({"RABBITMQ_URL": rabbitmq})


def test_step_0_as_it_is(on_rabbitmq):
    services, requests = blocks_of(0)
    on_rabbitmq.start(services)
    assert json.loads(on_rabbitmq.run(requests[0])) == {"task_id": "run-1"}
    report = on_rabbitmq.wait_for_file("reports/run-1.json")
    assert report["answer"] == "6 * 7 = 42"
