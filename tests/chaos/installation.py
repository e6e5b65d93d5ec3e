"""What the tests of recovery share: an installation of all roles on PostgreSQL and RabbitMQ, a
load that never gives up, and the checks after it."""

import dataclasses
import os
import random
import re
import signal
import threading
import time
import uuid

from harness.cluster import Cluster, psql
from harness.processes import kill_quietly
from harness.proxy import Proxy
from harness.rabbitmq import RabbitMq
from harness.waiting import wait_for

LONG = os.environ.get("OPSCORE_CHAOS") == "long"
IN_FLIGHT = 20_000 if LONG else 400
BATCH = 500 if LONG else 50
# Of so many tasks one is a program that leaves a mark, so that double execution is seen.
MARKED = 50
# How long a disturbance goes on, in seconds.
DISTURBED_S = 60 if LONG else 4
DRAINED_S = 900 if LONG else 180

MARK = """
    #!/bin/sh
    echo "$OPSCORE_TASK_ID" >>"{marks}"
"""
TIMED = """
    #!/bin/sh
    echo "$OPSCORE_TASK_ID $OPSCORE_ATTEMPT" >>"{marks}"
    while [ ! -e "{go}" ]; do sleep 0.1; done
"""


@dataclasses.dataclass
class Felt:
    """What a disturbance was like for those who use the installation."""

    tasks: int
    submit_s: float  # the longest that a batch waited until it was accepted
    quiet_s: float  # the longest time in which no task ended
    doubled: int  # programs that ran more than once


class Installation:
    """Two of each role. Connections go through proxies, so that tests can disturb them."""

    def __init__(self, folder, services, environment=None):
        self.services = services
        self.rabbitmq = RabbitMq(services)
        self.database_url = services.env()["DATABASE_URL"]
        self.database = self._proxy(self.database_url)
        self.broker = self._proxy(self.rabbitmq.url)
        self.schema = f"chaos_{uuid.uuid4().hex[:12]}"
        self.marks, self.go = folder / "marks", folder / "go"
        self.cluster = Cluster(
            folder,
            self._through(self.database, self.database_url),
            self.schema,
            environment={
                "RABBITMQ_URL": self._through(self.broker, self.rabbitmq.url),
                **(environment or {}),
            },
        )
        self.accepted = 0

    @staticmethod
    def _proxy(url):
        return Proxy(int(re.search(r"@127\.0\.0\.1:(\d+)", url).group(1)))

    @staticmethod
    def _through(proxy, url):
        return re.sub(r"@127\.0\.0\.1:\d+", f"@127.0.0.1:{proxy.port}", url)

    def start(self, slots=8):
        self.cluster.migrate()
        self.keepers = [self.cluster.maintenance() for _ in range(2)]
        self.workers = []
        for _ in range(2):
            worker = self.cluster.add("worker")
            worker.add_program("mark", MARK.format(marks=self.marks))
            worker.add_program("timed", TIMED.format(marks=self.marks, go=self.go))
            worker.launch("--slots", slots)
            self.workers.append(worker)
        for worker in self.workers:
            worker.wait_for_words("session", timeout=60)
        self.apis = [self.cluster.api() for _ in range(2)]
        # RabbitMQ 3.10 knows a quorum queue after kill -9 once it is some seconds old.
        self.apis[0].rest.run("opscore.noop")
        self.accepted = 1
        pause(3)
        return self

    def clean_up(self):
        self.go.touch()
        self.cluster.clean_up()
        self.database.close()
        self.broker.close()
        psql(self.database_url, f'DROP SCHEMA IF EXISTS "{self.schema}" CASCADE')
        self.rabbitmq.close()

    def select(self, statement):
        return psql(self.database_url, f'SET search_path TO "{self.schema}"; {statement}')

    def number(self, statement):
        return float(self.select(statement) or 0)

    def marked(self):
        return self.marks.read_text().splitlines() if self.marks.exists() else []

    def under_load(self, disturb):
        """Runs `disturb` while tasks are submitted and run, then checks that all is well."""
        load = Load(self)
        load.start()
        try:
            wait_for(lambda: self.accepted >= IN_FLIGHT, "the load is there", DRAINED_S)
            disturb()
        finally:
            load.enough.set()
            load.join(DRAINED_S)
        assert load.ended_well, "the load has gone on to the end"
        return self.check(load.longest_s)

    def check(self, submit_s):
        wait_for(
            lambda: self.select("SELECT count(*) FROM live") == "0",
            lambda: "drained; left: "
            + self.select("SELECT state, count(*), max(attempt) FROM live GROUP BY state"),
            DRAINED_S,
        )
        ended = self.select(
            "SELECT count(*), count(DISTINCT key), count(*) FILTER (WHERE state = 4), "
            "count(*) FILTER (WHERE ended = 0) FROM outcomes"
        )
        assert ended == "|".join([str(self.accepted)] * 4), "every task has one end, completed"
        twice = self.select("SELECT count(*) FROM attempts WHERE ended = 0")
        assert twice == "0", "finished twice"
        assert self.number("SELECT max(charged) FROM outcomes") <= 5
        counted = self.select("SELECT sum(completed), sum(failed) FROM counters")
        assert counted == f"{self.accepted}|0", "counters equal rows"
        left = "SELECT count(*) FROM outbox"
        wait_for(lambda: self.select(left) == "0", "the outbox is empty", 60)
        hints = self.rabbitmq.hints
        wait_for(lambda: hints() == (0, 0), lambda: f"hints are answered: {hints()}", 60)
        marks = self.marked()
        assert len(set(marks)) == self.number(
            "SELECT count(*) FROM tasks JOIN lanes USING(lane) WHERE type = 'mark'"
        ), "every program ran"
        quiet_ms = self.number(
            "SELECT max(gap) FROM (SELECT finished - lag(finished) OVER (ORDER BY finished) gap "
            "FROM outcomes WHERE key > (SELECT min(key) FROM outcomes)) gaps"
        )
        return Felt(self.accepted, submit_s, quiet_ms / 1000, len(marks) - len(set(marks)))


