"""What the tests of recovery share: an installation of all roles on PostgreSQL and RabbitMQ, a
load that never gives up, and the checks after it."""

import contextlib
import dataclasses
import os
import random
import re
import signal
import subprocess
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
# Of so many tasks one is a program that leaves a mark, so that double execution is seen, and one is
# due a little later.
MARKED, DELAYED = 50, 20
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
    submit_s: float | None  # the longest that a batch waited until it was accepted
    quiet_s: float | None  # the longest time in which no task ended
    doubled: int  # programs that ran more than once


def sentence_of(what, felt):
    """The row of the table."""
    times = ["" if time is None else f"{time:.1f} s" for time in (felt.submit_s, felt.quiet_s)]
    return f"| {what} | {felt.tasks:,} | {times[0]} | {times[1]} | {felt.doubled} |"


class Installation:
    """Two of each role. Connections go through proxies, so that tests can disturb them. `database`
    are the services with PostgreSQL, `environments` what processes of a role have in theirs."""

    def __init__(self, folder, services, database, environments=None):
        self.environments = environments or {}
        self.rabbitmq = RabbitMq(services)
        self.database_url = database.env()["DATABASE_URL"]
        self.database = self._proxy(self.database_url)
        self.broker = self._proxy(self.rabbitmq.url)
        self.schema = f"chaos_{uuid.uuid4().hex[:12]}"
        self.marks, self.started, self.go = folder / "marks", folder / "started", folder / "go"
        self.cluster = Cluster(
            folder,
            self._through(self.database, self.database_url),
            self.schema,
            environment={"RABBITMQ_URL": self._through(self.broker, self.rabbitmq.url)},
        )
        self.accepted = 0  # tasks, all of which have to complete
        self.padding = 0  # bytes that the tasks of the load carry along
        self.delays = True  # some of them are due later
        self.sound = False  # seen to be well after the last disturbance

    @staticmethod
    def _proxy(url):
        return Proxy(int(re.search(r"@127\.0\.0\.1:(\d+)", url).group(1)))

    @staticmethod
    def _through(proxy, url):
        return re.sub(r"@127\.0\.0\.1:\d+", f"@127.0.0.1:{proxy.port}", url)

    def start(self, slots=8):
        self.cluster.migrate()
        self.keepers = [self._add("maintenance") for _ in range(2)]
        self.workers = [self._add("worker") for _ in range(2)]
        self.apis = [self._add("api") for _ in range(2)]
        for worker in self.workers:
            worker.add_program("mark", MARK.format(marks=self.marks))
            options = 'timeout = "1h"\n'
            worker.add_program("timed", TIMED.format(marks=self.started, go=self.go), options)
            worker.configure(f"[worker]\nslots = {slots}")
        for process in self.cluster.processes:
            process.launch()
        for process in self.workers + self.keepers:
            process.wait_for_words("session", timeout=60)
        for process in self.apis:
            process.wait_ready(timeout=60)
        # RabbitMQ 3.10 knows a quorum queue after kill -9 once it is some seconds old.
        self.apis[0].rest.run("opscore.noop")
        self.accepted = 1
        pause(3)
        return self

    def _add(self, role):
        return self.cluster.add(role, environment=self.environments.get(role))

    def clean_up(self):
        self.go.touch()
        self.cluster.clean_up()
        self.database.close()
        self.broker.close()
        with contextlib.suppress(subprocess.CalledProcessError):  # its own database is away
            psql(self.database_url, f'DROP SCHEMA IF EXISTS "{self.schema}" CASCADE')
        self.rabbitmq.close()

    def select(self, statement):
        return psql(self.database_url, f'SET search_path TO "{self.schema}"; {statement}')

    def number(self, statement):
        return float(self.select(statement) or 0)

    def lines_of(self, file):
        """What programs have written."""
        return file.read_text().splitlines() if file.exists() else []

    def doubled(self):
        marks = self.lines_of(self.marks)
        return len(marks) - len(set(marks))

    def under_load(self, disturb, clock_jumps=False):
        """Runs `disturb` while tasks are submitted and run, then checks that all is well. With
        `clock_jumps` times in the database mean nothing."""
        self.sound = False
        accepted, doubled = self.accepted, self.doubled()
        self.load = Load(self)
        self.load.start()
        try:
            full = self.load.full
            wait_for(full.is_set, lambda: f"the load is there: {self.load}", DRAINED_S)
            began = self.select("SELECT max(finished) FROM outcomes")
            disturb()
        finally:
            self.load.enough.set()
            self.load.join(DRAINED_S)
        assert self.load.ended_well, "the load has gone on to the end"
        self.check(clock_jumps)
        quiet_s = self.load.quiet_s if clock_jumps else self.longest_quiet_s(began)
        tasks, doubled = self.accepted - accepted, self.doubled() - doubled
        return Felt(tasks, self.load.longest_s, quiet_s, doubled)

    def longest_quiet_s(self, since):
        gaps = "SELECT finished - lag(finished) OVER (ORDER BY finished) gap FROM outcomes"
        return self.number(f"SELECT max(gap) FROM ({gaps} WHERE finished >= {since}) g") / 1000

    def check(self, clock_jumps=False):
        """That what was accepted has ended as promised, and nothing is left of it. The canaries of
        workers come and go meanwhile, and are not looked at."""
        wait_for(
            lambda: self.select("SELECT count(*) FROM live") == "0",
            lambda: "drained; left: "
            + self.select("SELECT state, count(*), max(attempt) FROM live GROUP BY state"),
            DRAINED_S,
        )
        ended = self.select(
            "SELECT count(*), count(DISTINCT key), count(*) FILTER (WHERE state = 4), "
            "count(*) FILTER (WHERE ended = 0) "
            "FROM outcomes JOIN tasks USING(key) JOIN lanes USING(lane) "
            "WHERE type <> 'opscore.canary'"
        )
        assert ended == "|".join([str(self.accepted)] * 4), "every task has one end, completed"
        twice = self.select("SELECT count(*) FROM attempts WHERE ended = 0")
        assert twice == "0", "finished twice"
        assert self.number("SELECT max(charged) FROM outcomes") <= 5
        counted = self.select(
            "SELECT sum(completed), sum(failed) FROM counters "
            "WHERE queue NOT LIKE 'opscore.canary.%'"
        )
        assert counted == f"{self.accepted}|0", "counters equal rows"
        early = "SELECT count(*) FROM tasks JOIN outcomes USING(key) WHERE claimed < run_at"
        assert clock_jumps or self.number(early) == 0, "run early"
        left = "SELECT count(*) FROM outbox"
        wait_for(lambda: self.select(left) == "0", "the outbox is empty", 60)
        hints = self.rabbitmq.hints
        wait_for(lambda: hints() == (0, 0), lambda: f"hints are answered: {hints()}", 60)
        assert len(set(self.lines_of(self.marks))) == self.number(
            "SELECT count(*) FROM tasks JOIN lanes USING(lane) WHERE type = 'mark'"
        ), "every program ran"
        self.sound = True


