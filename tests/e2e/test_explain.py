"""Each verdict, by creating its fault."""

import json
import uuid

import pytest

from harness.waiting import wait_for


def explain(rest, task_id):
    answer = rest.get(f"tasks/{task_id}/explain")
    assert answer["sentence"] and answer["hops"][0]["hop"] == "record"
    return answer


@pytest.fixture
def rest(shared):
    return shared.rest


def test_completed(rest):
    assert explain(rest, rest.run("opscore.noop")["task_id"])["verdict"] == "completed"


def test_failed(rest):
    task = rest.run("opscore.fail", {"message": "for a reason", "retryable": False})
    answer = explain(rest, task["task_id"])
    assert answer["verdict"] == "failed"
    assert "for a reason" in str(answer)
    assert task["task_id"] in answer["next_command"]


def test_running(rest):
    task_id = rest.submit("opscore.sleep", {"ms": 30_000})["task_id"]
    rest.wait(task_id, "running")
    assert explain(rest, task_id)["verdict"] in ("running", "not_started")
    rest.expect(202, "POST", f"tasks/{task_id}/cancel")


def test_due_later(rest):
    task_id = rest.submit("opscore.noop", delay="1h")["task_id"]
    assert explain(rest, task_id)["verdict"] == "due_later"


def test_waiting_for_retry(rest):
    task_id = rest.submit(
        "opscore.fail",
        {"message": "flaky", "retryable": True},
        backoff={"min": "1h", "max": "1h", "jitter": 0},
    )["task_id"]
    rest.wait(task_id, "scheduled")
    answer = explain(rest, task_id)
    assert answer["verdict"] == "waiting_for_retry"
    assert "flaky" in str(answer)


def test_queue_paused(rest):
    queue = "q" + uuid.uuid4().hex
    rest.run("opscore.noop", queue=queue)
    rest.expect(200, "POST", f"queues/{queue}/pause")
    task_id = rest.submit("opscore.noop", queue=queue)["task_id"]
    answer = explain(rest, task_id)
    assert answer["verdict"] == "queue_paused"
    assert f"resume {queue}" in answer["next_command"]


def test_snoozed_and_stopping(new_server):
    server = new_server()
    server.add_program("later", "#!/bin/sh\nexit 75\n", 'exit_codes = {75 = "snooze 1h"}')
    server.add_program("deaf", "#!/bin/sh\ntrap '' TERM\nsleep 30 & wait\nsleep 30\n")
    rest = server.start().rest
    later, deaf = rest.submit("later")["task_id"], rest.submit("deaf")["task_id"]
    rest.wait(later, "scheduled")
    assert explain(rest, later)["verdict"] == "snoozed"
    rest.wait(deaf, "running")
    rest.expect(202, "POST", f"tasks/{deaf}/cancel")
    assert explain(rest, deaf)["verdict"] == "stopping"


def test_nobody_is_there(new_server):
    server = new_server()
    server.configure('[worker]\nqueues = ["other"]')
    rest = server.start().rest
    task_id = rest.submit("opscore.noop")["task_id"]
    assert explain(rest, task_id)["verdict"] == "no_worker"
    server.stop()
    done = server.cli("explain", task_id, "--json")
    assert json.loads(done.stdout)["verdict"] == "server_down", done.stderr


def test_all_slots_busy(new_server):
    server = new_server()
    server.configure("[worker]\nslots = 1")
    rest = server.start().rest
    rest.wait(rest.submit("opscore.sleep", {"ms": 30_000})["task_id"], "running")
    task_id = rest.submit("opscore.noop")["task_id"]
    # The session says how busy it is with its next renewal.
    wait_for(lambda: explain(rest, task_id)["verdict"] == "slots_busy", "slots_busy")


def test_an_actor_that_is_gone(new_server):
    server = new_server()
    server.add_program("gone", "#!/bin/sh\ntrue\n")
    server.start()
    assert server.rest.run("gone")["status"] == "completed"
    server.stop()
    text = (server.folder / "opscore.toml").read_text()
    (server.folder / "opscore.toml").write_text(text[: text.index("[actors")])
    server.restart()
    submitted = server.rest.submit("gone")
    assert submitted["warnings"], "accepted, with a warning"
    assert explain(server.rest, submitted["task_id"])["verdict"] == "no_actor"


def test_a_queue_and_a_worker(new_server):
    server = new_server()
    server.configure("[worker]\nslots = 1")
    server.start()
    rest = server.rest
    worker = rest.get("workers")["workers"][0]["worker"]
    assert rest.get(f"workers/{worker}/explain")["verdict"] == "worker_ready"
    rest.wait(rest.submit("opscore.sleep", {"ms": 30_000})["task_id"], "running")
    assert rest.get("queues/default/explain")["verdict"] == "nothing_waits"
    task_id = rest.submit("opscore.noop")["task_id"]
    wait_for(
        lambda: rest.get(f"workers/{worker}/explain")["verdict"] == "worker_busy", "it is busy"
    )
    answer = rest.get("queues/default/explain")
    assert answer["verdict"] == "slots_busy" and task_id in answer["sentence"]
    rest.expect(404, "GET", "queues/none/explain")
    rest.expect(404, "GET", "workers/worker-99/explain")

    shown = server.cli("explain", "--queue", "default")
    assert shown.returncode == 0 and "-> slot" in shown.stdout and "slots_busy:" in shown.stdout
    shown = server.cli("explain", "--worker", worker, "--json")
    assert json.loads(shown.stdout)["worker"] == worker
    assert server.cli("explain", "--worker", "worker-99").returncode == 3
    assert server.cli("explain").returncode == 2
    assert server.cli("explain", task_id, "--queue", "default").returncode == 2
    server.kill()
    for arguments in (("--queue", "default"), ("--worker", worker)):
        shown = server.cli("explain", *arguments, "--json")
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout)["next_command"] == "opscore up"


def test_a_message_that_nobody_consumes_and_one_that_is_held(
    new_server, rabbitmq, services, holder
):
    server = new_server()
    server.environment["RABBITMQ_URL"] = rabbitmq.url
    server.environment["RABBITMQ_MANAGEMENT_URL"] = services.env()["RABBITMQ_MANAGEMENT_URL"]
    server.configure('[actors.slow]\nkind = "dramatiq"\nqueue = "python"')
    server.start()
    task_id = server.rest.submit("slow")["task_id"]
    # What is ready the management API says some seconds later; RabbitMQ itself at once.
    wait_for(lambda: explain(server.rest, task_id)["verdict"] == "unconsumed", "nobody consumes it")
    holder("python", send=False)
    wait_for(lambda: explain(server.rest, task_id)["verdict"] == "held", "held", timeout=60)
    broker = explain(server.rest, task_id)["hops"][-1]
    assert broker["hop"] == "broker" and not broker["ok"]
    assert "python: 0 ready, 1 unacked, 1 consumer;" in broker["evidence"]


def test_lease_lost_is_read_from_the_file(new_server):
    """After kill -9 nobody serves the task; the data file says who had it."""
    server = new_server()
    server.start()
    task_id = server.rest.submit("opscore.sleep", {"ms": 60_000})["task_id"]
    server.rest.wait(task_id, "running")
    server.kill()
    done = server.cli("explain", task_id, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "lease_lost", done.stdout
