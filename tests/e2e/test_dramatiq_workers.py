"""Tasks that workers of Python's Dramatiq run, handed over by `opscore up` on SQLite."""

import contextlib
import json
import os

import pytest

from harness.dramatiq import NEWEST, VERSIONS
from harness.dramatiq_worker import DramatiqWorker
from harness.waiting import wait_for

ACTORS = """
[actors.add]
kind = "dramatiq"

[actors.flaky]
kind = "dramatiq"
queue = "slow"
max_attempts = 3
backoff.min = "100ms"
backoff.max = "200ms"

[actors.boom]
kind = "dramatiq"
max_attempts = 1

[actors.patient]
kind = "dramatiq"

[actors.nobody]
kind = "dramatiq"
queue = "nowhere"
"""

APP = """
import os
import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
broker = RabbitmqBroker(url=os.environ["RABBITMQ_URL"])
if os.environ.get("OPSCORE_URL"):
    from opscore.dramatiq import OpscoreMiddleware, report_progress
    broker.add_middleware(OpscoreMiddleware())
dramatiq.set_broker(broker)

@dramatiq.actor
def add(x, y=0):
    return x + y

@dramatiq.actor(queue_name="slow")
def flaky(path):
    if not os.path.exists(path):
        open(path, "w").close()
        raise ValueError("not yet")
    report_progress({"percent": 50})
    return "at last"

@dramatiq.actor
def patient(path):
    with open(path) as pipe:
        return pipe.read()

@dramatiq.actor
def boom(words="boom"):
    raise RuntimeError(words)
"""


@pytest.fixture
def at(rabbitmq, new_server):
    """A running opscore that hands tasks over."""
    management = rabbitmq.services.env()["RABBITMQ_MANAGEMENT_URL"]
    server = new_server(
        environment={"RABBITMQ_URL": rabbitmq.url, "RABBITMQ_MANAGEMENT_URL": management}
    )
    server.configure(ACTORS)
    return server.start()


@pytest.fixture
def new_worker(at, rabbitmq, tmp_path):
    with contextlib.ExitStack() as stack:

        def make(version=NEWEST, reports=True, source=APP):
            environment = {"RABBITMQ_URL": rabbitmq.url}
            if reports:
                environment["OPSCORE_URL"] = f"http://127.0.0.1:{at.port}"
            worker = DramatiqWorker(tmp_path / f"worker-{version}", source, environment, version)
            stack.callback(worker.clean_up)
            return worker

        yield make


def events_of(rest, task):
    return [event["kind"] for event in rest.get(f"tasks/{task}/events")["events"]]


def wait_for_event(rest, task, kind):
    wait_for(lambda: kind in events_of(rest, task), lambda: f"{kind}: {events_of(rest, task)}", 30)


def messages(at, queue):
    seen = json.loads(at.cli("broker", "inspect", queue, "--json").stdout)
    return [message for message in seen["messages"] if message["queue"] == queue]


