"""Limits of queues and actors, changed while the server runs."""

import concurrent.futures
import uuid

import pytest

from harness.waiting import wait_for

PROGRAM = """
    #!/bin/sh
    echo start >> "$PWD/$1.log"
    while [ ! -e "$PWD/go" ]; do sleep 0.02; done
    echo end >> "$PWD/$1.log"
"""


@pytest.fixture
def rest(shared):
    return shared.rest


@pytest.fixture
def queue(rest):
    """A paused queue of its own."""
    name = "q" + uuid.uuid4().hex
    rest.expect(200, "POST", f"queues/{name}/pause")
    return name


def set_limits(rest, queue, **limits):
    return rest.expect(200, "PATCH", f"queues/{queue}", limits)


def test_a_full_queue_answers_429(rest, queue):
    changed = set_limits(rest, queue, max_pending=2)
    assert changed["max_pending"] == 2 and changed["concurrency"] is None
    assert changed["limit_origins"] == {
        "max_pending": "runtime",
        "concurrency": "default",
        "max_input_bytes": "default",
    }
    rest.submit("opscore.noop", queue=queue, idempotency_key=queue)
    rest.submit("opscore.noop", queue=queue, delay="1h")
    answer = rest.send("POST", "tasks/", {"task_type": "opscore.noop", "queue": queue})
    assert answer.status == 429 and int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "urn:opscore:error:queue-full"
    assert problem["field"] == "queue" and queue in problem["detail"]
    replay = rest.submit("opscore.noop", status=200, queue=queue, idempotency_key=queue)
    assert replay["task_id"]
    set_limits(rest, queue, max_pending=3)
    rest.submit("opscore.noop", queue=queue)
    set_limits(rest, queue, max_pending=None)
    rest.submit("opscore.noop", queue=queue)


def test_batches_and_a_full_queue(rest, queue):
    set_limits(rest, queue, max_pending=2)
    batch = [{"task_type": "opscore.noop", "queue": queue} for _ in range(3)]
    problem = rest.expect(429, "POST", "tasks/batch", batch)
    assert problem["field"] == "tasks[2].queue"
    assert rest.queue(queue)["pending"] == 0
    answer = rest.expect(202, "POST", "tasks/batch?atomic=false", batch)
    assert (answer["accepted"], answer["refused"]) == (2, 1)
    assert answer["tasks"][2]["error"]["type"] == "urn:opscore:error:queue-full"
    assert rest.queue(queue)["pending"] == 2


def test_concurrent_submits_fill_a_queue_exactly(rest, queue):
    set_limits(rest, queue, max_pending=50)
    one = {"task_type": "opscore.noop", "queue": queue}

    def submit(number):
        if number % 3 == 0:
            return rest.send("POST", "tasks/batch?atomic=false", [one] * 5).json()["accepted"]
        if number % 3 == 1:
            return 5 if rest.send("POST", "tasks/batch", [one] * 5).status == 202 else 0
        return 1 if rest.send("POST", "tasks/", one).status == 202 else 0

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        accepted = sum(pool.map(submit, range(60)))
    assert accepted == 50
    assert rest.queue(queue)["pending"] == 50


def test_a_large_input_answers_413(rest, queue):
    set_limits(rest, queue, max_input_bytes=20)
    rest.submit("opscore.echo", "x" * 18, queue=queue)
    body = {"task_type": "opscore.echo", "input_data": "x" * 19, "queue": queue}
    problem = rest.expect(413, "POST", "tasks/", body)
    assert problem["field"] == "input_data" and "20 bytes" in problem["detail"]


