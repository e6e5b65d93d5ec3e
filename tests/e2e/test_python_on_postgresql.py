"""Python actors and applications of Dramatiq on PostgreSQL: in workers of their own."""

import json
import signal
import subprocess
import sys
import textwrap

import pytest

from harness.dramatiq import NEWEST, installed
from harness.rabbitmq import DramatiqQueue
from harness.waiting import wait_for

ACTORS = """
    import os, pathlib, threading
    import opscore

    @opscore.actor
    def add(a: int, b: int = 1): return a + b

    @opscore.actor
    def parent(task: opscore.Context):
        return task.submit("add", {"a": 41}).task_id

    @opscore.actor
    def wait_for(file: str):
        pathlib.Path(file + "." + str(os.getppid())).touch()
        while not pathlib.Path(file).exists(): threading.Event().wait(0.01)
        return os.getppid()
"""
SHOP = """
    import os
    import dramatiq
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    broker = RabbitmqBroker(url=os.environ["RABBITMQ_URL"])
    dramatiq.set_broker(broker)

    @dramatiq.actor(queue_name="sums")
    def add(a, b):
        return a + b

    @dramatiq.actor(queue_name="sums")
    def double(a):
        return 2 * a

    @dramatiq.actor(queue_name="other", max_retries=1, min_backoff=10, max_backoff=10)
    def boom(why):
        raise ValueError(why)

    @dramatiq.actor(queue_name="other")
    def told(message, failure):
        return [message["args"], failure["message"]]
"""


def hosting_worker(cluster):
    worker = cluster.add("worker", toml=f'[python]\ninterpreter = "{sys.executable}"\n')
    (worker.folder / "app.py").write_text(textwrap.dedent(ACTORS))
    worker.launch("--python", "app", "--slots", 2)
    return worker.wait_for_words("session")


@pytest.fixture
def cluster(new_cluster):
    cluster = new_cluster().migrate()
    cluster.maintenance()
    return cluster


def test_workers_host_actors(cluster):
    hosting_worker(cluster)
    rest = cluster.api().rest
    assert rest.run("add", {"a": 1})["result"] == 2
    child = rest.run("parent")["result"]
    assert rest.wait(child)["result"] == 42


def test_what_a_killed_worker_had_runs_in_another(cluster, tmp_path):
    workers = [hosting_worker(cluster) for _ in range(2)]
    rest = cluster.api().rest
    task = rest.submit("wait_for", {"file": str(tmp_path / "go")})["task_id"]
    (begun,) = wait_for(lambda: list(tmp_path.glob("go.*")), "it runs", 30)
    first = int(begun.suffix[1:])
    (killed,) = [each for each in workers if each.worker_pid() == first]
    killed.kill()
    (tmp_path / "go").touch()
    done = rest.wait(task, timeout=60)
    assert (done["status"], done["attempts"]) == ("completed", 1)
    assert done["result"] != first


def send(process, expression):
    """What the application prints that sends it."""
    done = subprocess.run(
        [installed(NEWEST), "-c", f"import json\nfrom shop import *\n{expression}"],
        cwd=process.folder,
        env=process.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_opscore_dramatiq_is_a_worker_of_the_installation(new_cluster, rabbitmq):
    cluster = new_cluster(environment={"RABBITMQ_URL": rabbitmq.url}).migrate()
    cluster.maintenance()
    applications = []
    for _ in range(2):
        application = cluster.add(
            "dramatiq", environment={"VIRTUAL_ENV": str(installed(NEWEST).parents[1])}
        )
        (application.folder / "shop.py").write_text(textwrap.dedent(SHOP))
        application.launch("shop", "-p", 1, "-t", 4)
        applications.append(application)
    for application in applications:
        application.wait_for_words("session")
    rest = cluster.api().rest
    send(
        applications[0],
        "for n in range(200):\n    add.send(n, b=1)\n"
        "(add.message(1, 2) | double.message()).run()\n"
        "boom.send_with_options(args=('why',), on_failure='told', max_retries=0)\n",
    )

    def done(task_type):
        listed = rest.get(f"tasks?task_type={task_type}&status=completed,failed&limit=1000")
        return [rest.task(each["task_id"]) for each in listed["tasks"]]

    wait_for(lambda: len(done("add")) == 201, lambda: f"{len(done('add'))} of 201 sums", 60)
    assert sorted(each["result"] for each in done("add")) == sorted([*range(1, 201), 3])
    assert len({each["worker"] for each in done("add")}) == 2
    wait_for(lambda: done("double"), "the next stage has run", 30)
    assert done("double")[0]["result"] == 6
    wait_for(lambda: done("told"), "the callback has run", 30)
    assert done("told")[0]["result"] == [["why"], "why"]
    (dead,) = DramatiqQueue(rabbitmq, "other.XQ").wait_messages(1)
    assert json.loads(dead["payload"])["actor_name"] == "boom"
    for application in applications:
        application.process.send_signal(signal.SIGTERM)
        assert application.process.wait(30) == 0