class Load(threading.Thread):
    """Keeps so many tasks unfinished. A batch without an answer is sent again, to any API, under
    the same ids, as a careful client does."""

    def __init__(self, installation):
        super().__init__()
        self.at = installation
        self.enough, self.full = threading.Event(), threading.Event()
        self.longest_s = 0.0
        self.refusals = set()  # of submits: status and reason
        self.ended_well = False
        self.dice = random.Random(7)
        # How many had ended when somebody looked, since when, and the longest time without news.
        self.finished, self.since, self.quiet_s = installation.accepted, time.monotonic(), 0.0

    def __str__(self):
        return f"{self.at.accepted} accepted, {self.finished} finished, refused: {self.refusals}"

    def run(self):
        while not self.enough.is_set():
            self.look()
            if self.at.accepted - self.finished < IN_FLIGHT:
                self.submit_batch()
            else:
                self.full.set()
                self.enough.wait(0.02)
        self.ended_well = True

    def look(self):
        answer, now = self.ask("GET", "queues"), time.monotonic()
        if answer is None or answer.status != 200:
            return
        finished = sum(each["completed"] for each in answer.json()["queues"])
        if self.full.is_set():
            self.quiet_s = max(self.quiet_s, now - self.since)
        if finished != self.finished or not self.full.is_set():
            self.finished, self.since = finished, now

    def submit_batch(self):
        tasks = [self.task(n) for n in range(self.at.accepted, self.at.accepted + BATCH)]
        began = time.monotonic()
        while True:
            answer = self.ask("POST", "tasks/batch", tasks)
            if answer is not None and answer.status in (200, 202):
                break
            if answer is not None:
                self.refusals.add((answer.status, answer.json().get("detail", "")))
            assert time.monotonic() - began < DRAINED_S, f"not accepted: {answer}"
            pause(0.02)
        self.longest_s = max(self.longest_s, time.monotonic() - began)
        self.at.accepted += BATCH

    def task(self, n):
        task = {"task_type": "opscore.sleep", "input_data": {"ms": 5}, "task_id": f"chaos-{n}"}
        if n % MARKED == 0:
            task = {"task_type": "mark", "task_id": f"chaos-{n}"}
        if n % DELAYED == 7 and self.at.delays:
            task["delay"] = "500ms"
        if self.at.padding:
            task["metadata"] = {"padding": self.dice.randbytes(self.at.padding // 2).hex()}
        return task

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
    """kill -9 of one after the other, the supervised process or its supervisor. How often."""
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
