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