@pytest.mark.parametrize("version", VERSIONS)
def test_python_runs_what_is_submitted(at, new_worker, version, tmp_path):
    worker = new_worker(version).start()
    rest = at.rest
    assert rest.run("add", {"x": 1, "y": 2}, within=60)["result"] == 3
    assert rest.run("add", [3], within=60)["result"] == 3
    late = rest.run("add", {"args": [4], "kwargs": {"y": 5}}, delay="1s", priority=7, within=60)
    assert late["result"] == 9
    flaky = rest.run("flaky", {"path": str(tmp_path / "mark")}, within=60)
    assert flaky["result"] == "at last"
    assert flaky["attempts"] == 2
    attempts = rest.get(f"tasks/{flaky['task_id']}/attempts")["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["error", "completed"]
    kinds = events_of(rest, flaky["task_id"])
    # A fast worker reports before the leader has noted that RabbitMQ has the message.
    assert kinds[0] == "submitted"
    assert {"handed_to_dramatiq", "started", "picked_up"} <= set(kinds)
    failed = rest.run("boom", {"words": "card declined"}, within=60)
    assert failed["status"] == "failed"
    assert failed["error"]["kind"] == "RuntimeError"
    assert failed["error_message"] == "card declined"
    assert "Traceback" in failed["error"]["detail"]
    assert worker.stop() == 0


def test_the_bytes_are_those_that_python_sends(at, new_worker, rabbitmq):
    worker = new_worker()
    worker.run("app.add.send(1, y='h\\u00e9llo')")
    task = at.rest.submit("add", {"args": [1], "kwargs": {"y": "h\u00e9llo"}})["task_id"]
    wait_for_event(at.rest, task, "handed_to_dramatiq")
    path = f"queues/{rabbitmq.vhost}/default/get"
    got = rabbitmq.ask(
        "POST", path, {"count": 2, "ackmode": "ack_requeue_true", "encoding": "auto"}
    )
    pythons, ours = (json.loads(each["payload"]) for each in got)
    for each in (pythons, ours):
        for name in ("message_id", "message_timestamp"):
            each.pop(name)
    assert pythons == ours
    shapes = [each["payload"].split('"message_id"')[0] for each in got]
    assert shapes[0] == shapes[1], "byte for byte"
    assert got[0]["properties"] == got[1]["properties"]


def test_without_reports_it_says_what_to_install(at, new_worker, rabbitmq):
    task = at.rest.submit("add", [1])["task_id"]
    wait_for_event(at.rest, task, "handed_to_dramatiq")
    worker = new_worker(reports=False).start()
    wait_for(lambda: not messages(at, "default"), lambda: "it was taken", 30)
    shown = at.rest.get(f"tasks/{task}")
    assert shown["status"] == "pending"
    assert "handed_to_dramatiq" in shown["reason"]
    assert "pip install opscore" in shown["reason"]
    # RabbitMQ's management may still count it as held for some seconds.
    wait_for(
        lambda: at.rest.get(f"tasks/{task}/explain")["verdict"] == "handed_to_dramatiq",
        "it is known to be with Dramatiq, and no more",
    )
    refused = at.rest.send("POST", f"tasks/{task}/cancel")
    assert refused.status == 409
    assert refused.json()["type"] == "urn:opscore:error:handed-to-dramatiq"
    assert "handed_to_dramatiq" in refused.json()["detail"]
    assert at.rest.send("DELETE", f"tasks/{task}").status == 409
    assert worker.stop() == 0


def test_a_restart_hands_nothing_over_twice(at, new_worker):
    task = at.rest.submit("add", [1])["task_id"]
    wait_for_event(at.rest, task, "handed_to_dramatiq")
    at.kill()
    at.start()
    other = at.rest.submit("add", [2])["task_id"]
    wait_for_event(at.rest, other, "handed_to_dramatiq")
    assert sorted(each["message_id"] for each in messages(at, "default")) == sorted([task, other])


def test_reports_wait_while_opscore_is_away(at, new_worker, tmp_path):
    worker = new_worker().start()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    task = at.rest.submit("patient", {"path": str(pipe)})["task_id"]
    wait_for(lambda: at.rest.get(f"tasks/{task}")["status"] == "running", lambda: "it runs", 30)
    at.stop()
    pipe.write_text("at last")
    worker.wait_for_words("Reports do not reach opscore")
    at.start()
    done = at.rest.wait(task, timeout=60)
    assert done["result"] == "at last"
    assert done["attempts"] == 1
    worker.wait_for_words("Reports reach opscore again")
    assert worker.stop() == 0


def test_rabbitmq_away_is_said(rabbitmq, new_server):
    server = new_server(environment={"RABBITMQ_URL": "amqp://guest:guest@127.0.0.1:9/"})
    server.configure(ACTORS)
    server.start()
    task = server.rest.submit("add", [1])["task_id"]

    def verdict():
        return server.rest.get(f"tasks/{task}/explain")

    wait_for(
        lambda: "127.0.0.1:9" in verdict()["sentence"], lambda: f"says why: {verdict()}", 30
    )
    assert verdict()["verdict"] == "not_handed_over"


def test_an_actor_of_python_takes_rabbitmq(new_server):
    server = new_server()
    server.configure(ACTORS)
    assert server.launch().wait(30) == 2
    assert "RABBITMQ_URL" in server.output()


def test_dead_messages_go_back(at, new_worker):
    worker = new_worker().start()
    failed = at.rest.run("boom", {"words": "first"}, within=60)
    assert failed["status"] == "failed"
    wait_for(lambda: len(messages(at, "default.XQ")) == 1, lambda: "it is dead", 30)
    dead = messages(at, "default.XQ")[0]
    assert dead["actor"] == "boom"
    assert dead["message_id"] == failed["task_id"]
    assert "rejected from default" in dead["why"]
    redriven = at.cli("broker", "redrive", "default", "--actor", "boom", "--yes", "--json")
    assert json.loads(redriven.stdout)["redriven"] == 1, redriven.stderr
    wait_for_event(at.rest, failed["task_id"], "sent_back")
    wait_for(
        lambda: at.rest.get(f"tasks/{failed['task_id']}")["attempts"] == 2,
        lambda: at.rest.get(f"tasks/{failed['task_id']}"),
        30,
    )
    wait_for(lambda: len(messages(at, "default.XQ")) == 1, lambda: "it is dead again", 30)
    purged = at.cli("broker", "purge", "default.XQ", "--yes")
    assert purged.stdout.startswith("purged 1 "), purged.stderr
    assert messages(at, "default.XQ") == []
    assert worker.stop() == 0


def test_a_failed_task_is_retried_as_another_message(at, new_worker, tmp_path):
    worker = new_worker().start()
    failed = at.rest.run("boom", {}, within=60)
    at.rest.expect(202, "POST", f"tasks/{failed['task_id']}/retry", {"input_data": {"words": "2"}})
    again = at.rest.wait(failed["task_id"], timeout=60)
    assert again["error_message"] == "2"
    assert again["attempt"] == 2
    assert worker.stop() == 0


def test_send_test_follows_a_task_to_its_end(at, new_worker):
    worker = new_worker().start()
    done = at.cli("send-test", "--actor", "add", "--input", "[1, 2]")
    assert done.returncode == 0, done.stdout + done.stderr
    hops = [line.split()[2] for line in done.stdout.splitlines()]
    assert hops[0] == "submitted"
    assert "picked" in hops
    assert hops[-1] == "completed"
    lost = at.cli("send-test", "--queue", "nowhere", "--actor", "x", "--wait", "1s")
    assert lost.returncode == 6
    assert "nobody consumes 'nowhere'" in lost.stdout
    assert worker.stop() == 0
