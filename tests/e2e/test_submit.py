"""Submitting: fields, defaults, replays, bulk."""

import http.client
import json
import time
import uuid

import pytest

from harness.rest import TERMINAL


@pytest.fixture
def rest(shared):
    return shared.rest


def unique(prefix="key"):
    return f"{prefix}-{uuid.uuid4().hex}"


@pytest.mark.parametrize("path", ["tasks", "tasks/", "/api/v1/tasks", "/api/v1/tasks/"])
def test_trailing_slash_or_not(rest, path):
    assert rest.send("POST", path, {"task_type": "opscore.noop"}).status == 202


def test_every_field_of_a_finished_task(rest):
    task = rest.run(
        "opscore.echo",
        {"n": 1},
        name="one",
        queue="fields",
        priority=7,
        labels={"team": "a"},
        metadata={"trace": "t-1"},
        max_attempts=2,
    )
    assert task["status"] == "completed"
    assert (task["task_type"], task["name"], task["queue"]) == ("opscore.echo", "one", "fields")
    assert (task["priority"], task["attempts"], task["max_attempts"]) == (7, 1, 2)
    assert task["result"] == {"n": 1} and task["input_data"] == {"n": 1}
    assert task["metadata"] == {"trace": "t-1"}
    assert task["error"] is None and task["error_message"] is None
    for field in ("created_at", "updated_at", "started_at", "completed_at"):
        assert task[field].startswith("20"), field
    assert task["created_at"] <= task["started_at"] <= task["completed_at"]
    assert task.keys() >= {"progress", "scheduled_at"}


@pytest.mark.parametrize(
    "payload",
    [
        '{"big": 123456789012345678901234567890, "exact": 1.10, "e": 1E-9}',
        '"\\u00e9\\ud83d\\ude00 \\u0000"',
        '{"a":   [1,2,  3],"b":"\\/"}',
        "-0.0",
        "[null]",
    ],
)
def test_payloads_are_not_touched(rest, payload):
    answer = rest.send("POST", "tasks", f'{{"task_type":"opscore.echo","input_data":{payload}}}')
    task_id = answer.json()["task_id"]
    rest.wait(task_id)
    text = rest.send("GET", f"tasks/{task_id}").body.decode()
    assert text.count(payload) == 2, text  # input_data and result


def test_priority_goes_first(new_server):
    server = new_server()
    server.configure("[worker]\nslots = 1")
    rest = server.start().rest
    blocker = rest.submit("opscore.sleep", {"ms": 1500}, queue="order")["task_id"]
    rest.wait(blocker, "running")
    low, high = (
        # Long enough that the times of their starts differ.
        rest.submit("opscore.sleep", {"ms": 20}, queue="order", priority=p)["task_id"]
        for p in (-100, 100)
    )
    first, second = rest.wait(high), rest.wait(low)
    assert first["started_at"] < second["started_at"]


def test_delay_and_run_at(rest):
    later = rest.submit("opscore.noop", delay="1h")
    assert later["status"] == "scheduled"
    at = rest.submit("opscore.noop", run_at="2099-01-01T00:00:00Z")
    task = rest.task(at["task_id"])
    assert task["status"] == "scheduled"
    assert task["scheduled_at"].startswith("2099-01-01T00:00:00")
    for submitted in (later, at):
        rest.expect(200, "POST", f"tasks/{submitted['task_id']}/cancel")


def test_a_short_delay_runs_when_due(rest):
    began = time.monotonic()
    task = rest.run("opscore.noop", delay="700ms")
    assert task["status"] == "completed"
    assert time.monotonic() - began >= 0.7


def test_deadline_fails_what_was_not_run(rest):
    task = rest.run("opscore.noop", delay="1h", deadline="500ms", within=10)
    assert (task["status"], task["error"]["kind"]) == ("failed", "deadline")


@pytest.mark.parametrize("where", ["field", "header"])
def test_idempotency_key(rest, where):
    key = unique()
    body = {"task_type": "opscore.echo", "input_data": {"x": 1}}
    headers = {}
    if where == "field":
        body["idempotency_key"] = key
    else:
        headers["Idempotency-Key"] = key
    first = rest.expect(202, "POST", "tasks", body, headers=headers)
    again = rest.expect(200, "POST", "tasks", body, headers=headers)
    assert again["task_id"] == first["task_id"]
    body["input_data"] = {"x": 2}
    rest.expect(409, "POST", "tasks", body, headers=headers)
    # The scope of a key is the type.
    other = {**body, "task_type": "opscore.noop"}
    assert rest.expect(202, "POST", "tasks", other, headers=headers)["task_id"] != first["task_id"]


def test_a_key_is_free_again_after_delete(rest):
    key = unique()
    first = rest.submit("opscore.noop", idempotency_key=key)
    rest.wait(first["task_id"])
    rest.send("DELETE", f"tasks/{first['task_id']}")
    assert rest.submit("opscore.noop", idempotency_key=key)["task_id"] != first["task_id"]


