"""kill -9 of worker and supervisor of `opscore up` while tasks are submitted and drained."""

import os
import random
import signal
import sqlite3
import threading
import time

import pytest

from installation import LONG, MARK, MARKED, Felt
from harness.waiting import wait_for

TASKS, KILLS = (20_000, 50) if LONG else (8_000, 20)
BATCH = 100


class Submitter(threading.Thread):
    """Submits until all are acknowledged. A batch whose answer was lost is sent again under the
    same ids, as a careful client does."""

    def __init__(self, rest):
        super().__init__()
        self.rest = rest
        self.acknowledged = 0
        self.longest_s = 0.0
        self.give_up = threading.Event()

    def run(self):
        for first in range(0, TASKS, BATCH):
            tasks = [
                {
                    "task_type": "mark" if n % MARKED == 0 else "opscore.echo",
                    "input_data": n,
                    "task_id": f"chaos-{n}",
                }
                for n in range(first, first + BATCH)
            ]
            began = time.monotonic()
            while not self.accepted(tasks):
                if self.give_up.wait(0.02):
                    return
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.acknowledged += BATCH

    def accepted(self, tasks):
        try:
            return self.rest.send("POST", "tasks/batch", tasks, timeout=10).status in (200, 202)
        except OSError:
            return False


@pytest.mark.parametrize("victim", ["both", *(["worker", "supervisor"] if LONG else [])])
def test_nothing_is_lost_or_done_twice(new_server, note, tmp_path, victim):
    server, marks = new_server(), tmp_path / "marks"
    server.add_program("mark", MARK.format(marks=marks))
    rest = server.start().rest
    dice = random.Random(7)
    submitter = Submitter(rest)
    submitter.start()
    try:
        for kill in range(KILLS):
            progress = submitter.acknowledged
            wait_for(
                lambda: submitter.acknowledged > progress or not submitter.is_alive(),
                lambda: f"work goes on after kill {kill}\n{server.output()[-4000:]}",
                60,
            )
            submitter.give_up.wait(dice.uniform(0, 0.05))
            if victim == "worker" or (victim == "both" and dice.random() < 0.7):
                worker = server.worker_pid()
                if worker:
                    os.kill(worker, signal.SIGKILL)
            else:
                server.kill()
                server.restart()
        submitter.join(120)
        assert not submitter.is_alive()
    finally:
        submitter.give_up.set()
        submitter.join()
    assert submitter.acknowledged == TASKS
    server.wait_ready()
    check_everything_ended_once(rest)
    assert server.stop() == 0
    quiet_s = check_rows(server.data)
    ran = marks.read_text().splitlines()
    assert set(ran) == {f"chaos-{n}" for n in range(0, TASKS, MARKED)}
    felt = Felt(TASKS, submitter.longest_s, quiet_s, len(ran) - len(set(ran)))
    whom = {"worker": "child", "supervisor": "supervisor", "both": "child or supervisor"}[victim]
    note(f"`opscore up` on SQLite: kill -9 of the {whom}, {KILLS} times", felt)


def check_everything_ended_once(rest):
    def drained():
        queue = rest.queue("default")
        return queue["pending"] + queue["running"] + queue["scheduled"] == 0

    wait_for(drained, lambda: f"drained: {rest.queue('default')}", 180)
    assert rest.queue("default")["completed"] == TASKS, "counters equal rows"
    assert rest.get("tasks?status=failed,cancelled")["tasks"] == [], "none quarantined"
    seen, cursor = {}, None
    while True:
        page = rest.get("tasks?limit=1000" + (f"&cursor={cursor}" if cursor else ""))
        for task in page["tasks"]:
            assert task["task_id"] not in seen
            assert task["status"] == "completed"
            assert task["task_type"] == "mark" or task["result"] == task["input_data"]
            seen[task["task_id"]] = task
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen.keys() == {f"chaos-{n}" for n in range(TASKS)}


def check_rows(data):
    """One applied finish each, charges bounded; the longest time without an end, in seconds."""
    with sqlite3.connect(f"file:{data}?mode=ro", uri=True) as database:

        def select(statement):
            return database.execute(statement).fetchone()

        assert select("SELECT count(*), sum(state = 4), sum(ended = 0) FROM outcomes") == (
            TASKS,
            TASKS,
            TASKS,
        )
        assert select("SELECT count(*) FROM attempts WHERE ended = 0") == (0,), "finished twice"
        assert select("SELECT max(charged) FROM outcomes")[0] <= 5, "charges are bounded"
        gaps = "SELECT finished - lag(finished) OVER (ORDER BY finished) gap FROM outcomes"
        return select(f"SELECT max(gap) FROM ({gaps})")[0] / 1000
