"""Bulk jobs: cancel, retry, delete and export by filter."""

import json
import uuid

import pytest

from harness.receiver import Receiver
from harness.waiting import wait_for


@pytest.fixture
def rest(shared):
    return shared.rest


def some_queue():
    return "q" + uuid.uuid4().hex


def submit_many(rest, count, task_type="opscore.noop", **fields):
    task = {"task_type": task_type, **fields}
    answer = rest.expect(202, "POST", "tasks/batch", [task] * count)
    return [task["task_id"] for task in answer["tasks"]]


def start(rest, action, status=202, **body):
    return rest.expect(status, "POST", "jobs", {"action": action, **body})


def ended(rest, job, timeout=60):
    """The job once it has ended."""
    last = {}

    def look():
        last.update(rest.get(f"jobs/{job['job_id']}"))
        return last["state"] not in ("pending", "running")

    wait_for(look, lambda: f"the job has ended; it is {last}", timeout)
    return last


def test_cancel_by_filter(rest):
    queue = some_queue()
    ids = submit_many(rest, 250, queue=queue, delay="1h", labels={"batch": "a"})
    others = submit_many(rest, 5, queue=queue, delay="1h", labels={"batch": "b"})
    job = start(rest, "cancel", filter={"queue": queue, "label": "batch:a"})
    assert job["state"] == "pending" and job["job_id"].startswith("job_")
    job = ended(rest, job)
    assert (job["state"], job["matched"], job["done"]) == ("completed", 250, 250)
    assert job["skipped"] == {} and job["progress"] == 1 and job["error"] is None
    assert rest.task(ids[0])["status"] == rest.task(ids[-1])["status"] == "cancelled"
    assert rest.task(others[0])["status"] == "scheduled"
    assert job["job_id"] in [listed["job_id"] for listed in rest.get("jobs")["jobs"]]


def test_retry_what_failed(rest):
    queue = some_queue()
    ids = submit_many(
        rest, 20, "opscore.fail", queue=queue, input_data={"message": "no", "retryable": False}
    )
    for task_id in ids:
        rest.wait(task_id)
    job = ended(rest, start(rest, "retry", filter={"queue": queue, "status": "failed"}))
    assert job["done"] == 20
    for task_id in ids:
        wait_for(lambda: rest.task(task_id)["attempt"] == 2, "it ran once more")


def test_delete_counts_what_it_skips(rest):
    queue = some_queue()
    running = rest.submit("opscore.sleep", {"ms": 600_000}, queue=queue)["task_id"]
    rest.wait(running, "running")
    submit_many(rest, 3, queue=queue, delay="1h")
    dry = start(rest, "delete", status=200, filter={"queue": queue}, dry_run=True)
    assert (dry["matched"], dry["would_do"], dry["exact"]) == (4, 3, True)
    assert rest.queue(queue)["scheduled"] == 3, "a dry run changes nothing"
    job = ended(rest, start(rest, "delete", filter={"queue": queue}))
    assert (job["done"], job["skipped"]) == (3, {"running": 1})
    rest.expect(202, "POST", f"tasks/{running}/cancel")


def test_a_dry_run_says_at_least_when_there_is_more_to_look_at(new_server):
    server = new_server().start("--slots", "1")
    rest = server.rest
    batch = [{"task_type": "opscore.noop", "delay": "1h"}] * 10_000
    for _ in range(10):
        rest.expect(202, "POST", "tasks/batch", batch)
    dry = start(rest, "cancel", status=200, filter={"status": "scheduled"}, dry_run=True)
    assert (dry["summary"], dry["exact"]) == ("would cancel 100000 tasks", True)
    rest.expect(202, "POST", "tasks/batch", batch[:1])
    dry = start(rest, "cancel", status=200, filter={"status": "scheduled"}, dry_run=True)
    assert (dry["exact"], dry["would_do"], dry["examined"]) == (False, 100_000, 100_000)
    said = server.cli("tasks", "cancel", "--status", "scheduled", "--dry-run")
    assert said.returncode == 0
    assert said.stdout == (
        "would cancel at least 100000 tasks (there are more to look at); nothing was changed\n"
    )
    assert rest.queue("default")["scheduled"] == 100_001


def test_every_task_that_a_job_cancels_tells_its_webhook_once(new_server):
    server = new_server(environment={"OPSCORE_NET_ALLOW": "127.0.0.1"})
    rest = server.start().rest
    with Receiver() as receiver:
        ids = submit_many(rest, 40, queue="later", delay="1h", webhook=receiver.url)
        silent = submit_many(rest, 3, queue="later", delay="1h")
        done = server.cli("tasks", "cancel", "--queue", "later", "--yes", "--wait=60s")
        assert done.returncode == 0, done
        wait_for(lambda: len(receiver.calls) >= len(ids), "all receivers are told", 60)
        told = [call.json() for call in receiver.calls]
        assert sorted(task["task_id"] for task in told) == sorted(ids)
        assert {task["status"] for task in told} == {"cancelled"}
    assert rest.task(silent[0])["status"] == "cancelled"


