"""What `explain --worker` and `doctor` say of workers, by making each trouble."""

import os
import shutil
import signal

from harness.cluster import psql
from harness.processes import children_of
from harness.server import free_port
from harness.waiting import wait_for
from test_doctor import doctor


def worker_of(rest, state="consuming"):
    """The name of the one session in that state."""

    def look():
        found = rest.get("workers")["workers"]
        return [each["worker"] for each in found if each["state"] == state]

    return wait_for(look, f"a worker is {state}")[0]


def verdict(rest, worker):
    answer = rest.get(f"workers/{worker}/explain")
    assert answer["sentence"] and answer["next_command"]
    return answer["verdict"]


def test_a_worker_that_ends(new_cluster):
    cluster = new_cluster().migrate()
    rest = cluster.api().rest
    cluster.maintenance()
    assert verdict(rest, worker_of(rest, "leading")) == "maintains"
    cluster.worker()
    worker = worker_of(rest)
    rest.wait(rest.submit("opscore.sleep", {"ms": 5000})["task_id"], "running")
    rest.expect(202, "POST", f"workers/{worker}/drain")
    wait_for(lambda: verdict(rest, worker) == "worker_draining", "it drains")
    wait_for(lambda: verdict(rest, worker) == "worker_ended", "it has ended")


def test_a_worker_that_is_stopped(new_cluster):
    """SIGSTOP: connected, and deaf."""
    cluster = new_cluster().migrate()
    rest = cluster.api().rest
    process = cluster.worker()
    worker = worker_of(rest)
    for pid in (process.process.pid, *children_of(process.process.pid)):
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: verdict(rest, worker) == "worker_silent", "it is silent", timeout=40)
    assert "session_silent" in doctor(process)[1]


def test_a_worker_without_its_rabbitmq(new_cluster):
    cluster = new_cluster(environment={"RABBITMQ_URL": f"amqp://127.0.0.1:{free_port()}/"})
    rest = cluster.migrate().api().rest
    process = cluster.worker()
    worker = worker_of(rest, "connecting")
    wait_for(lambda: verdict(rest, worker) == "broker_away", "RabbitMQ is away")
    findings = doctor(process)[1]
    assert {"broker_unreachable", "session_trouble"} <= set(findings)
    assert worker in findings["session_trouble"]["command"]


def test_a_worker_whose_queue_is_refused(new_cluster, rabbitmq):
    cluster = new_cluster(environment={"RABBITMQ_URL": rabbitmq.url}).migrate()
    rabbitmq.declare("default", {"x-max-length": 3})
    rest = cluster.api().rest
    process = cluster.worker()
    rest.submit("opscore.noop")
    worker = worker_of(rest)
    wait_for(lambda: verdict(rest, worker) == "broker_refuses", "a queue is refused", timeout=60)
    assert "opscore.default" in doctor(process)[1]["session_trouble"]["evidence"]


def test_workers_that_are_not_like_this_program(new_cluster):
    cluster = new_cluster().migrate()
    process = cluster.add("worker")
    process.binary = process.folder / "another" / "opscore"
    process.binary.parent.mkdir()
    shutil.copy2(cluster.processes[0].binary, process.binary)
    process.launch()
    process.wait_for_words("session")
    assert "other_checkout" in doctor(process)[1]
    context = '{"version": "0.0.9", "host": "elsewhere", "executable": "/opt/opscore"}'
    psql(cluster.url, f"UPDATE \"{cluster.schema}\".sessions SET context = '{context}'")
    findings = doctor(process)[1]
    assert {"other_version", "other_host"} <= set(findings)
    assert "other_checkout" not in findings, "another machine has its own paths"
    assert "0.0.9" in findings["other_version"]["evidence"]
