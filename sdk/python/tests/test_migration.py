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
from harness.dramatiq import NEWEST, installed
from harness.rabbitmq import RabbitMq
from harness.services import provide
from harness.waiting import wait_for

import opscore
from conftest import ROOT
from opscore import errors, testing

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
                    ("sh", "-c", self.own(line)),
                    cwd=self.folder,
                    env=self.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.processes.append(process)
        wait_for(self.answers, lambda: f"the program answers\n{self.output()}", 60)
        if any("opscore" in line for line in lines):
            wait_for(self.is_ready, lambda: f"opscore is ready\n{self.output()}", 60)

    def is_ready(self):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(self.environment["OPSCORE_URL"] + "/ready", timeout=5)
            return True

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

    def task(self, task_id):
        """Once it has ended; it may still be on its way through RabbitMQ."""
        client = opscore.Client(self.environment["OPSCORE_URL"])

        def look():
            try:
                return client.wait(task_id, timeout=60)
            except errors.NotFound:
                return None

        return wait_for(look, lambda: f"task {task_id}\n{self.output()}", 60)

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
            made = Program(tmp_path / "program", installed(NEWEST), environment)
            stack.callback(made.stop)
            return made

        yield make


@pytest.fixture
def on_rabbitmq(program, services):
    provide(services, "rabbitmq")
    rabbitmq = RabbitMq(services)
    yield program({"RABBITMQ_URL": rabbitmq.url})
    rabbitmq.close()


@pytest.fixture
def without(program):
    return program({})


def test_step_0_as_it_is(on_rabbitmq):
    services, (curl,) = blocks_of(0)
    on_rabbitmq.start(services)
    assert json.loads(on_rabbitmq.run(curl)) == {"task_id": "run-1"}
    assert on_rabbitmq.wait_for_file("reports/run-1.json")["answer"] == "6 * 7 = 42"


def test_step_1_another_worker(on_rabbitmq):
    services, (curl, show, explain, reports) = blocks_of(1)
    on_rabbitmq.start(services)
    assert json.loads(on_rabbitmq.run(curl)) == {"task_id": "run-1"}
    assert on_rabbitmq.wait_for_file("reports/run-1.json")["answer"] == "6 * 7 = 42"
    assert on_rabbitmq.task("run-1").task_type == "execute_agent_task_actor"
    assert "completed" in on_rabbitmq.run(show) and "completed" in on_rabbitmq.run(explain)
    assert "write_report" in on_rabbitmq.run(reports)


def test_step_2_opscores_own_agent(on_rabbitmq):
    services, (curl, show) = blocks_of(2)
    on_rabbitmq.start(services)
    on_rabbitmq.run(curl)
    task = on_rabbitmq.task("run-1")
    assert task.task_type == "agent_task" and "42" in json.dumps(task.result)
    assert "42" in on_rabbitmq.run(show)


def test_step_3_without_rabbitmq(without):
    services, (curl, reports) = blocks_of(3)
    without.start(services)
    assert json.loads(without.run(curl)) == {"task_id": "run-1"}
    assert without.wait_for_file("reports/run-1.json")["answer"] == "6 * 7 = 42"
    assert without.task("run-1").task_type == "execute_agent_task_actor"
    assert "write_report" in without.run(reports)


def test_step_4_actors_of_opscore(without):
    services, (curl, submit) = blocks_of(4)
    without.start(services)
    without.run(curl)
    assert without.task("run-1").task_type == "agent_task"
    without.run(submit)
    assert without.wait_for_file("reports/run-2.json") == {"answer": 42}


def test_step_5_the_sender_too(without):
    services, (curl, watch, show) = blocks_of(5)
    without.start(services)
    assert json.loads(without.run(curl)) == {"task_id": "run-1"}
    without.run(watch)
    shown = json.loads(without.run(show))
    assert shown["status"] == "completed" and "42" in json.dumps(shown["result"])


def test_the_last_step_needs_no_dramatiq():
    for name in ("actors.py", "web_with_client.py", "fastapi_shape.py"):
        assert "dramatiq" not in (EXAMPLE / "app" / name).read_text().replace("Dramatiq", "")
