"""RabbitMQ tells workers of work: what they do with its hints, and without."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

import pytest

from harness.cluster import psql
from harness.rabbitmq import RabbitMq
from harness.rest import Rest
from harness.server import free_port
from harness.services import provide
from harness.waiting import wait_for


@pytest.fixture
def rabbitmq(services, postgres):
    provide(services, "rabbitmq")
    found = RabbitMq(services)
    yield found
    found.close()


@pytest.fixture
def secure(rabbitmq):
    """A port of RabbitMQ with TLS, and the certificate that it has made itself."""
    with tempfile.TemporaryDirectory(prefix="opscore-amqps-") as name:
        folder, port = pathlib.Path(name), free_port()
        subprocess.run(
            ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2", "-subj",
             "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem",
             "-out", "cert.pem"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        for path, mode in ((folder, 0o755), (folder / "key.pem", 0o644)):  # of another user
            path.chmod(mode)
        files = f'[{{certfile,"{folder}/cert.pem"}},{{keyfile,"{folder}/key.pem"}}]'
        listener = f'{{"127.0.0.1",{port}}}'
        rabbitmq.ctl("eval", f"rabbit_networking:start_ssl_listener({listener}, {files}, 1).")
        yield port, folder / "cert.pem"
        rabbitmq.ctl("eval", f"rabbit_networking:stop_tcp_listener({listener}).")


@pytest.fixture
def at(rabbitmq, new_cluster):
    """An installation whose worker and maintenance are still to be started."""
    return new_cluster(environment={"RABBITMQ_URL": rabbitmq.url}).migrate()


@pytest.fixture
def running(at):
    at.maintenance()
    at.worker("--slots", 4).wait_for_words("connected to RabbitMQ")
    return at.api().rest


def submit_many(rest, count, task_type="opscore.noop", first=0, **fields):
    tasks = [{"task_type": task_type, "task_id": f"t-{first + n}", **fields} for n in range(count)]
    rest.expect(202, "POST", "tasks/batch", tasks)
    return [task["task_id"] for task in tasks]


def wait_all(rest, tasks, timeout=60):
    for task in tasks:
        assert rest.wait(task, timeout=timeout)["status"] == "completed"


def refused(rest):
    """The queues that a worker reports as refused."""
    brokers = [worker["broker"] for worker in rest.get("workers")["workers"]]
    return [queue for broker in brokers if broker for queue in broker["refused"]]


def answered(rabbitmq):
    wait_for(lambda: rabbitmq.hints() == (0, 0), lambda: f"answered: {rabbitmq.hints()}", 60)


@contextlib.contextmanager
def stopped(process):
    """SIGSTOP of a process, and of its supervisor, which would end it."""
    pids = [process.process.pid, process.worker_pid()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


def test_tasks_are_run_and_all_hints_answered(running, rabbitmq):
    assert running.run("opscore.echo", {"n": 1})["result"] == {"n": 1}
    wait_all(running, submit_many(running, 300))
    wait_all(running, submit_many(running, 50, queue="mail", first=1000))
    answered(rabbitmq)


def test_connections_are_named_after_their_sessions(running, rabbitmq):
    session = next(w for w in running.get("workers")["workers"] if w["slots"])["worker"]
    number = session.removeprefix("worker-")
    wait_for(
        lambda: f"opscore worker {number}" in rabbitmq.connections(),
        lambda: f"opscore worker {number} among {rabbitmq.connections()}",
        60,
    )


def test_without_rabbitmq_submits_are_accepted_and_work_goes_on(at, running, rabbitmq, services):
    wait_all(running, submit_many(running, 20))
    services.halt("rabbitmq")
    try:
        wait_all(running, submit_many(running, 20, first=100))
        late = at.worker("--slots", 4)
        wait_all(running, submit_many(running, 20, first=200))
    finally:
        services.start("rabbitmq")
    late.wait_for_words("the broker brings hints again", timeout=60)
    wait_all(running, submit_many(running, 20, first=300))
    answered(rabbitmq)


def test_lost_hints_cost_time_only(at, running, rabbitmq):
    running.run("opscore.noop")
    announcer = at.processes[1]
    assert announcer.role == "maintenance"
    with stopped(announcer):
        tasks = submit_many(running, 30)
        psql(at.url, f'DELETE FROM "{at.schema}".outbox')
    wait_all(running, tasks)
    answered(rabbitmq)


def test_a_deleted_queue_is_made_again(running, rabbitmq):
    running.run("opscore.noop")
    rabbitmq.delete()
    # RabbitMQ 3.10 may keep the first hint of the new queue to itself.
    wait_all(running, submit_many(running, 30))
    wait_for(lambda: rabbitmq.exists(), "the queue is there again", 60)


def test_stale_hints_are_answered_and_hold_up_nothing(running, rabbitmq):
    running.run("opscore.noop")
    rabbitmq.publish('{"queue":"default","n":1000}', count=30)
    assert running.run("opscore.noop")["status"] == "completed"
    answered(rabbitmq)


def test_a_queue_that_exists_with_other_arguments_is_explained_and_done_without(at, rabbitmq):
    rabbitmq.declare("default", {"x-max-length": 5})
    keeper = at.maintenance()
    probes = free_port()
    worker = at.worker("--slots", 4, "--probes-port", probes)
    rest = at.api().rest
    wait_all(rest, submit_many(rest, 10))
    refusal = "RabbitMQ refuses queue 'opscore.default' exists in vhost"
    worker.wait_for_words(refusal)
    keeper.wait_for_words(refusal)
    line = next(line for line in worker.output().splitlines() if refusal in line)
    for words in ("x-queue-type = 'quorum'", "RabbitMQ has it with", "delete_queue", "a vhost of"):
        assert words in line, line
    assert worker.output().count(refusal) == 1, "said once"
    metrics = Rest(probes).send("GET", "/metrics").body.decode().splitlines()
    assert "opscore_broker_connected 1" in metrics
    assert "opscore_broker_blocked 0" in metrics
    assert "opscore_broker_refused_queues 1" in metrics
    wait_for(lambda: refused(rest), "the worker reports it", 30)
    assert any("refuses queue 'opscore.default'" in each for each in rest.get("/ready")["reasons"])
    rabbitmq.delete()
    wait_all(rest, submit_many(rest, 10, first=100))
    wait_for(lambda: rabbitmq.exists(), "the queue is there again", 60)
    wait_for(lambda: not refused(rest), "the worker reports that, too", 60)


def test_a_queue_that_does_not_answer_holds_up_no_other(at, rabbitmq):
    keeper = at.maintenance()
    at.worker("--slots", 4)
    rest = at.api().rest
    for queue in ("default", "silent"):
        rest.run("opscore.noop", queue=queue)
    with rabbitmq.silent("silent"):
        stuck = submit_many(rest, 5, queue="silent")
        began = time.monotonic()
        for _ in range(30):
            rest.run("opscore.noop")
        assert time.monotonic() - began < 30, "each was held up for as long as a call may take"
        keeper.wait_for_words("queue 'opscore.silent' does not answer")
        wait_all(rest, stuck)
    wait_all(rest, submit_many(rest, 5, queue="silent", first=100))
    answered(rabbitmq)


def test_a_memory_alarm_stops_neither_submits_nor_workers(running, rabbitmq):
    running.run("opscore.noop")
    rabbitmq.set_alarm(True)
    try:
        tasks = submit_many(running, 20)
        wait_all(running, tasks)
    finally:
        rabbitmq.set_alarm(False)
    wait_all(running, submit_many(running, 20, first=100))
    answered(rabbitmq)


def test_a_busy_worker_leaves_its_hints_to_others(at, rabbitmq):
    at.maintenance()
    busy = at.worker("--slots", 1)
    rest = at.api().rest
    slow = rest.submit("opscore.sleep", {"ms": 60_000})["task_id"]
    rest.wait(slow, "running")
    task = rest.submit("opscore.noop")["task_id"]
    wait_for(lambda: rabbitmq.hints()[0] == 1, lambda: f"given back: {rabbitmq.hints()}", 30)
    at.worker("--slots", 1)
    assert rest.wait(task)["status"] == "completed"
    answered(rabbitmq)
    rest.expect(202, "POST", f"tasks/{slow}/cancel")
    assert busy.process.poll() is None


def test_a_task_that_the_first_worker_does_not_know_reaches_another(at, rabbitmq):
    at.maintenance()
    at.worker("--slots", 2).wait_for_words("connected to RabbitMQ")
    knows = at.add("worker")
    knows.add_program("rare", "#!/bin/sh\nprintf '\"done\"'\n")
    knows.launch("--slots", "2")
    knows.wait_for_words("connected to RabbitMQ")
    rest = at.api().rest
    tasks = submit_many(rest, 6, "rare")
    wait_all(rest, tasks)
    answered(rabbitmq)


def test_a_worker_that_is_stopped_loses_its_hints_to_others(at, rabbitmq):
    at.maintenance()
    silent, _ = (at.worker("--slots", 2) for _ in range(2))
    rest = at.api().rest
    with stopped(silent):
        wait_all(rest, submit_many(rest, 40))
    answered(rabbitmq)


def test_on_sqlite_a_broker_is_named_as_unused(new_server):
    server = new_server(environment={"RABBITMQ_URL": "amqp://u:secret@localhost"})
    server.start()
    assert "RabbitMQ is not used" in server.output()
    assert "secret" not in server.output()


def test_over_tls_to_the_second_server_of_a_list(at, rabbitmq, secure):
    port, certificate = secure
    there = re.sub(r"^amqp://(.*)@[^/]*", rf"amqps://\1@localhost:{port}", rabbitmq.url)
    trusted = {"RABBITMQ_URL": f"amqp://u:p@127.0.0.1:1/v,{there}?cacertfile={certificate}"}
    keeper = at.maintenance(environment=trusted)
    worker = at.worker("--slots", 2, environment=trusted)
    rest = at.api().rest
    wait_all(rest, submit_many(rest, 20))
    answered(rabbitmq)
    for process in (keeper, worker):
        process.wait_for_words("connected to RabbitMQ at amqps://")
    # One that has no reason to believe the server goes on without it, and says why.
    wary = at.worker("--slots", 2, environment={"RABBITMQ_URL": there})
    wary.wait_for_words("its certificate is not signed by any in")


@pytest.mark.parametrize("url", ["http://localhost", "amqp://h:notaport"])
def test_a_url_that_cannot_be_is_refused_at_the_start(new_server, url):
    server = new_server(environment={"RABBITMQ_URL": url})
    assert server.launch().wait(timeout=30) == 2
    assert "RABBITMQ_URL" in server.output()
