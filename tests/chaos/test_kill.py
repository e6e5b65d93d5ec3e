"""kill -9 of worker and supervisor while tasks are submitted and drained."""

import os
import random
import signal
import threading

import pytest

from harness.waiting import wait_for

LONG = os.environ.get("OPSCORE_CHAOS") == "long"
TASKS, KILLS = (20_000, 50) if LONG else (8_000, 20)
BATCH = 100


class Submitter(threading.Thread):
    """Submits until all are acknowledged. A batch whose answer was lost is sent again under the
    same ids, as a careful client does."""

    def __init__(self, rest):
        super().__init__()
        self.rest = rest
        self.acknowledged = 0
        self.give_up = threading.Event()

    def run(self):
        for first in range(0, TASKS, BATCH):
            tasks = [
                {"task_type": "opscore.echo", "input_data": n, "task_id": f"chaos-{n}"}
                for n in range(first, first + BATCH)
            ]
            while not self.accepted(tasks):
                if self.give_up.wait(0.02):
                    return
            self.acknowledged += BATCH

    def accepted(self, tasks):
        try:
            return self.rest.send("POST", "tasks/batch", tasks, timeout=10).status in (200, 202)
        except OSError:
            return False


@pytest.mark.parametrize("victim", ["worker", "supervisor", "both"])
def test_nothing_is_lost_or_run_twice(new_server, victim):
    server = new_server()
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
    check_everything_ran_once(rest)


def check_everything_ran_once(rest):
    def drained():
        queue = rest.queue("default")
        return queue["pending"] + queue["running"] + queue["scheduled"] == 0

    wait_for(drained, lambda: f"drained: {rest.queue('default')}", 180)
    assert rest.get("tasks?status=failed,cancelled")["tasks"] == []
    seen, cursor = {}, None
    while True:
        page = rest.get("tasks?limit=1000" + (f"&cursor={cursor}" if cursor else ""))
        for task in page["tasks"]:
            assert task["task_id"] not in seen
            assert task["status"] == "completed"
            assert task["result"] == task["input_data"]
            seen[task["task_id"]] = task
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen.keys() == {f"chaos-{n}" for n in range(TASKS)}
    # One applied finish each: the history of a task has one end.
    for task_id in random.Random(1).sample(sorted(seen), 50):
        events = rest.get(f"tasks/{task_id}/events")["events"]
        assert [event["kind"] for event in events].count("completed") == 1