@pytest.mark.parametrize(
    "body, field",
    [
        ({"max_pending": -1}, "max_pending"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": "many"}, "concurrency"),
        ({"max_input_bytes": 2 << 20}, "max_input_bytes"),
        ({"max_pendin": 1}, "max_pendin"),
    ],
)
def test_a_bad_limit_is_refused(rest, queue, body, field):
    assert rest.expect(422, "PATCH", f"queues/{queue}", body)["field"] == field
    assert rest.get(f"queues/{queue}")["limit_origins"]["max_pending"] == "default"


def test_put_replaces_all_limits(rest, queue):
    set_limits(rest, queue, max_pending=2, concurrency=3)
    replaced = rest.expect(200, "PUT", f"queues/{queue}", {"concurrency": 4})
    assert (replaced["max_pending"], replaced["concurrency"]) == (None, 4)
    assert replaced["limit_origins"]["max_pending"] == "default"


@pytest.fixture
def slow_server(new_server):
    """Actors 'slow' and 'other' that run until the file `go` is there."""
    server = new_server()
    for name in ("slow", "other"):
        server.add_program(name, PROGRAM.replace("$1", name))
    server.configure("[worker]\nslots = 8")
    return server


def running(rest, queue):
    return rest.queue(queue)["running"]


def test_concurrency_of_a_queue(slow_server):
    rest = slow_server.start().rest
    set_limits(rest, "narrow", concurrency=2)
    ids = [rest.submit("slow", queue="narrow")["task_id"] for _ in range(5)]
    free = [rest.submit("other", queue="wide")["task_id"] for _ in range(3)]
    wait_for(lambda: running(rest, "wide") == 3, "the other queue is served")
    wait_for(lambda: running(rest, "narrow") == 2, "two run")
    explained = rest.get(f"tasks/{ids[-1]}/explain")
    assert explained["verdict"] == "limit_reached"
    assert "limit of 2 running on this worker reached" in explained["sentence"]
    assert "limit of 2 running on this worker reached" in rest.task(ids[-1])["reason"]
    command = explained["next_command"]
    assert command == "opscore queues set narrow --concurrency 3"
    assert slow_server.cli(*command.split()[1:]).returncode == 0
    wait_for(lambda: running(rest, "narrow") == 3, "one more runs")
    log = slow_server.folder / "slow.log"
    wait_for(lambda: log.read_text().count("start") == 3, "three were started")
    (slow_server.folder / "go").touch()
    assert {rest.wait(task_id)["status"] for task_id in ids + free} == {"completed"}


def test_concurrency_of_an_actor(slow_server):
    rest = slow_server.start().rest
    assert rest.get("actors/slow")["concurrency"] is None
    changed = rest.expect(200, "PATCH", "actors/slow", {"concurrency": 1})
    assert (changed["concurrency"], changed["concurrency_origin"]) == (1, "runtime")
    ids = [rest.submit("slow", queue=queue)["task_id"] for queue in ("a", "b", "a")]
    wait_for(lambda: [rest.task(i)["status"] for i in ids].count("running") == 1, "one runs")
    waiting = next(i for i in ids if rest.task(i)["status"] == "pending")
    explained = rest.get(f"tasks/{waiting}/explain")
    assert "limit of 1 running on this worker reached" in explained["sentence"]
    assert explained["next_command"] == "opscore actors set slow --concurrency 2"
    rest.expect(404, "PATCH", "actors/no.such", {"concurrency": 1})
    shown = slow_server.cli("actors", "set", "slow", "--concurrency", "none")
    assert shown.returncode == 0, shown.stderr
    wait_for(lambda: [rest.task(i)["status"] for i in ids] == ["running"] * 3, "all run")
    (slow_server.folder / "go").touch()
    assert {rest.wait(task_id)["status"] for task_id in ids} == {"completed"}


def test_a_narrow_queue_goes_on_without_pauses(rest):
    queue = "q" + uuid.uuid4().hex
    set_limits(rest, queue, concurrency=1)
    tasks = [{"task_type": "opscore.noop", "queue": queue}] * 200
    ids = [task["task_id"] for task in rest.expect(202, "POST", "tasks/batch", tasks)["tasks"]]
    assert rest.wait(ids[-1])["status"] == "completed"


def test_limits_survive_a_restart_and_win_over_the_file(new_server):
    server = new_server()
    server.configure(
        """
        [queues.mail]
        max_pending = 10
        concurrency = 4
        max_input = "1KiB"
        """
    )
    rest = server.start().rest
    mail = rest.get("queues/mail")
    assert (mail["max_pending"], mail["concurrency"], mail["max_input_bytes"]) == (10, 4, 1024)
    assert set(mail["limit_origins"].values()) == {"configuration"}
    shown = server.cli("queues", "set", "mail", "--max-pending", "3", "--max-input", "none")
    assert shown.returncode == 0, shown.stderr
    server.stop()
    rest = server.start().rest
    mail = rest.get("queues/mail")
    assert (mail["max_pending"], mail["concurrency"], mail["max_input_bytes"]) == (3, 4, None)
    lines = server.cli("queues", "show", "mail").stdout.splitlines()
    assert "max_pending\t3\tset at run time" in lines
    assert "concurrency\t4\tconfiguration" in lines
    assert "queues.mail.concurrency" in server.cli("config", "show").stdout
    assert server.cli("queues", "set", "mail", "--max-pending", "default").returncode == 0
    assert rest.get("queues/mail")["max_pending"] == 10


def test_the_command_line_says_what_is_wrong(shared):
    assert shared.cli("queues", "set", "mail").returncode == 2
    refused = shared.cli("queues", "set", "mail", "--max-pending", "lots")
    assert refused.returncode == 2 and "--max-pending 'lots'" in refused.stderr
    assert shared.cli("queues", "set", "mail", "--concurrency", "0").returncode != 0
    assert shared.cli("queues", "show", "never_seen").returncode != 0