def test_own_task_id(rest):
    own = unique("order:42")
    assert rest.submit("opscore.noop", task_id=own)["task_id"] == own
    assert rest.submit("opscore.noop", task_id=own, status=200)["task_id"] == own
    rest.submit("opscore.echo", 1, task_id=own, status=409)
    assert rest.wait(own)["status"] == "completed"


@pytest.mark.parametrize("bad", ["batch", "-x", "a b", "a/b", "x" * 129, ""])
def test_bad_task_ids(rest, bad):
    problem = rest.submit("opscore.noop", task_id=bad, status=422)
    assert problem["field"] == "task_id"


def test_bulk_array(rest):
    tasks = [{"task_type": "opscore.echo", "input_data": n} for n in range(1000)]
    answer = rest.expect(202, "POST", "tasks/batch", tasks)
    ids = [task["task_id"] for task in answer["tasks"]]
    assert len(set(ids)) == 1000
    assert all(task["status"] == "pending" for task in answer["tasks"])
    for n in (0, 500, 999):
        assert rest.wait(ids[n])["result"] == n


def test_bulk_ndjson(rest):
    lines = "".join(f'{{"task_type":"opscore.echo","input_data":{n}}}\n' for n in range(50))
    answer = rest.expect(
        202, "POST", "tasks/batch", lines, headers={"Content-Type": "application/x-ndjson"}
    )
    assert len(answer["tasks"]) == 50
    assert rest.wait(answer["tasks"][49]["task_id"])["result"] == 49


def test_bulk_is_all_or_nothing(rest):
    queue = unique("q")
    tasks = [{"task_type": "opscore.noop", "queue": queue} for _ in range(3)]
    tasks[1]["priority"] = 101
    problem = rest.expect(422, "POST", "tasks/batch", tasks)
    assert "1" in problem["field"] and "priority" in problem["field"]
    assert rest.get(f"tasks?queue={queue}")["tasks"] == []


def test_bulk_per_item(rest):
    tasks = [{"task_type": "opscore.noop"}, {"task_type": "no.such.type"}, {"task_type": 3}]
    answer = rest.send("POST", "tasks/batch?atomic=false", tasks)
    assert answer.status in (200, 202, 207), answer
    items = answer.json()["tasks"]
    assert len(items) == 3
    assert items[0]["task_id"] and "error" not in items[0]
    for item in items[1:]:
        assert "task_id" not in item, item
        assert item["error"]["status"] == 422, item


def test_bulk_limits(rest):
    rest.expect(413, "POST", "tasks/batch", [{"task_type": "opscore.noop"}] * 10_001)


def test_list_filters_and_pages(rest):
    queue = unique("list")
    ids = [
        rest.submit("opscore.noop", queue=queue, labels={"n": str(n % 2)})["task_id"]
        for n in range(7)
    ]
    for task_id in ids:
        rest.wait(task_id)
    seen, cursor = [], ""
    while cursor is not None:
        page = rest.get(f"tasks/?queue={queue}&limit=3" + (f"&cursor={cursor}" if cursor else ""))
        assert len(page["tasks"]) <= 3
        seen += [task["task_id"] for task in page["tasks"]]
        cursor = page["next_cursor"]
    assert seen == ids[::-1]
    assert rest.get(f"tasks?queue={queue}&status=failed")["tasks"] == []
    assert len(rest.get(f"tasks?queue={queue}&type=opscore.noop&status=completed")["tasks"]) == 7
    assert len(rest.get(f"tasks?queue={queue}&label=n:1")["tasks"]) == 3
    assert rest.get(f"tasks?queue={queue}&created_before=2001-01-01T00:00:00Z")["tasks"] == []
    assert len(rest.get(f"tasks?queue={queue}&created_after=2001-01-01T00:00:00Z")["tasks"]) == 7


def test_wait_on_submit_and_get(rest):
    done = rest.expect(
        200, "POST", "tasks?wait=10s", {"task_type": "opscore.echo", "input_data": "hi"}
    )
    assert (done["status"], done["result"]) == ("completed", "hi")
    slow = rest.expect(
        202, "POST", "tasks?wait=200ms", {"task_type": "opscore.sleep", "input_data": {"ms": 2000}}
    )
    assert slow["status"] not in TERMINAL
    answer = rest.send("GET", f"tasks/{slow['task_id']}?wait=100ms")
    assert answer.status == 202 and answer.json()["status"] not in TERMINAL
    answer = rest.send("GET", f"tasks/{slow['task_id']}?wait=20s")
    assert answer.status == 200 and answer.json()["status"] == "completed"


def test_many_waits_hold_no_threads(new_server):
    server = new_server()
    server.configure("[worker]\nslots = 4")
    rest = server.start().rest
    task_id = rest.submit("opscore.sleep", {"ms": 3000})["task_id"]
    waits = []
    for _ in range(300):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", f"/api/v1/tasks/{task_id}?wait=20s")
        waits.append(connection)
    began = time.monotonic()
    rest.get("queues")
    assert time.monotonic() - began < 10, "the API answers while 300 clients wait"
    for connection in waits:
        answer = connection.getresponse()
        assert answer.status == 200
        assert json.loads(answer.read())["status"] == "completed"
        connection.close()