@pytest.mark.parametrize(
    "body, field",
    [
        ({}, "action"),
        ({"action": "burn"}, "action"),
        ({"action": "delete"}, "filter"),
        ({"action": "cancel", "filter": {}}, "filter"),
        ({"action": "cancel", "filter": {"stats": "failed"}}, "filter.stats"),
        ({"action": "cancel", "filter": {"status": "broken"}}, "filter.status"),
        ({"action": "cancel", "filter": {"label": "x"}}, "filter.label"),
        ({"action": "cancel", "filter": {"created_after": "soon"}}, "filter.created_after"),
        ({"action": "cancel", "all": "yes"}, "all"),
    ],
)
def test_bad_jobs_are_refused(rest, body, field):
    assert rest.expect(422, "POST", "jobs", body)["field"] == field


def test_unknown_and_ended_jobs(rest):
    for route in ("", "/export"):
        rest.expect(404, "GET", f"jobs/job_999999{route}")
    job = ended(rest, start(rest, "cancel", filter={"queue": some_queue()}))
    rest.expect(409, "POST", f"jobs/{job['job_id']}/stop")
    rest.expect(409, "GET", f"jobs/{job['job_id']}/export")


def test_a_job_needs_no_slot(new_server):
    server = new_server().start("--slots", "1")
    busy = server.rest.submit("opscore.sleep", {"ms": 600_000})["task_id"]
    server.rest.wait(busy, "running")
    submit_many(server.rest, 10)
    job = ended(server.rest, start(server.rest, "delete", filter={"status": "pending"}))
    assert job["done"] == 10


def test_a_job_survives_kill_9_and_treats_each_task_once(new_server):
    server = new_server()
    rest = server.start().rest
    count = 4000
    submit_many(rest, count, queue="later", delay="1h")
    job = start(rest, "cancel", filter={"queue": "later"})
    exported = start(rest, "export", filter={"queue": "later"})
    wait_for(lambda: rest.get(f"jobs/{job['job_id']}")["done"] > 0, "it has begun")
    server.kill()
    rest = server.restart().rest
    job, exported = ended(rest, job), ended(rest, exported)
    assert (job["state"], job["done"], job["skipped"]) == ("completed", count, {})
    assert exported["state"] == "completed"
    lines = rest.send("GET", f"jobs/{exported['job_id']}/export").body.splitlines()
    ids = [json.loads(line)["task_id"] for line in lines]
    # A task may be cancelled between being found and being written; then it is counted instead.
    assert len(ids) == len(set(ids)) == exported["done"]
    assert exported["done"] + sum(exported["skipped"].values()) == exported["matched"] == count


def test_stop(new_server):
    server = new_server()
    rest = server.start().rest
    count = 4000
    submit_many(rest, count, queue="later", delay="1h")
    job = start(rest, "delete", filter={"queue": "later"})
    answer = rest.send("POST", f"jobs/{job['job_id']}/stop")
    job = ended(rest, job)
    assert answer.status == (200 if job["state"] == "stopped" else 409), (answer, job)
    assert rest.queue("later")["scheduled"] == count - job["done"]


def test_export_streams_every_task(rest):
    queue = some_queue()
    ids = submit_many(rest, 300, queue=queue, delay="1h", input_data={"text": "ä" * 2000})
    job = ended(rest, start(rest, "export", filter={"queue": queue}))
    answer = rest.send("GET", f"jobs/{job['job_id']}/export")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert len(answer.body) == job["bytes"] > 300 * 4000
    tasks = [json.loads(line) for line in answer.body.splitlines()]
    assert [task["task_id"] for task in tasks] == ids
    assert tasks[0]["input_data"] == {"text": "ä" * 2000}
    head = rest.send("HEAD", f"jobs/{job['job_id']}/export")
    assert int(head.headers["Content-Length"]) == job["bytes"] and head.body == b""


def test_commands(shared, tmp_path):
    rest, cli = shared.rest, shared.cli
    queue = some_queue()
    submit_many(rest, 30, queue=queue, delay="1h")
    where = ("--queue", queue)

    done = cli("tasks", "cancel", *where, "--dry-run")
    assert done.returncode == 0 and "would cancel 30 tasks" in done.stdout, done
    file = tmp_path / "out.ndjson"
    done = cli("tasks", "export", *where, "-o", str(file))
    assert done.returncode == 0 and "30 exported" in done.stdout, done
    assert len(file.read_text().splitlines()) == 30
    assert len(cli("tasks", "export", *where).stdout.splitlines()) == 30

    done = cli("tasks", "cancel", *where, "--wait")
    assert done.returncode == 0 and "30 cancelled" in done.stdout, done
    started = cli("tasks", "delete", *where, "--yes")
    assert started.returncode == 0, started
    job = started.stdout.strip()
    watched = cli("jobs", "watch", job, "--json")
    assert watched.returncode == 0 and json.loads(watched.stdout)["done"] == 30
    assert "30 deleted" in cli("jobs", "watch", job).stdout
    assert job in cli("jobs").stdout
    assert "completed" in cli("jobs", "show", job).stdout
    assert cli("jobs", "stop", job).returncode == 5
    assert cli("jobs", "show", "job_999999").returncode == 3

    assert cli("tasks", "cancel").returncode == 5, "an empty filter must be meant"
    assert cli("tasks", "cancel", "task_1", *where).returncode == 2
    assert cli("tasks", "cancel", "--since", "someday").returncode == 2


def test_purge_of_a_large_queue(new_server):
    server = new_server()
    rest = server.start().rest
    count = 6000
    submit_many(rest, count, queue="later", delay="1h")
    done = server.cli("queues", "purge", "later")
    assert done.returncode == 0 and f"{count} deleted" in done.stdout, done
    assert rest.queue("later")["scheduled"] == 0
