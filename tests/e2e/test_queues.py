"""Queues, workers, actors."""

import uuid

import pytest

from harness.waiting import wait_for


@pytest.fixture
def rest(shared):
    return shared.rest


def test_pause_and_resume(rest):
    queue = "q" + uuid.uuid4().hex
    rest.run("opscore.noop", queue=queue)
    rest.expect(200, "POST", f"queues/{queue}/pause")
    ids = [rest.submit("opscore.noop", queue=queue)["task_id"] for _ in range(3)]
    listed = wait_for(lambda: rest.queue(queue), "the queue is listed")
    assert listed["paused"] is True
    assert (listed["pending"], listed["running"]) == (3, 0)
    assert listed["oldest_pending_age_s"] >= 0
    assert [rest.task(task_id)["status"] for task_id in ids] == ["pending"] * 3
    rest.expect(200, "POST", f"queues/{queue}/resume")
    assert all(rest.wait(task_id)["status"] == "completed" for task_id in ids)
    assert rest.queue(queue)["paused"] is False


def test_purge_removes_what_does_not_run(rest):
    queue = "q" + uuid.uuid4().hex
    rest.submit("opscore.noop", queue=queue, delay="1h")
    rest.expect(200, "POST", f"queues/{queue}/pause")
    ids = [rest.submit("opscore.noop", queue=queue)["task_id"] for _ in range(5)]
    rest.expect(422, "POST", f"queues/{queue}/purge", {"status": "scheduled"})
    answer = rest.expect(200, "POST", f"queues/{queue}/purge")
    assert answer["purged"] >= 5
    rest.expect(404, "GET", f"tasks/{ids[0]}")
    assert rest.queue(queue)["pending"] == 0
    rest.expect(200, "POST", f"queues/{queue}/resume")


def test_fields_of_a_queue(rest):
    queue = "q" + uuid.uuid4().hex
    rest.run("opscore.fail", {"message": "x", "retryable": False}, queue=queue)
    later = rest.submit("opscore.noop", queue=queue, delay="1h")["task_id"]
    listed = rest.queue(queue)
    assert (listed["dead"], listed["scheduled"], listed["waiting"]) == (1, 1, 0)
    assert listed["sessions"] == 1 and listed["slots"] >= 1
    rest.expect(200, "POST", f"tasks/{later}/cancel")


def test_unknown_queue_is_404(rest):
    rest.expect(404, "GET", "queues/never_seen_queue")


def test_workers_and_actors(rest):
    workers = rest.get("workers")["workers"]
    assert len(workers) == 1
    actors = {actor["task_type"]: actor for actor in rest.get("actors")["actors"]}
    assert {"agent_task", "opscore.noop", "opscore.crash"} <= actors.keys()
    assert actors["agent_task"]["kind"] == "agent"


def test_a_queue_that_nobody_serves(new_server):
    server = new_server()
    server.configure('[worker]\nqueues = ["default"]')
    rest = server.start().rest
    submitted = rest.submit("opscore.noop", queue="elsewhere")
    explained = rest.get(f"tasks/{submitted['task_id']}/explain")
    assert explained["verdict"] == "no_worker"
