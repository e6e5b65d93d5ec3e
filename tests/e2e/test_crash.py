"""Actors and people that kill the process."""

import os
import signal
import threading
import time

from harness.processes import is_alive
from harness.rest import Rest
from harness.waiting import wait_for


class Watch:
    """Asks for /health without a pause; remembers the longest time without an answer."""

    def __init__(self, port):
        self.rest = Rest(port)
        self.longest = 0.0
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.loop)

    def loop(self):
        answered = time.monotonic()
        while not self.end.is_set():
            try:
                if self.rest.send("GET", "/health", timeout=1).status == 200:
                    self.longest = max(self.longest, time.monotonic() - answered)
                    answered = time.monotonic()
            except OSError:
                pass
            self.end.wait(0.005)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()


def test_a_crashing_task_is_quarantined_and_harms_nobody(new_server):
    server = new_server()
    server.configure("[worker]\nslots = 8")
    rest = server.start().rest
    neighbours = [rest.submit("opscore.sleep", {"ms": 800})["task_id"] for _ in range(6)]
    others = [rest.submit("opscore.echo", n)["task_id"] for n in range(200)]
    with Watch(server.port) as watch:
        crash = "the-crash"
        try:
            rest.submit("opscore.crash", task_id=crash)
        except OSError:
            pass  # it may crash the process before the answer is sent

        def quarantined():
            try:
                return rest.task(crash)["status"] == "failed"
            except OSError:
                return False

        wait_for(quarantined, lambda: f"quarantine\n{server.output()}", 60)
    task = rest.task(crash)
    assert task["error"]["kind"] == "poison", task
    assert "SIGSEGV" in str(task["error"]), task
    attempts = rest.get(f"tasks/{crash}/attempts")["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["crashed"] * 3
    for attempt in attempts:
        assert attempt["started_at"] <= attempt["ended_at"], attempt
        assert attempt["worker"], attempt
    assert task["started_at"] == attempts[-1]["started_at"]
    # On a quiet machine 0.2 s; how fast is not for a test to say, that it is soon again is.
    assert watch.longest < 10, f"the API was away for {watch.longest:.2f} s"
    for task_id in neighbours + others:
        assert rest.wait(task_id, timeout=60)["status"] == "completed"
    explained = rest.get(f"tasks/{crash}/explain")
    assert "poison" in str(explained) or "quarantine" in str(explained)
    assert "SIGSEGV" in server.output()


def test_kill_9_of_the_worker_process(new_server):
    server = new_server()
    rest = server.start().rest
    running = rest.submit("opscore.sleep", {"ms": 1500})["task_id"]
    rest.wait(running, "running")
    worker = server.worker_pid()
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: server.worker_pid() not in (None, worker), "a new worker process")
    server.wait_ready()
    task = rest.wait(running)
    # An operator's kill is not the task's fault: it runs again and is not charged.
    assert (task["status"], task["attempts"], task["attempt"]) == ("completed", 1, 2)


def test_nobody_hears_of_a_missing_worker_while_one_comes_up(new_server):
    server = new_server()
    rest = server.start().rest

    def submitted():
        try:
            return rest.submit("opscore.noop")
        except OSError:
            return None  # the connection died with the worker

    for _ in range(3):
        worker = server.worker_pid()
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: server.worker_pid() not in (None, worker), "a new worker process")
        answer = wait_for(submitted, "the API is back")
        assert "warnings" not in answer, answer


def test_kill_9_of_the_supervisor(new_server):
    server = new_server()
    server.add_program(
        "lasting", "#!/bin/sh\necho $$ > program.pid\nsleep 300\n", "max_attempts = 1"
    )
    rest = server.start().rest
    done = rest.run("opscore.echo", "kept")["task_id"]
    waiting = rest.submit("opscore.echo", "later", delay="1s")["task_id"]
    running = rest.submit("lasting")["task_id"]
    program = server.folder / "program.pid"
    wait_for(lambda: program.exists() and program.read_text().strip(), "the program runs")
    worker = server.kill()
    wait_for(lambda: not is_alive(worker), "the worker died with its supervisor", 5)
    old_program = int(program.read_text())
    program.unlink()
    server.restart()
    assert rest.task(done)["attempt"] == 1, "no completed task runs again"
    assert rest.wait(waiting)["result"] == "later"
    wait_for(lambda: program.exists() and program.read_text().strip(), "it runs again", 20)
    assert rest.task(running)["status"] == "running"
    wait_for(lambda: not is_alive(old_program), "the old program is gone", 10)


def test_a_stopped_worker_is_noticed_and_replaced(new_server):
    """SIGSTOP: the process is there and does nothing, the failure that is easiest to miss."""
    server = new_server()
    rest = server.start().rest
    worker = server.worker_pid()
    os.kill(worker, signal.SIGSTOP)
    wait_for(lambda: server.worker_pid() not in (None, worker), "a new worker process", 25)
    server.wait_ready()
    assert rest.run("opscore.noop")["status"] == "completed"