class Load(threading.Thread):
    """Keeps so many tasks unfinished. A batch without an answer is sent again, to any API, under
    the same ids, as a careful client does."""

    def __init__(self, installation):
        super().__init__()
        self.at = installation
        self.enough = threading.Event()
        self.longest_s = 0.0
        self.ended_well = False
        self.dice = random.Random(7)

    def run(self):
        while not self.enough.is_set():
            if self.at.accepted - self.finished() < IN_FLIGHT:
                self.submit_batch()
            else:
                self.enough.wait(0.02)
        self.ended_well = True

    def finished(self):
        queue = self.ask("GET", "queues")
        if queue is None or queue.status != 200:
            return 0
        return sum(each["completed"] for each in queue.json()["queues"])

    def submit_batch(self):
        first = self.at.accepted - 1
        tasks = [
            {"task_type": "mark", "task_id": f"chaos-{n}"}
            if n % MARKED == 0
            else {"task_type": "opscore.sleep", "input_data": {"ms": 5}, "task_id": f"chaos-{n}"}
            for n in range(first, first + BATCH)
        ]
        began = time.monotonic()
        while True:
            answer = self.ask("POST", "tasks/batch", tasks)
            if answer is not None and answer.status in (200, 202):
                break
            assert time.monotonic() - began < DRAINED_S, f"not accepted: {answer}"
            pause(0.02)
        self.longest_s = max(self.longest_s, time.monotonic() - began)
        self.at.accepted += BATCH

    def ask(self, *request):
        try:
            return self.dice.choice(self.at.apis).rest.send(*request, timeout=10)
        except OSError:
            return None


def pause(seconds):
    """Lets a disturbance last; nothing depends on how long it really is."""
    until = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= until, "the pause is over", seconds + 600)


def kill_in_turn(processes, seconds):
    """kill -9 of one after the other, the supervised process or its supervisor."""
    dice, until, kills = random.Random(11), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        victim = dice.choice(processes)
        child = victim.worker_pid()
        if child and dice.random() < 0.7:
            kill_quietly(child)
        else:
            victim.kill()
            victim.launch()
        kills += 1
        pause(dice.uniform(0.2, 1.0))
    return kills


def stop_for(process, seconds):
    """SIGSTOP of what a supervisor supervises, and of the supervisor, which would kill it."""
    pids = [process.process.pid, process.worker_pid()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    pause(seconds)
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)
