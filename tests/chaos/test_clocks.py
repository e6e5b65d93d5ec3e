"""Wall clocks jump by an hour, both ways, while steady clocks go on: no session is lost, nothing
runs early or twice, and what is due is not held up."""

import datetime
import pathlib
import tempfile
import time

import pytest

from installation import DISTURBED_S, pause
from harness.clock import Clock, forget_the_dead
from harness.waiting import wait_for

HOUR = 3600
# What is due between the clocks of before and after a jump, and what is due after both.
BETWEEN, BEYOND = "30m", "150m"


@pytest.fixture
def new_clock():
    """Makes clocks. First of a test's fixtures, so that its processes are gone at the end."""
    with tempfile.TemporaryDirectory(prefix="opscore-clock-") as folder:
        pathlib.Path(folder).chmod(0o755)  # services run as another user
        yield lambda name: Clock(pathlib.Path(folder) / name)
    forget_the_dead()


def submit_for_later(rest):
    return [
        rest.submit("opscore.noop", delay=delay)["task_id"] for delay in (BETWEEN, BEYOND)
    ]


def ahead(rest):
    """How far the clock of the server is ahead of ours, in seconds."""
    task = rest.submit("opscore.noop", delay="10h")["task_id"]
    due = datetime.datetime.fromisoformat(rest.task(task)["scheduled_at"]).timestamp()
    rest.expect(204, "DELETE", f"tasks/{task}")
    return due - 10 * HOUR - time.time()


def status(rest, task):
    return rest.get(f"tasks/{task}")["status"]


def sessions(at):
    return at.select("SELECT id, ended IS NULL FROM sessions ORDER BY id")


def test_clocks_of_processes_jump(new_clock, make, note):
    """Each machine has its own; what is due is decided by PostgreSQL's."""
    here, there = new_clock("here"), new_clock("there")
    at = make(
        environments={
            "api": here.environment,
            "worker": there.environment,
            "maintenance": there.environment,
        }
    )
    rest = at.apis[0].rest
    before = sessions(at)
    later = submit_for_later(rest)

    def jump():
        for here_s, there_s in ((HOUR, 0), (HOUR, HOUR), (-HOUR, HOUR), (0, -HOUR), (0, 0)):
            here.set(here_s)
            there.set(there_s)
            pause(max(2, DISTURBED_S / 5))
        assert [status(rest, task) for task in later] == ["scheduled"] * 2
        for task in later:
            rest.expect(204, "DELETE", f"tasks/{task}")

    felt = at.under_load(jump)
    assert sessions(at) == before, "no session was lost, and none was opened"
    assert felt.doubled == 0
    note("clocks of the processes jump an hour forth and back", felt)


def test_the_clock_of_postgresql_jumps(new_clock, own_postgres, make, note):
    clock = new_clock("of-postgresql")
    at = make(database=own_postgres(clock.environment))
    at.delays = False  # a task that is due in half a second waits an hour for a clock set back
    rest = at.apis[0].rest
    before = sessions(at)
    between, beyond = submit_for_later(rest)

    def jump():
        rest.expect(200, "POST", "queues/held/pause")
        held = [rest.submit("opscore.noop", queue="held")["task_id"] for _ in range(20)]
        clock.set(-HOUR)
        for worker in at.workers:
            worker.wait_for_words("the clock of PostgreSQL is")
        rest.expect(200, "POST", "queues/held/resume")
        for task in held:
            rest.wait(task, timeout=30)
        pause(DISTURBED_S / 2)
        assert status(rest, between) == "scheduled"
        clock.set(HOUR)
        rest.wait(between, timeout=30)
        pause(DISTURBED_S / 2)
        assert status(rest, beyond) == "scheduled"
        rest.expect(204, "DELETE", f"tasks/{beyond}")
        at.accepted += len(held) + 1

    felt = at.under_load(jump, clock_jumps=True)
    assert sessions(at) == before, "no session was lost, and none was opened"
    assert felt.doubled == 0
    note("the clock of PostgreSQL jumps an hour back and two forth", felt)


def test_the_clock_of_an_embedded_installation_jumps(new_clock, new_server, tmp_path):
    clock = new_clock("embedded")
    server = new_server(environment=clock.environment)
    marks, go = tmp_path / "marks", tmp_path / "go"
    server.add_program(
        "timed",
        f"""
        #!/bin/sh
        echo "$OPSCORE_TASK_ID" >>"{marks}"
        while [ ! -e "{go}" ]; do sleep 0.1; done
        """,
    )
    rest = server.start().rest
    workers = [each["worker"] for each in rest.get("workers")["workers"]]
    running = rest.submit("timed")["task_id"]
    rest.wait(running, "running")
    between, beyond = submit_for_later(rest)
    rest.expect(200, "POST", "queues/held/pause")
    held = [rest.submit("opscore.noop", queue="held")["task_id"] for _ in range(50)]

    clock.set(-HOUR)
    wait_for(lambda: ahead(rest) < -HOUR / 2, "it is earlier", 30)
    rest.expect(200, "POST", "queues/held/resume")
    made = [rest.run("opscore.noop")["task_id"] for _ in range(20)]
    for task in held:
        rest.wait(task)
    assert status(rest, between) == "scheduled"

    clock.set(HOUR)
    rest.wait(between)
    made += [rest.run("opscore.noop")["task_id"] for _ in range(20)]
    assert status(rest, beyond) == "scheduled"
    clock.set(0)
    pause(2)
    made += [rest.run("opscore.noop")["task_id"] for _ in range(20)]

    ids = held + made
    assert ids == sorted(ids), "ids grow, whatever the clock does"
    assert [each["worker"] for each in rest.get("workers")["workers"]] == workers
    assert rest.task(running)["attempt"] == 1
    go.touch()
    assert rest.wait(running)["attempts"] == 1
    assert marks.read_text().split() == [running], "ran once"
